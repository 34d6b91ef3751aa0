"""`irchroma engines`: which engines and runtimes are here, and what is inside a network.

`irchroma engines build` makes TensorRT plans, and `inspect` shows what is inside one of those too.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

from irchroma.calibration.errors import CalibrationError
from irchroma.calibration.precision import PrecisionOptions, PrecisionSearch
from irchroma.calibration.recordings import gather
from irchroma.engines import catalog
from irchroma.engines.cache import replaced
from irchroma.engines.errors import EngineOptionError, EngineUnavailable
from irchroma.engines.gpu.cuda.compile import build_ahead
from irchroma.engines.gpu.plans.build import LEVELS, PRECISIONS, SHAPES, Plan, PlanOptions, ensure_plans
from irchroma.engines.gpu.plans.file import PlanHeader, device_phrase, read_plan
from irchroma.engines.gpu.plans.library import LIBRARIES
from irchroma.engines.gpu.plans.proof import EIGHT_BIT
from irchroma.engines.network import network
from irchroma.engines.network.eight_bit.quantization import FLOAT_GROUPS, renew
from irchroma.engines.network.eight_bit.twins import twin_path
from irchroma.engines.network.onnx_summary import COUNTED_SIZE, inspect
from irchroma.engines.network.weight_storage import averaged, save
from irchroma.engines.palette.tables import PALETTES
from irchroma.launch.progress import Progress


def add_build_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `engines build`."""
    add = parser.add_argument
    shapes = "; ".join(f"{size}: {text}" for size, text in SHAPES.items())
    add("network", nargs="?", metavar="ENGINE", help="nir:fast, thermal ... (default nir)")
    add("--engine", help="the same, as irchroma run has it")
    add("--size", choices=catalog.SIZES, help="of the network (default best)")
    add(
        "--shapes",
        metavar="NxHxW,...",
        help=f"a plan each, of one shape NxHxW or of a range MIN:OPT:MAX (default {shapes};"
        " several cameras of one process that share a network use 1xHxW,2xHxW,4xHxW,8xHxW, built when they"
        " first run)",
    )
    add("--precision", choices=PRECISIONS, default="fp16", help="default fp16")
    add(
        "--onnx",
        type=Path,
        metavar="FILE",
        help="a network of your own: for int8 and fp8 one with quantized layers",
    )
    add(
        "--runtime",
        choices=tuple(LIBRARIES),
        help="default: tensorrt where it and a GPU are here, else tensorrt-rtx, which builds without a GPU",
    )
    add(
        "--level",
        type=int,
        choices=LEVELS,
        default=3,
        help="of the search for kernels (default 3, 5 longest)",
    )
    add(
        "--aux-streams",
        type=int,
        default=0,
        metavar="N",
        help="further streams that one run may use, -1 for as many as the library likes (default 0)",
    )
    add(
        "--no-build",
        action="store_true",
        help="only say whether a usable plan is there; fail, with why, if not",
    )


def build_plan(args: argparse.Namespace) -> None:
    """Build the plan asked for, unless it is there; say which."""
    if args.network and args.engine and args.network != args.engine:
        raise EngineOptionError(f"{args.network} and --engine {args.engine} contradict each other")
    engine = args.network or args.engine or "nir"
    name = catalog.parse(engine)
    if not name.neural:
        raise EngineUnavailable(f"engine {engine} has no network to build")
    if name.variant and args.size and name.variant != args.size:
        raise EngineOptionError(f"engine {engine} and size {args.size} contradict each other")
    progress = Progress(1.0)
    options = PlanOptions(
        engine=name.kind,
        size=name.variant or args.size or "best",
        shapes=args.shapes,
        precision=args.precision,
        runtime=args.runtime,
        build=not args.no_build,
        onnx=args.onnx,
        level=args.level,
        aux_streams=None if args.aux_streams < 0 else args.aux_streams,
    )
    try:
        plans = ensure_plans(options, progress.update, lambda line: print(line, file=sys.stderr))
    finally:
        progress.close()
    for plan in plans:
        print(_outcome(plan))


