"""`irchroma calibrate burn-in`: finds burnt-in text, logos and scratches, and paints them white in a mask."""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from irchroma.calibration.burn_in import BurnInFinder
from irchroma.calibration.errors import CalibrationError
from irchroma.calibration.recordings import read_frames
from irchroma.launch.commands.calibrate.overview import shown, told
from irchroma.launch.progress import Progress
from irchroma.launch.stills.picture_files import write_rgb

EXAMPLE = "irchroma calibrate burn-in recording.mp4 --out mask.png"
EVERY_NS = 250_000_000
"""What stands still is found late, not often: once `AT_FIRST` frames, a short recording's, were seen."""
AT_FIRST = 64
RED = (255, 40, 40)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("source", metavar="RECORDING", help="a recording or camera; best while the view changes or pans")
    add("--out", type=Path, required=True, metavar="MASK.png", help="white where something is burnt in")
    add("--seconds", type=float, default=60.0, metavar="S", help="read so long (60), 0 for all")


def run(args: argparse.Namespace) -> int:
    """Look, write the mask and a picture of what was found."""
    if args.out.suffix.lower() != ".png":
        raise CalibrationError(
            f"--out {args.out}: expected a name that ends in .png, which keeps a mask exact"
        )
    print(told(args.source, args.seconds), flush=True)
    finder, progress = BurnInFinder(), Progress(args.seconds or None)
    start_ns = next_ns = None
    last = None
    for frame in read_frames(args.source, args.seconds):
        start_ns = frame.pts_ns if start_ns is None else start_ns
        progress.update((frame.pts_ns - start_ns) / 1e9)
        last = frame.pixels
        if frame.held or (next_ns is not None and frame.pts_ns < next_ns):
            continue
        next_ns = frame.pts_ns + EVERY_NS * (finder.frames >= AT_FIRST)
        finder.add(frame.pixels)
    progress.close()
    mask = finder.mask()
    if last is None or not mask.any():
        raise CalibrationError(
            f"nothing burnt in was found in {finder.frames} frames; the view changed in"
            f" {100 * finder.lively():.0f} % of the picture: record while it pans, or paint a mask by hand"
        )
    if not cv2.imwrite(str(args.out), mask.astype(np.uint8) * 255):
        raise CalibrationError(f"cannot write {args.out}")
    picture = np.array(last if last.ndim == 3 else shown(last), np.uint8)
    picture[mask] = (0.4 * picture[mask] + 0.6 * np.array(RED)).astype(np.uint8)
    sheet = args.out.with_name(args.out.stem + "-overview.png")
    write_rgb(sheet, picture)
    height, width = mask.shape
    print(f"{100 * mask.mean():.2f} % of {width}x{height} pixels, in {finder.frames} frames")
    print(f"{args.out}: written, for run --repair; {sheet} shows where")
    return 0
