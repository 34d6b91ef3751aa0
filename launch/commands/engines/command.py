"""`irchroma engines`: which engines and runtimes are here, and what is inside a network.

Its part `build` makes TensorRT plans, and `inspect` shows what is inside one of those too: see `plans`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from irchroma.calibration.errors import CalibrationError
from irchroma.calibration.precision import PrecisionOptions, PrecisionSearch
from irchroma.calibration.recordings import gather
from irchroma.engines import catalog
from irchroma.engines.cache import replaced
from irchroma.engines.errors import EngineOptionError, EngineUnavailable
from irchroma.engines.gpu.cuda.compile import build_ahead
from irchroma.engines.network import network
from irchroma.engines.network.eight_bit.quantization import FLOAT_GROUPS, renew
from irchroma.engines.network.eight_bit.twins import twin_path
from irchroma.engines.network.onnx_summary import COUNTED_SIZE, inspect
from irchroma.engines.network.weight_storage import averaged, save
from irchroma.launch.arguments import add_actions
from irchroma.launch.commands.engines.plans import add_build_arguments, build_plan, show_plan
from irchroma.launch.progress import Progress

EXAMPLE = """irchroma engines list
  irchroma engines inspect nir:fast"""
ACTIONS = {
    "list": ("engines, sizes and runtimes on this machine", "irchroma engines list"),
    "inspect": (
        "what is inside a network or a TensorRT plan: layers, precision, memory",
        "irchroma engines inspect nir:fast",
    ),
    "build": ("compile a network into a TensorRT plan", "irchroma engines build nir:fast --runtime tensorrt"),
    "twins": (
        "make the 8-bit twins of the networks that ship, which run where they are faster",
        "irchroma engines twins --nir nights/ --thermal counts.mkv --size fast",
    ),
    "average": (
        "average the weights of several trainings of one network",
        "irchroma engines average first.onnx second.onnx --shares 0.7 0.3 --out both.onnx",
    ),
    "kernels": (
        "compile the CUDA kernels for every GPU, for machines without a compiler",
        "irchroma engines kernels",
    ),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    made = add_actions(parser, ACTIONS)
    made["inspect"].add_argument(
        "network", metavar="NETWORK", help="nir:fast, thermal:best ..., an .onnx or a .plan file"
    )
    add_build_arguments(made["build"])
    twins = made["twins"]
    for band in catalog.BANDS:
        twins.add_argument(
            f"--{band}", nargs="+", metavar="SOURCE", help=f"{band} frames: folders of pictures, recordings"
        )
    twins.add_argument("--frames", type=int, default=64, metavar="N", help="frames of each source (64)")
    twins.add_argument(
        "--renew",
        action="store_true",
        help="only give those that are there the confidence of their float networks, calibrated anew",
    )
    twins.add_argument("--size", choices=catalog.SIZES, help="of the networks (all)")
    twins.add_argument(
        "--tune",
        type=int,
        default=0,
        metavar="STEPS",
        help="train the twins to make up for their rounding, with the float networks as teachers (0: no)",
    )
    twins.add_argument(
        "--rate", type=float, default=0.004, metavar="R", help="of that, in steps of the weights (0.004)"
    )
    average = made["average"]
    average.add_argument("files", nargs="+", type=Path, metavar="FILE", help=".onnx files")
    average.add_argument("--shares", nargs="+", type=float, default=[], help="of each (all alike)")
    average.add_argument("--out", type=Path, required=True, metavar="FILE", help="the .onnx file to write")


def run(args: argparse.Namespace) -> int:
    if args.action == "build":
        build_plan(args)
    elif args.action == "twins":
        if args.renew:
            renew_twins()
            return 0
        sources = {band: getattr(args, band) for band in catalog.BANDS if getattr(args, band)}
        make_twins(sources, args.frames, (args.size,) if args.size else catalog.SIZES, args.tune, args.rate)
    elif args.action == "average":
        save(averaged(args.files, args.shares), args.out)
    elif args.action == "kernels":
        path = build_ahead()
        print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")
    elif args.action == "inspect" and args.network.endswith(".plan"):
        show_plan(Path(args.network))
    elif args.action == "inspect":
        show_network(network_path(args.network))
    else:
        list_engines()
    return 0


TWIN_LOSS_DB, TWIN_DIFFERENCE = 0.1, 1.2
"""What a twin that ships may lose of PSNR against the truth, and mean CIEDE2000 to the float network."""


BEFORE_TUNING = 2.0
"""The latter for a twin that is still to be tuned."""


def make_twins(
    sources: dict[str, list[str]], frames: int, sizes: tuple[str, ...], steps: int, rate: float
) -> None:
    """Write the 8-bit twin of every network of the bands that there are frames for, beside the float one.

    Args:
        sources: band -> what shows its frames.
        frames: of each source at most.
        sizes: of the networks.
        steps: of tuning; 0 for none.
        rate: see `TuningOptions`.

    Raises:
        EngineOptionError: no frames at all.
        CalibrationError: a network cannot keep what is asked.
    """
    if not sources or steps < 0:
        raise EngineOptionError(
            "engines twins needs frames, --nir FOLDER, --thermal FOLDER, or both, and --tune of 0 or more"
        )
    for band, texts in sources.items():
        seen = gather(texts, 0.0, frames, lambda source, count: None)
        for size in sizes:
            if not catalog.weights_path(band, size).is_file():
                continue
            options = PrecisionOptions(
                band,
                size,
                max_loss_db=TWIN_LOSS_DB,
                max_difference=BEFORE_TUNING if steps else TWIN_DIFFERENCE,
                runtime="openvino",
                for_processor=True,
            )
            print(_twin_made(options, PrecisionSearch(options, seen), steps, rate))


def renew_twins() -> None:
    """Give every twin that is there the confidence of its float network.

    Raises:
        EngineOptionError: a float network's other weights have changed as well.
    """
    for band in catalog.BANDS:
        for size in catalog.SIZES:
            path = twin_path(band, size)
            if path.is_file():
                changed = renew(path, catalog.weights_path(band, size))
                print(f"{path.name}: {'has the new confidence' if changed else 'up to date'}")


def _twin_made(options: PrecisionOptions, search: PrecisionSearch, steps: int, rate: float) -> str:
    """Make one, write it where it belongs; a line about it."""
    path = twin_path(options.engine, options.size)
    progress = Progress(1.0)
    tuned = ""
    try:
        with replaced(path) as partial:
            result = search.run(partial, progress.update, quick=True)
            quality = result.quality
            if steps:
                from irchroma.engines.training.eight_bit.tuning import TuningOptions, tune

                tune(
                    options.path,
                    partial,
                    search.frames_seen(),
                    TuningOptions(steps, rate=rate),
                    progress.update,
                )
                before, quality = quality, search.quality_of(partial)
                if quality.difference > min(before.difference, TWIN_DIFFERENCE):
                    raise CalibrationError(
                        f"{path.name}: {steps} steps of tuning went from {before.difference:.2f} to"
                        f" {quality.difference:.2f} CIEDE2000 to float, asked were at most"
                        f" {min(before.difference, TWIN_DIFFERENCE):.2f}: give more frames or more steps"
                    )
                tuned = f" ({before.to_float_db:.1f} dB and {before.difference:.2f} before it was tuned)"
    finally:
        progress.close()
        search.close()
    return (
        f"{path.name}: {path.stat().st_size / 1e6:.2f} MB, {quality.to_float_db:.1f} dB and"
        f" {quality.difference:.2f} CIEDE2000 to float{tuned}, {quality.loss_db:.3f} dB lost,"
        f" in float: depthwise layers, {', '.join((*FLOAT_GROUPS, *result.kept))}"
    )


def network_path(text: str) -> Path:
    """The file of `nir:fast`, or of a path.

    Raises:
        EngineOptionError: it names neither an engine nor an .onnx file.
    """
    path = Path(text)
    if path.suffix == ".onnx":
        return path
    name = catalog.parse(text)
    if not name.neural:
        raise EngineUnavailable(f"engine {text} has no network to inspect")
    return catalog.weights_path(name.kind, name.variant or "fast")


def list_engines() -> None:
    """Print engines, then runtimes."""
    print(f"{'engine':<18}{'weights':>10}{'parameters':>13}{'MACs at ' + _size():>19}  what it is for")
    for band in catalog.NETWORKS.values():
        for size in band.sizes:
            print(_row(band, size))
    print(f"{'palette:NAME':<18}{'':>42}  {', '.join(catalog.PALETTES)}")
    print(f"{'gray':<18}{'':>42}  the luma as it is")
    print("\nruntime         here")
    for name in network.RUNTIMES:
        print(f"{name:<16}{network.runtime_state(name)}")


def show_network(path: Path) -> None:
    """Print what is inside one network."""
    seen = inspect(path)
    operators = ", ".join(f"{count} {name}" for name, count in seen.operators.items())
    for label, value in (
        ("file", f"{seen.path} ({seen.bytes / 1e6:.2f} MB)"),
        ("inputs", "; ".join(seen.inputs)),
        ("outputs", "; ".join(seen.outputs)),
        ("precision", f"{seen.precision}, weights kept as {seen.storage}"),
        ("parameters", f"{seen.parameters:,}"),
        ("MACs", f"{seen.macs / 1e9:.3f} G at {_size()}"),
        ("operators", operators),
    ):
        print(f"{label:<12}{value}")


def _row(band: catalog.Band, size: str) -> str:
    path = catalog.weights_path(band.name, size)
    name = f"{band.name}:{size}"
    if not path.is_file():
        return f"{name:<18}{'missing':>10}{'':>32}  {band.summary}"
    weight = f"{path.stat().st_size / 1e6:.2f} MB"
    try:
        seen = inspect(path)
        counts = f"{seen.parameters / 1e6:.2f} M", f"{seen.macs / 1e9:.2f} G"
    except EngineUnavailable:
        counts = "-", "-"
    return f"{name:<18}{weight:>10}{counts[0]:>13}{counts[1]:>19}  {band.summary}"


def _size() -> str:
    return f"{COUNTED_SIZE[1]}x{COUNTED_SIZE[0]}"
