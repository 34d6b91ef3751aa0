"""Which network a calibration tunes, and where it goes: as color, confidence and precision ask for it."""

from __future__ import annotations

import argparse
from pathlib import Path

from irchroma.calibration.errors import CalibrationError
from irchroma.engines import catalog


def add_network_arguments(
    parser: argparse.ArgumentParser, beside: str = "", default: str | None = "nir"
) -> None:
    """Network, file and weights; `beside`: what else is written; no `default`: by the pictures."""
    add = parser.add_argument
    told = "nir:fast" if default is not None else "fast, of thermal for counts, else of nir"
    add("--engine", default=default, metavar="E", help=f"nir, nir:best, thermal, thermal:best ({told})")
    add("--out", type=Path, required=True, metavar="FILE.onnx", help=f"the network{beside}")
    add(
        "--weights", type=Path, metavar="FILE.onnx", help="a float network to begin with (the one that ships)"
    )


def asked_network(args: argparse.Namespace, counts: bool = False) -> tuple[str, str]:
    """Engine and size of `add_network_arguments`; without one, as `run` takes it.

    Args:
        args: of the command.
        counts: whether its pictures are a sensor's counts.

    Raises:
        CalibrationError: it has no network, or the file would not be one.
    """
    name = catalog.parse(args.engine or ("thermal" if counts else "nir"))
    if not name.neural:
        raise CalibrationError(f"expected a network such as nir or thermal:best, got {args.engine}")
    if args.out.suffix != ".onnx":
        raise CalibrationError(f"--out {args.out}: expected a name ending in .onnx")
    return name.kind, name.variant or "fast"
