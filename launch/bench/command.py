"""`irchroma bench`: measure speed and quality on this machine, with a JSON that says how it was measured."""

from __future__ import annotations

import argparse
import importlib

from irchroma.launch.arguments import OneLineParser
from irchroma.launch.config import ConfigError, nearest
from irchroma.launch.run.outputs import require_results_writable

BENCHES = {
    "auto": (
        "irchroma.launch.bench.auto",
        "a live run by --auto while other processes load the machine",
    ),
    "live": (
        "irchroma.launch.bench.live",
        "whole runs against gst-launch, and a live source's latency",
    ),
    "cameras": (
        "irchroma.launch.bench.cameras",
        "several cameras at once, with shared and separate networks",
    ),
    "gpu": ("irchroma.launch.bench.gpu", "the GPU path: parity, frames a second, latency, each step"),
    "quality": (
        "irchroma.launch.bench.quality",
        "every engine and size on pairs, and a plot of quality over time",
    ),
    "reference": (
        "irchroma.launch.bench.reference",
        "a fixed camera's own color pictures as its reference: gain, and ghosts",
    ),
    "soak": ("irchroma.launch.bench.soak", "memory over a long run with clients coming and going"),
    "start": ("irchroma.launch.bench.start", "from the command to the first picture"),
    "temporal": ("irchroma.launch.bench.temporal", "flicker, quality and cost of the temporal stage"),
}
"""Name -> (module, summary); a module has `add_arguments(parser)` and `run(args) -> int`."""

EXAMPLE = "irchroma bench --json speed.json\n  irchroma bench temporal --json flicker.json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The bench's name first; its own flags after it."""
    names = "; ".join(f"{name}: {summary}" for name, (_, summary) in BENCHES.items())
    parser.add_argument("what", nargs="?", default="live", metavar="WHAT", help=f"{names} (default: live)")
    parser.add_argument("rest", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    parser.add_argument("--json", metavar="FILE", help="where the numbers go")


def run(args: argparse.Namespace) -> int:
    """Hand over to the named bench."""
    if args.what not in BENCHES:
        raise ConfigError(f"unknown bench {args.what}{nearest(args.what, list(BENCHES))}")
    module = importlib.import_module(BENCHES[args.what][0])
    parser = OneLineParser(prog=f"irchroma bench {args.what}")
    module.add_arguments(parser)
    rest = [*args.rest, *(["--json", args.json] if args.json else [])]
    inner = parser.parse_args(rest)
    require_results_writable(inner)
    return int(module.run(inner))
