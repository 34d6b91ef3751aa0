"""The parts of `irchroma engines` that are about TensorRT's plans: build one, and show what is inside it."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

from irchroma.engines import catalog
from irchroma.engines.errors import EngineOptionError, EngineUnavailable
from irchroma.engines.gpu.plans.build import LEVELS, PRECISIONS, SHAPES, Plan, PlanOptions, ensure_plans
from irchroma.engines.gpu.plans.file import PlanHeader, device_phrase, read_plan
from irchroma.engines.gpu.plans.library import LIBRARIES
from irchroma.engines.gpu.plans.proof import EIGHT_BIT
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
