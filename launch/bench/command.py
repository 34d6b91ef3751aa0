"""`irchroma bench`: measure speed and quality on this machine, with a JSON that says how it was measured."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

from irchroma.launch.arguments import CommandTable

EXAMPLE = "irchroma bench --json speed.json\n  irchroma bench temporal --json flicker.json"

BENCHES = CommandTable(
    "bench",
    {
        "archive": (
            "archive.seams",
            "an archive by several workers against one run: pictures, times, seams, speed",
        ),
        "live": ("bench.speed.live", "whole runs against gst-launch, and a live source's latency"),
        "cpu": (
            "bench.speed.cpu",
            "stages, files and live cameras on the CPU, instructions masked too, beside an older checkout",
        ),
        "element": (
            "gstreamer.overhead",
            "the GStreamer element beside its engine alone and a pipeline without it",
        ),
        "exemplars": (
            "bench.color.exemplars",
            "pairs colored by a reference: network, geometry, statistics; other scenes; cost",
        ),
        "gpu": ("bench.gpu.command", "the GPU path: parity, frames a second, latency, each step"),
        "without-gpu": (
            "bench.gpu.without_gpu",
            "all that can be shown of the GPU path without a GPU: compilers, plans, sanitizers, stand-ins",
        ),
        "quality": ("bench.color.quality", "every engine and size on pairs, and a plot of quality over time"),
        "reference": (
            "bench.color.reference",
            "a fixed camera's own color pictures as its reference: gain, and ghosts",
        ),
        "references": (
            "bench.color.references",
            "how often a scene's color picture is found for its infrared frame",
        ),
        "repair": ("bench.color.repair", "methods of repair on pictures and clips, and a frame's time"),
        "service": (
            "bench.service.command",
            "page and RTSP with viewers who come, go and stay, changes at random, a camera that dies",
        ),
        "start": ("bench.speed.start", "from the command to the first picture"),
        "twins": (
            "bench.speed.twins",
            "8-bit twins beside their float networks: CPU time, instructions masked too, and colors",
        ),
        "temporal": ("bench.color.temporal", "flicker, quality and cost of the temporal stage"),
    },
    default="live",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    BENCHES.add_to(parser)


def run(args: argparse.Namespace) -> int:
    """Run the bench that was named; with `--json -` its JSON is all that standard output gets."""
    if str(getattr(args, "json", None)) != "-":
        return BENCHES.run(args)
    with tempfile.TemporaryDirectory(prefix="irchroma-bench-") as folder:
        args.json = Path(folder) / "bench.json"
        try:
            with _told_aside():
                return BENCHES.run(args)
        finally:
            if args.json.exists():  # of one that failed: what it had measured until then
                sys.stdout.write(args.json.read_text(encoding="utf-8"))


@contextmanager
def _told_aside() -> Iterator[None]:
    """What is printed meanwhile goes to standard error, that of processes begun meanwhile too."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
