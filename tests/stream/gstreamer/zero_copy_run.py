"""A program over a stand-in for the driver: a run whose pictures stay in CUDA memory, told in JSON.

Run by test_zero_copy.py. The device that colors is the CPU, whose memory is the stand-in's too; x264 behind
`cudadownload` stands for `nvh264enc`.
"""

import ctypes
import gc
import hashlib
import json
import signal
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any
from unittest import mock

import cv2
import numpy as np
from tests.engines.tiny_network import write_tiny_network

from irchroma.engines import choice
from irchroma.engines.gpu import probe
from irchroma.engines.gpu.cpu_device import CpuDevice
from irchroma.engines.gpu.frames import pictures
from irchroma.engines.gpu.frames.pictures import PicturePool
from irchroma.engines.gpu.kernels.host import HostKernels
from irchroma.engines.network.network import NetworkOptions
from irchroma.launch.cli import main as irchroma
from irchroma.stream.gstreamer.cuda_memory import TO_DEVICE
from irchroma.stream.picture.picture import Picture
from irchroma.stream.sinks.encoding import encoders
from irchroma.stream.sinks.encoding.launches import x264_launch
from irchroma.stream.sinks.encoding.shared_encoder import SharedEncoder
from irchroma.stream.sinks.encoding.task import EncoderTask

FRAMES = 34


def launch(element: str, task: EncoderTask) -> str:
    """As `nvenc_launch`, with an encoder that is here."""
    way = TO_DEVICE + " ! cudadownload" if task.device is not None else "video/x-raw,format=NV12"
    software = x264_launch(element, task)
    return f"videoconvert ! {way} ! videoconvert ! video/x-raw,format=I420 ! {software} ! h264parse"


def frames_of(path: Path) -> list[str]:
    """A digest of each picture of a video."""
    video, found = cv2.VideoCapture(str(path)), []
    while (answer := video.read())[0]:
        found.append(hashlib.sha256(answer[1].tobytes()).hexdigest()[:16])
    return found


class Counted:
    """What is fetched from the device, and which pools there were."""

    def __init__(self) -> None:
        self.bytes = 0
        self.pools: list[PicturePool] = []
        fetch, begin = pictures.HeldPicture._fetched, PicturePool.__init__

        def fetched(picture: pictures.HeldPicture, top: int, bottom: int) -> Any:
            self.bytes += (bottom - top) * picture.size[1] * 3 // 2
            return fetch(picture, top, bottom)

        def begun(pool: PicturePool, *words: Any, **more: Any) -> None:
            begin(pool, *words, **more)
            self.pools.append(pool)

        mock.patch.object(pictures.HeldPicture, "_fetched", fetched).start()
        mock.patch.object(PicturePool, "__init__", begun).start()


def run(folder: Path, name: str, *words: str) -> list[str]:
    """A run into a file, and its pictures."""
    source = f"test:nir?size=320x240&frames={FRAMES}"
    weights = ["--engine", "nir", "--weights", str(folder / "tiny.onnx"), "--runtime", "tensorrt"]
    assert irchroma(["run", source, "--to", str(folder / name), *weights, *words]) == 0
    return frames_of(folder / name)


def mixed(context: int) -> dict[str, Any]:
    """Pictures of device and host in turn through one encoder, and of a device that is none of its own."""
    size = (96, 128)
    device = CpuDevice(NetworkOptions("openvino", 1), HostKernels())
    device.context = context
    pool = PicturePool(device.open_pictures(), size)
    stranger = PicturePool(CpuDevice(NetworkOptions("openvino", 1), device.kernels).open_pictures(), size)
    rng = np.random.default_rng(4)
    wanted, digests = [], {}
    task = EncoderTask("h264", size, Fraction(25), True, device=0)
    for how in ("there", "here"):
        units: list[bytes] = []
        encoder = SharedEncoder(task)

        def take(unit: Any, units: list[bytes] = units) -> None:
            units.append(bytes(unit.buffer.extract_dup(0, unit.buffer.get_size())))

        encoder.join(take)
        for number in range(12):
            if how == "there":
                wanted.append(rng.integers(16, 236, 96 * 128 * 3 // 2, np.uint8))
            held = (stranger if number == 7 else pool).take()
            assert held is not None
            pool.memory.write(wanted[number], held.array)
            picture = Picture(device=held)
            if how == "here" or number % 3 == 1:
                assert picture.planes is not None
                picture = Picture(planes=picture.planes)
            held = None
            assert encoder.offer(picture, number * 40_000_000, 40_000_000, waits=True)
        encoder.finish(take, 11 * 40_000_000, 20.0)
        digests[how] = [hashlib.sha256(unit).hexdigest()[:16] for unit in units]
    picture = None
    told = {"units": len(digests["there"]), "equal": digests["there"] == digests["here"], "out": pool.out}
    pool.close()
    stranger.close()
    return told


def main(folder: Path) -> None:
    """Everything."""
    driver = ctypes.CDLL("libcuda.so.1")
    context = ctypes.c_void_p()
    driver.cuDevicePrimaryCtxRetain(ctypes.byref(context), 0)
    write_tiny_network(folder / "tiny.onnx")
    network, kernels = NetworkOptions("openvino", 1, cache=None, exact=True), HostKernels()
    here = probe.CudaDevice("stand-in", "9.0", "13.0")

    def open_device(*_: Any) -> CpuDevice:
        made = CpuDevice(network, kernels)
        made.context = context.value or 0
        return made

    kind = encoders._KINDS[0]
    fake = type(kind)(kind.name, kind.codec, ("x264enc",), True, launch)
    mock.patch.object(encoders, "_KINDS", (fake, *encoders._KINDS)).start()
    mock.patch.object(probe, "device_at", lambda index=0: here if index == 0 else None).start()
    mock.patch.object(choice, "open_device", open_device).start()
    counted = Counted()
    told: dict[str, Any] = {}
    before = driver.stand_in_copies_in()
    stayed = run(folder, "stays.mp4")
    told["copies in"] = driver.stand_in_copies_in() - before
    told["share fetched"] = round(counted.bytes / (FRAMES * 320 * 240 * 1.5), 3)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # whose handlers hold the run
        signal.signal(number, signal.SIG_DFL)
    gc.collect()
    told["pools"] = [(pool.out, pool._closed, len(pool._free)) for pool in counted.pools]
    told["frames"] = len(stayed)
    (folder / "off.toml").write_text("[output]\nzero_copy = false\n", encoding="utf-8")
    pools = len(counted.pools)
    crossed = run(folder, "crosses.mp4", "--config", str(folder / "off.toml"))
    told["pools when off"] = len(counted.pools) - pools
    told["equal"] = stayed == crossed
    told["mixed"] = mixed(context.value or 0)
    json.dump(told, sys.stdout)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
