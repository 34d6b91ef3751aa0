"""`irchroma calibrate`: measures a camera, a scene or this machine and writes the files that a run reads."""

from __future__ import annotations

import argparse
import math

from irchroma.calibration.errors import CalibrationError
from irchroma.launch.arguments import CommandTable
from irchroma.launch.config import ConfigError
from irchroma.launch.run.outputs import make_folder_of, require_writable, source_file

EXAMPLE = "irchroma calibrate reference day1.jpg day2.jpg --out yard.toml"

MEASUREMENTS = CommandTable(
    "measurement",
    {
        "bad-pixels": ("commands.calibrate.bad_pixels", "find dead, stuck and blinking pixels"),
        "burn-in": (
            "commands.calibrate.burn_in",
            "find burnt-in text, logos and scratches, for run --repair",
        ),
        "color": ("commands.calibrate.color", "tune a network to a camera by its own pairs"),
        "confidence": (
            "commands.calibrate.confidence",
            "hold a network's confidence against pictures with a known color",
        ),
        "nuc": ("commands.calibrate.nuc", "measure the non-uniformity of a sensor"),
        "precision": ("commands.calibrate.precision", "make an 8-bit network from your own frames"),
        "reference": ("commands.calibrate.reference", "collect the scene's real color by day"),
        "speed": ("commands.calibrate.speed", "the best settings that keep a rate on this machine"),
    },
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    MEASUREMENTS.add_to(parser)


def run(args: argparse.Namespace) -> int:
    """Run the measurement that was named.

    What can be seen to fail at its end, such as a result that cannot be written, fails before it begins.

    Raises:
        CalibrationError: a time or number below 0.
        ConfigError: the result would replace what is measured, or cannot be written.
    """
    if not 0 <= getattr(args, "seconds", 0.0) < math.inf:
        raise CalibrationError(f"--seconds must be 0 (all of it) or more, got {args.seconds:g}")
    if getattr(args, "frames", 0) < 0:
        raise CalibrationError(f"--frames must be 0 (all of them) or more, got {args.frames}")
    if args.out is not None:
        sources = getattr(args, "source", [])
        for source in [sources] if isinstance(sources, str) else sources:
            if source_file(source) == args.out.resolve():
                raise ConfigError(f"--out {args.out} would replace what is measured: give it another name")
        make_folder_of(args.out, "--out")
        require_writable(args.out, "--out")
    return MEASUREMENTS.run(args)
