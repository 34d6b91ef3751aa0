"""`irchroma engines`: which engines and runtimes are here, and what is inside a network."""

from __future__ import annotations

import argparse
from pathlib import Path

from irchroma.engines import catalog
from irchroma.engines.errors import EngineUnavailable
from irchroma.engines.gpu.cuda.compile import build_ahead
from irchroma.engines.network import network
from irchroma.engines.network.onnx_summary import COUNTED_SIZE, inspect
from irchroma.engines.palette.tables import PALETTES
from irchroma.launch.commands.plan_command import add_build_arguments, build_plan, show_plan

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
    parts.add_parser(
        "kernels", help="compile the CUDA kernels for every GPU, for machines without a compiler"
    )


def run(args: argparse.Namespace) -> int:
    """Do one part."""
    if args.part == "build":
        build_plan(args)
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
    print(f"{'engine':<16}{'weights':>10}{'parameters':>13}{'MACs at ' + _size():>19}  what it is for")
    for band in catalog.BANDS.values():
        for size in catalog.SIZES:
            print(_row(band, size))
    print(f"{'palette:NAME':<16}{'':>42}  {', '.join(PALETTES)}")
    print(f"{'gray':<16}{'':>42}  the luma as it is")
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
        return f"{name:<16}{'missing':>10}{'':>32}  {band.summary}"
    weight = f"{path.stat().st_size / 1e6:.2f} MB"
    try:
        seen = inspect(path)
        counts = f"{seen.parameters / 1e6:.2f} M", f"{seen.macs / 1e9:.2f} G"
    except EngineUnavailable:
        counts = "-", "-"
    return f"{name:<16}{weight:>10}{counts[0]:>13}{counts[1]:>19}  {band.summary}"


def _size() -> str:
    return f"{COUNTED_SIZE[1]}x{COUNTED_SIZE[0]}"
