"""`irchroma calibrate bad-pixels`: finds dead, stuck and blinking pixels for a camera's profile."""

from __future__ import annotations

import argparse
from contextlib import closing
from pathlib import Path

from irchroma.calibration.bad_pixels import BadPixelFinder
from irchroma.calibration.errors import CalibrationError
from irchroma.calibration.recordings import read_frames
from irchroma.launch.commands.calibrate.overview import draw_bad_pixels, told
from irchroma.launch.commands.calibrate.sensor_profile import add_camera, begun_profile
from irchroma.launch.progress import Progress
from irchroma.launch.stills.picture_files import write_rgb
from irchroma.stream.sensor.profile import (
    BLINKING,
    DEAD,
    STUCK,
    save_profile,
    with_faults,
)

EXAMPLE = "irchroma calibrate bad-pixels recording.mkv --out camera.toml"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("source", metavar="RECORDING", help="a recording or camera; any scene, or a dark one")
    add(
        "--out",
        type=Path,
        required=True,
        metavar="FILE",
        help="camera profile (.toml); one that exists is kept",
    )
    add_camera(parser)
    add("--seconds", type=float, default=10.0, metavar="S", help="read so long (10), 0 for all")
    add(
        "--missing",
        type=_area,
        action="append",
        default=[],
        metavar="X,Y,W,H",
        help="fill in this area too: a scratch on the window, burnt-in text; may be repeated",
    )


def run(args: argparse.Namespace) -> int:
    """Look, write the profile and a picture of what was found."""
    profile = begun_profile(args.out, args.camera)
    print(told(args.source, args.seconds), flush=True)
    finder, progress = BadPixelFinder(), Progress(args.seconds or None)
    start_ns: int | None = None
    part = ""
    with closing(read_frames(args.source, profile=profile)) as frames:
        for frame in frames:
            start_ns = frame.pts_ns if start_ns is None else start_ns
            done_s = (frame.pts_ns - start_ns) / 1e9
            if args.seconds and done_s > args.seconds:
                part = f", the first {args.seconds:g} s: --seconds looks at more"
                break
            if not frame.held:
                with_faults(profile, frame.size)  # refused before the rest is read
                finder.add(frame.pixels)
            progress.update(done_s)
    progress.close()
    found = finder.result()
    height, width = found.kinds.shape
    for x, y, wide, high in args.missing:
        if x + wide > width or y + high > height:
            raise CalibrationError(f"area {x},{y},{wide},{high} is not inside {width}x{height} pixels")
    parts = {"bad_pixels": found.kinds, "missing": tuple(args.missing) or profile.faults.missing}
    save_profile(args.out, with_faults(profile, (height, width), **parts))
    sheet = args.out.with_name(args.out.stem + "-bad-pixels-overview.png")
    write_rgb(sheet, draw_bad_pixels(found.mean, found.kinds))
    print(
        f"{found.count(DEAD)} dead, {found.count(STUCK)} stuck, {found.count(BLINKING)} blinking"
        f" of {width}x{height} pixels in {found.frames} frames{part}"
    )
    print(f"{args.out}: written; rings in {sheet} show where")
    return 0


def _area(word: str) -> tuple[int, int, int, int]:
    values = [int(part) for part in word.split(",")] if word.replace(",", "").isdigit() else []
    if len(values) != 4 or min(values[2:]) < 1:
        raise argparse.ArgumentTypeError(f"expected X,Y,W,H in pixels, got {word!r}")
    return values[0], values[1], values[2], values[3]
