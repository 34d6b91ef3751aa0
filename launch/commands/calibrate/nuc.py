"""`irchroma calibrate nuc`: measures a sensor's non-uniformity and writes it to a camera's profile."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from irchroma.calibration.errors import CalibrationError
from irchroma.calibration.recordings import read_frames
from irchroma.calibration.uniformity import Uniformity, from_scene, is_uniform, one_point, two_point
from irchroma.launch.commands.calibrate.overview import draw_uniformity, told
from irchroma.launch.commands.calibrate.sensor_profile import add_camera, begun_profile
from irchroma.launch.progress import Progress
from irchroma.launch.stills.picture_files import write_rgb
from irchroma.stream.sensor.correction import Correction
from irchroma.stream.sensor.profile import (
    CameraFaults,
    CameraProfile,
    save_profile,
    with_faults,
)
from irchroma.stream.sinks.open_sink import public

EXAMPLE = "irchroma calibrate nuc lens-cap.mkv --out camera.toml"
METHODS = ("auto", "one-point", "two-point", "scene")
MOST_FRAMES = 240
Recording = NDArray[np.uint8] | NDArray[np.uint16]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "source",
        nargs="+",
        metavar="RECORDING",
        help="a uniform view (lens cap, wall); two of different temperature; or any scene under a slow pan"
        " in both directions",
    )
    add(
        "--out",
        type=Path,
        required=True,
        metavar="FILE",
        help="camera profile (.toml); one that exists is kept",
    )
    add_camera(parser)
    add("--method", choices=METHODS, default="auto", help="auto looks at the recordings")
    add(
        "--track-stripes",
        type=float,
        metavar="COUNTS",
        help="a run may move columns and rows by so much as they drift; also takes faint straight lines of"
        " the scene, so 0 (off) unless stripes come back",
    )
    add(
        "--track-drift",
        type=float,
        metavar="COUNTS",
        help="a run may move single pixels by so much as they drift, while the camera moves; 0 (off) unless"
        " grain that stands still comes back",
    )
    add("--seconds", type=float, default=10.0, metavar="S", help="read so long (10), 0 for all")


def run(args: argparse.Namespace) -> int:
    """Measure, write the profile and a picture of before and after, say what is left."""
    if len(args.source) > 2:
        raise CalibrationError(f"one or two recordings, got {len(args.source)}")
    profile = begun_profile(args.out, args.camera)
    recordings = [_frames(source, args.seconds, profile) for source in args.source]
    size = (recordings[0].shape[1], recordings[0].shape[2])
    if any(recording.shape[1:] != size for recording in recordings):
        raise CalibrationError("the two recordings are of different sizes")
    known = profile.faults.bad_pixels
    bad = np.zeros(size, bool) if known is None else known > 0
    if bad.shape != size:
        raise CalibrationError(f"the profile is of {bad.shape[::-1]} pixels, the recording of {size[::-1]}")
    progress = Progress(1.0)
    try:
        found = measure(
            recordings, bad, args.method, lambda share: progress.update(share, "comparing frames")
        )
    finally:
        progress.close()
    parts = CameraFaults(offset=found.offset, gain=found.gain, gain_about=found.about)
    stripes = profile.faults.stripes if args.track_stripes is None else args.track_stripes
    new = with_faults(
        profile,
        size,
        offset=found.offset,
        gain=found.gain,
        gain_about=found.about,
        stripes=stripes,
        drift=profile.faults.drift if args.track_drift is None else args.track_drift,
    )
    save_profile(args.out, new)
    frame = recordings[0][len(recordings[0]) // 2]
    after = Correction(replace(new, faults=replace(parts, bad_pixels=known))).apply(frame)
    sheet = args.out.with_name(args.out.stem + "-nuc-overview.png")
    write_rgb(sheet, draw_uniformity(found.offset, frame, after))
    spread = float(found.offset[~bad].std())
    print(f"{found.method}: fixed pattern of {spread:.2f} counts, columns and rows {found.stripes:.2f} of it")
    print(f"{args.out}: written; {sheet} shows the pattern, a frame before and the same after")
    return 0


def measure(
    recordings: list[Recording],
    bad: NDArray[np.bool_],
    method: str,
    on_progress: Callable[[float], None] | None = None,
) -> Uniformity:
    """The non-uniformity, by the method named or the one that the recordings allow.

    `on_progress` is called with the share done, [0, 1], where that takes seconds.

    Raises:
        CalibrationError: they do not show what the method needs.
    """
    means = [recording.mean(0, dtype=np.float64).astype(np.float32) for recording in recordings]
    if method == "auto":
        uniform = [is_uniform(mean) for mean in means]
        if len(means) == 2 and not all(uniform):
            raise CalibrationError(
                "two recordings are of two uniform views (lens cap, wall), one warmer, and the"
                f" {'second' if uniform[0] else 'first'} is none: cover the lens, or give one recording"
            )
        method = ("two-point" if len(means) == 2 else "one-point") if all(uniform) else "scene"
    if method == "two-point":
        if len(means) != 2:
            raise CalibrationError("two-point needs two recordings of uniform views, one warmer")
        return two_point(means[0], means[1], bad)
    if len(means) != 1:
        raise CalibrationError(f"--method {method} takes one recording, got {len(means)}")
    if method == "one-point":
        if not is_uniform(means[0]):
            raise CalibrationError(
                "this view is not uniform: cover the lens, or use --method scene with a slow pan"
            )
        return one_point(means[0], bad)
    return from_scene(list(recordings[0]), bad, on_progress)


def _frames(source: str, seconds: float, profile: CameraProfile) -> Recording:
    """(n, H, W): frames of one size, without repetitions, evenly thinned to bound the memory."""
    print(told(source, seconds), flush=True)
    kept: list[Recording] = []
    step, progress = 1, Progress(seconds or None)
    start_ns: int | None = None
    for number, frame in enumerate(read_frames(source, seconds, profile=profile)):
        start_ns = frame.pts_ns if start_ns is None else start_ns
        progress.update((frame.pts_ns - start_ns) / 1e9, public(source))
        if frame.is_color:
            raise CalibrationError(f"{public(source)} is in color: non-uniformity is measured in infrared")
        if not number:
            with_faults(profile, frame.size)  # refused before the rest is read
        if frame.held or number % step or (kept and kept[0].shape != frame.pixels.shape):
            continue
        kept.append(frame.pixels)
        if len(kept) == MOST_FRAMES:
            kept, step = kept[::2], step * 2
    progress.close()
    if len(kept) < 2:
        raise CalibrationError(f"{public(source)}: {len(kept)} frames, expected a few seconds")
    return np.asarray(np.stack(kept), kept[0].dtype)  # type: ignore[return-value]
