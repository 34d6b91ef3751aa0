"""Every kernel at odd sizes, once: what a sanitizer or a profiler watches. A program."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from tests.engines.gpu.programs.copying_network import CopyingOnHost, device_of
from tests.engines.moving_scene import FRAME_NS, texture

from irchroma.engines.gpu.check import check_kernels, check_motion
from irchroma.engines.gpu.colorizer import DeviceColorizer
from irchroma.engines.gpu.frames.pictures import can_stay
from irchroma.engines.gpu.frames.transfer import can_pack
from irchroma.engines.gpu.kernels.host import HostKernels
from irchroma.engines.neural.colorizer import NeuralColorizer, NeuralOptions
from irchroma.engines.reference.pictures import AUTO, Reference
from irchroma.engines.temporal.stage import TemporalOptions


def color(name: str, sizes: Sequence[str], kernels: HostKernels | None) -> None:
    """Color a pan, every second frame by the network, and compare with the CPU's.

    As thermal video; as near infrared with a reference laid over it; then without one, packed, its motion
    searched for on the device, and with one; and both once more for an encoder there, where the size lets it
    stay.

    Args:
        name: of the device, see `device_of`.
        sizes: of the frames, such as `100x75`.
        kernels: of the CPU device.
    """
    device = device_of(name, kernels)
    print(f"{device.name}: kernels {check_kernels(device):.4f} levels off", end=", ")
    print(f"motion {check_motion(device):.4f} px off")
    device.close()
    temporal = TemporalOptions(color_every=2, half_color=False)
    for word in sizes:
        width, height = map(int, word.split("x"))
        wide = texture((height, width + 30), 20, 200, seed=5).astype(np.uint8)
        turned = np.ascontiguousarray(np.dstack([wide, 255 - wide, wide[:, ::-1]])[:, :width])
        day = Reference(turned, np.full((height, width), 255, np.uint8), "turned")
        # band, packs, stays, laid
        ways = [("thermal", False, False, False), ("nir", False, False, True)]
        ways += [("nir", True, False, False), ("nir", True, False, True)]
        if can_stay((height, width)):
            ways += [("nir", True, True, False), ("nir", True, True, True)]
        for band, packs, stays, laid in ways:
            options = NeuralOptions(
                engine=band, temporal=replace(temporal, device_motion=packs), reference=AUTO if laid else None
            )
            ordinary = NeuralColorizer(options, CopyingOnHost())  # type: ignore[arg-type]
            colorizer = DeviceColorizer(
                options, lambda: device_of(name, kernels), graphs=False, packs=packs, stays=stays
            )
            for one in (ordinary, colorizer):
                one.exchange_references([day])
            for index in range(2 if packs and laid else 4):
                luma = np.ascontiguousarray(wide[:, 5 * index : 5 * index + width])
                colorizer.submit(luma, index * FRAME_NS)
                ordinary.submit(luma, index * FRAME_NS)
                shown, expected = colorizer.collect().rgb, ordinary.collect().rgb
                off = float(np.abs(shown.astype(int) - expected).mean())
                assert packs or off < 0.05, off
            assert colorizer.chain is not None
            packed = colorizer.chain.packs
            assert packed == (packs and can_pack((height, width)))
            colorizer.close()
            how = f"packs {packed}{', searches' * packs}{', stays' * stays}{', with a reference' * laid}"
            print(f"{width}x{height}, {how}, {band}: last frame {off:.4f} levels off")


def main() -> None:
    """See `color`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="torch")
    parser.add_argument("--sizes", default="100x75,80x50")
    parser.add_argument("--sanitizer", default="", help="of the CPU device's kernels")
    parser.add_argument("--built", help="their library, built so already")
    args = parser.parse_args()
    kernels = HostKernels(sanitizer=args.sanitizer, built=args.built) if args.device == "cpu" else None
    color(args.device, args.sizes.split(","), kernels)


if __name__ == "__main__":
    main()
