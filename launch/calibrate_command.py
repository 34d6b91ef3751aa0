"""`irchroma calibrate`: measures a camera, a scene or this machine and writes the files that a run reads."""

from __future__ import annotations

import argparse
import importlib

EXAMPLE = "irchroma calibrate reference day1.jpg day2.jpg --out yard.toml"

MEASUREMENTS = {
    "bad-pixels": ("irchroma.launch.calibrate_bad_pixels", "find dead, stuck and blinking pixels"),
    "nuc": ("irchroma.launch.calibrate_nuc", "measure the non-uniformity of a sensor"),
    "precision": ("irchroma.launch.calibrate_precision", "make an 8-bit network from your own frames"),
    "reference": ("irchroma.launch.calibrate_reference", "collect the scene's real color by day"),
    "speed": ("irchroma.launch.calibrate_speed", "the best settings that keep a rate on this machine"),
}
"""Subcommand -> (module, summary); a module has `EXAMPLE`, `add_arguments(parser)` and `run(args) -> int`."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """One subcommand for each measurement."""
    measurements = parser.add_subparsers(dest="measurement", metavar="WHAT", required=True)
    for name, (module_name, summary) in MEASUREMENTS.items():
        module = importlib.import_module(module_name)
        sub = measurements.add_parser(
            name,
            help=summary,
            description=summary[0].upper() + summary[1:] + ".",
            epilog="example:\n  " + module.EXAMPLE,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(sub)
        sub.set_defaults(measure=module.run)


def run(args: argparse.Namespace) -> int:
    """Run the measurement that was named."""
    return int(args.measure(args))
