"""`irchroma calibrate reference`: collects a fixed camera's color by day for its infrared by night."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from irchroma.calibration.errors import CalibrationError
from irchroma.calibration.recordings import read_frames
from irchroma.calibration.references import STILL_FROM, ReferenceCollector
from irchroma.engines.recolor.color_space import rgb_to_luma
from irchroma.engines.reference import registration
from irchroma.engines.reference.pictures import PICTURES, Reference, read_picture, save_references
from irchroma.launch.commands.calibrate.overview import draw_references
from irchroma.launch.progress import Progress
from irchroma.launch.stills.picture_files import write_rgb
from irchroma.stream.sinks.open_sink import public

EXAMPLE = "irchroma calibrate reference rtsp://camera/stream --seconds 60 --out yard.toml"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "source",
        nargs="+",
        metavar="PICTURE_OR_STREAM",
        help="pictures, folders, recordings or cameras (until Ctrl-C or --seconds); what is gray is left out",
    )
    add("--out", type=Path, required=True, metavar="FILE", help="a .toml file; pictures are put beside it")
    add("--every", type=float, default=1.0, metavar="S", help="look every S seconds (1)")
    add("--seconds", type=float, default=0.0, metavar="S", help="read so long, 0 for all (0)")
    add("--keep", type=int, default=4, metavar="N", help="references to keep at most (4)")


def run(args: argparse.Namespace) -> int:
    """Collect, write the set and a picture of it, say what it is."""
    if args.every <= 0 or args.seconds < 0:
        raise CalibrationError("--every must be above 0 seconds and --seconds not below 0")
    collector = ReferenceCollector(args.keep)
    _look_at(args, collector)
    references = collector.references()
    written = save_references(args.out, references)
    sheet = args.out.with_name(args.out.stem + "-overview.png")
    write_rgb(sheet, draw_references(references))
    print("\n".join(describe(references, collector.gray)))
    print(f"{args.out}: {len(written)} files, looked at best in {sheet}")
    return 0


def _look_at(args: argparse.Namespace, collector: ReferenceCollector) -> None:
    """Collect from all sources; Ctrl-C ends the look at a camera, and anything else as an error."""
    for number, source in enumerate(args.source):
        progress, seen = Progress(args.seconds or None), False
        try:
            for at_s, rgb, name in pictures(source, args.every, args.seconds):
                seen = collector.add(rgb, name) or seen
                progress.update(at_s, f"{number + 1} of {len(args.source)}: {name}")
        except KeyboardInterrupt:
            if not seen or not ("://" in source or source.startswith("/dev/")):
                raise
            print(f"{public(source)}: stopped, what was seen until now is taken", file=sys.stderr)
        finally:
            progress.close()


def describe(references: list[Reference], gray: int) -> list[str]:
    """What there is to say of each reference."""
    lines, first = [], references[0]
    for reference in references:
        height, width = reference.trust.shape
        trusted = float((reference.trust > 127).mean())
        lines.append(f"{reference.name}: {width}x{height}, {trusted:.1%} trusted")
        lumas = rgb_to_luma(first.rgb), rgb_to_luma(reference.rgb)
        if reference is not first and not registration.register(*lumas).same_scene:
            lines.append(
                f"{reference.name}: shows another view than {first.name}: right for a camera that turns, else"
                " leave it out"
            )
        if not reference.still:
            lines.append(
                f"{reference.name}: too few to know what stands still, so what the infrared does not show is"
                f" left out, paint too: give {STILL_FROM} pictures or more of a view"
            )
    if gray:
        lines.append(f"{gray} monochrome pictures left out")
    return lines


def pictures(source: str, every_s: float, seconds: float) -> Iterator[tuple[float, NDArray[np.uint8], str]]:
    """(seconds, (H, W, 3) uint8 R'G'B', name) of a picture, a folder, a recording or a camera.

    Black where it is monochrome.
    """
    path = Path(source)
    if path.suffix.lower() in PICTURES and path.is_file():
        yield 0.0, read_picture(path).rgb, path.name
        return
    name = public(source) if "://" in source else path.name or source
    next_ns: int | None = None
    start_ns = 0
    for frame in read_frames(source, seconds):
        if next_ns is None:
            next_ns = start_ns = frame.pts_ns
        if frame.pts_ns < next_ns and not path.is_dir():
            continue
        next_ns = max(next_ns + round(every_s * 1e9), frame.pts_ns)
        at_s = (frame.pts_ns - start_ns) / 1e9
        rgb = frame.pixels if frame.is_color else np.zeros((*frame.size, 3), np.uint8)  # counted as gray
        yield at_s, np.asarray(rgb, np.uint8), f"{name} at {at_s:.1f} s"
