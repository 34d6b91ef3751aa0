"""Which network a calibration tunes, and where it goes: as color, confidence and precision ask for it."""

from __future__ import annotations

import argparse
from pathlib import Path

from irchroma.calibration.errors import CalibrationError
from irchroma.engines import catalog
from irchroma.engines.errors import EngineUnavailable
from irchroma.engines.network.record import read_record


def add_network_arguments(
    parser: argparse.ArgumentParser, beside: str = "", default: str | None = "nir"
) -> None:
    """Network, file and weights; `beside`: what else is written; no `default`: by the pictures."""
    add = parser.add_argument
    told = "nir:fast" if default is not None else "fast, of thermal for counts, else of nir"
    add("--engine", default=default, metavar="E", help=f"nir, nir:best, thermal, thermal:best ({told})")
    add("--out", type=Path, required=True, metavar="FILE.onnx", help=f"the network{beside}")
    add("--overwrite", action="store_true", help="replace a network that color or precision did not write")
    add(
        "--weights", type=Path, metavar="FILE.onnx", help="a float network to begin with (the one that ships)"
    )


def asked_network(args: argparse.Namespace, counts: bool = False) -> tuple[str, str]:
    """Engine and size of `add_network_arguments`; without one, as `run` takes it.

    Args:
        args: of the command.
        counts: whether its pictures are a sensor's counts.

    Raises:
        CalibrationError: it has no network, the file would not be one, or it is there already and may not be
            overwritten.
    """
    name = catalog.parse(args.engine or ("thermal" if counts else "nir"))
    if not name.neural:
        raise CalibrationError(f"expected a network such as nir or thermal:best, got {args.engine}")
    if args.out.suffix != ".onnx":
        raise CalibrationError(f"--out {args.out}: expected a name ending in .onnx")
    if not args.overwrite and args.out.exists() and not _is_own(args.out):
        raise CalibrationError(
            f"--out {args.out} is there already: give another name, or --overwrite to replace it"
        )
    return name.kind, name.variant or "fast"


def _is_own(path: Path) -> bool:
    """Whether a network says that it was calibrated, and is none of those that ship."""
    try:
        return read_record(path) is not None and path.resolve().parent != catalog.WEIGHTS.resolve()
    except EngineUnavailable:  # no network at all
        return False