def show_plan(path: Path) -> None:
    """Print what a plan was built from and what is inside it.

    Raises:
        PlanError: it is none, cut short or damaged.
    """
    header, _ = read_plan(path)
    source = header.source
    for label, value in (
        ("file", f"{path} ({path.stat().st_size / 1e6:.2f} MB)"),
        ("network", f"{source.network} (SHA-256 {source.onnx_sha256[:16]}...)"),
        ("built by", f"{source.runtime} {source.version}, {header.built_at}, in {header.build_s:.1f} s"),
        ("built on", device_phrase(source) + (f", CUDA {header.driver}" if header.driver else "")),
        ("shape", source.shape),
        ("search", f"level {source.level}, auxiliary streams {_aux(source.aux_streams)}"),
        ("precision", f"{source.precision} in {_proved(header)}"),
        ("memory", _memory(header)),
        ("layers", _by_precision(header)),
    ):
        print(f"{label:<12}{value}")
    print(f"\n{'layer':<64} {'kind':<18}{'precision':<12}output")
    for layer in header.layers:
        print(f"{_short(layer.name, 64):<64} {layer.kind:<18}{layer.precision:<12}{layer.output}")


def _outcome(plan: Plan) -> str:
    header = plan.header
    done = "up to date" if plan.reason is None else f"built in {header.build_s:.1f} s"
    proved = f"{header.source.precision} in {_proved(header)}"
    return f"{plan.path}: {done}, {proved}, {header.plan_bytes / 1e6:.1f} MB"


def _aux(count: int | None) -> str:
    return "as the library likes" if count is None else str(count)


def _proved(header: PlanHeader) -> str:
    if header.source.precision in EIGHT_BIT:
        return f"{header.convolutions} convolutions, the others in wider types"
    doubt = f", {header.indirectly} by their weights or kernels alone" if header.indirectly else ""
    return (
        f"{header.convolutions} of {header.convolutions} convolutions{doubt}, as the {header.told_by} tells"
    )


def _memory(header: PlanHeader) -> str:
    parts = (("weights", header.weights_bytes), ("one context", header.activation_bytes))
    said = [f"{name} {count / 1e6:.1f} MB" for name, count in parts if count is not None]
    return ", ".join(said) or "not said by the builder"


def _by_precision(header: PlanHeader) -> str:
    counts = Counter(layer.precision for layer in header.layers)
    idle = counts.pop("none", 0)
    parts = [f"{count} in {name}" for name, count in counts.most_common()]
    parts += [f"{idle} that only order the others"] * (idle > 0)
    return f"{len(header.layers)}: {', '.join(parts)}"


def _short(name: str, width: int) -> str:
    return name if len(name) <= width else "..." + name[3 - width :]


EXAMPLE = "irchroma engines list"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's parts."""
    parts = parser.add_subparsers(dest="part", metavar="PART", required=True)
    parts.add_parser("list", help="engines, sizes and runtimes on this machine")
    look = parts.add_parser(
        "inspect", help="what is inside a network or a TensorRT plan: layers, precision, memory"
    )
    look.add_argument(
        "network", metavar="NETWORK", help="nir:fast, thermal:best ..., an .onnx or a .plan file"
    )
    add_build_arguments(parts.add_parser("build", help="compile a network into a TensorRT plan"))
    twins = parts.add_parser(
        "twins", help="make the 8-bit twins of the networks that ship, which run where they are faster"
    )
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
    average = parts.add_parser("average", help="average the weights of several trainings of one network")
    average.add_argument("files", nargs="+", type=Path, metavar="FILE", help=".onnx files")
    average.add_argument("--shares", nargs="+", type=float, default=[], help="of each (all alike)")
    average.add_argument("--out", type=Path, required=True, metavar="FILE", help="the .onnx file to write")
    parts.add_parser(
        "kernels", help="compile the CUDA kernels for every GPU, for machines without a compiler"
    )


def run(args: argparse.Namespace) -> int:
    """Do one part."""
    if args.part == "build":
        build_plan(args)
    elif args.part == "twins":
        if args.renew:
            renew_twins()
            return 0
        sources = {band: getattr(args, band) for band in catalog.BANDS if getattr(args, band)}
        make_twins(sources, args.frames, (args.size,) if args.size else catalog.SIZES, args.tune, args.rate)
    elif args.part == "average":
        save(averaged(args.files, args.shares), args.out)
    elif args.part == "kernels":
        path = build_ahead()
        print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")
    elif args.part == "inspect" and args.network.endswith(".plan"):
        show_plan(Path(args.network))
    elif args.part == "inspect":
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
    print(f"{'palette:NAME':<18}{'':>42}  {', '.join(PALETTES)}")
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
