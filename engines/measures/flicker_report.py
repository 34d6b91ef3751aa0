"""Measures the flicker of a video file, frame by frame."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import cast

import cv2

from irchroma.engines.errors import EngineOptionError
from irchroma.engines.measures.flicker import (
    ColorDistribution,
    ReferenceMotion,
    Rgb,
    StaticFlicker,
    WarpingError,
)
from irchroma.engines.recolor.color_space import rgb_to_luma

_SAME_SHAPE = 0.03
"""How far apart width by height of two videos of one scene may be: a codec cuts some rows off."""


@dataclass(slots=True)
class FlickerReport:
    """What was measured; NaN (null in JSON) where a value was not asked for or has no meaning.

    Attributes:
        frames: number of frames.
        rate_hz: frames a second by the file.
        cdc: color distribution consistency, see `flicker.ColorDistribution`.
        static_ab: static-pixel flicker, see `flicker.StaticFlicker`.
        warping_error: E_warp, see `flicker.WarpingError`.
        reference_cdc: the same of the reference video, as a scale.
        reference_warping_error: the same of the reference video.
        series: each measure frame by frame, and `luma`, the mean luma.
    """

    frames: int
    rate_hz: float
    cdc: float
    static_ab: float = math.nan
    warping_error: float = math.nan
    reference_cdc: float = math.nan
    reference_warping_error: float = math.nan
    series: dict[str, list[float]] = field(default_factory=dict)

    def as_json(self) -> dict[str, object]:
        """Plain values for `json.dumps`, NaN as None."""

        def plain(value: float) -> float | None:
            return value if math.isfinite(value) else None

        values: dict[str, object] = {}
        for key, value in asdict(self).items():
            if key == "series":
                values[key] = {name: [plain(v) for v in part] for name, part in value.items()}
            else:
                values[key] = plain(value)
        return values


def measure_flicker(video: Path, reference: Path | None = None, source: Path | None = None) -> FlickerReport:
    """Measure a video file.

    Args:
        video: what to measure.
        reference: a video of the same scene in real color, frame by frame the same times; gives the flow
            for the warping error, and its own values as a scale.
        source: the infrared video that `video` was made from; tells which pixels did not change.
            Without it the luma of `video` itself tells, which a stage that changes luma blurs.

    Raises:
        EngineOptionError: a file cannot be read, is too short, or does not match `video`.
    """
    rate_hz, frames = read_frames(video)
    references = None if reference is None else read_frames(reference)[1]
    sources = None if source is None else read_frames(source)[1]
    distribution, static = ColorDistribution(), StaticFlicker()
    motion, warping, reference_warping = ReferenceMotion(), WarpingError(), WarpingError()
    reference_distribution = ColorDistribution()
    series: dict[str, list[float]] = {"cdc": [], "static_ab": [], "luma": []}
    if references is not None:
        series["warping_error"] = []
    count = 0
    for rgb in frames:
        luma = rgb_to_luma(rgb)
        seen = luma if sources is None else rgb_to_luma(_matching(sources, source, rgb, count))
        series["cdc"].append(distribution.add(rgb))
        series["static_ab"].append(static.add(rgb, seen))
        series["luma"].append(float(luma.mean()))
        if references is not None:
            truth = _matching(references, reference, rgb, count)
            moved = motion.add(rgb_to_luma(truth))
            series["warping_error"].append(warping.add(rgb, moved))
            reference_warping.add(truth, moved)
            reference_distribution.add(truth)
        count += 1
    if count < 2:
        raise EngineOptionError(f"{video} has {count} frame: flicker needs two or more")
    return FlickerReport(
        frames=count,
        rate_hz=rate_hz,
        cdc=distribution.value(),
        static_ab=static.value(),
        warping_error=warping.value(),
        reference_cdc=reference_distribution.value(),
        reference_warping_error=reference_warping.value(),
        series=series,
    )


def read_frames(path: Path) -> tuple[float, Iterator[Rgb]]:
    """Frame rate, and the frames as (H, W, 3) uint8 R'G'B'.

    Raises:
        EngineOptionError: the file is not there or is no video that OpenCV can decode.
    """
    if not path.is_file():
        raise EngineOptionError(f"no such video: {path}")
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    if not capture.isOpened():
        capture.release()
        raise EngineOptionError(f"{path} is not a video that OpenCV can decode: convert it to H.264 in MP4")
    return float(capture.get(cv2.CAP_PROP_FPS)), _frames(capture)


def _frames(capture: cv2.VideoCapture) -> Iterator[Rgb]:
    try:
        while True:
            good, bgr = capture.read()
            if not good:
                return
            yield cast(Rgb, cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB))
    finally:
        capture.release()


def _matching(frames: Iterator[Rgb], path: Path | None, rgb: Rgb, number: int) -> Rgb:
    """The next frame, at the size of `rgb`."""
    frame = next(frames, None)
    if frame is None:
        raise EngineOptionError(f"{path} ends at frame {number}, before the video that is measured")
    if frame.shape != rgb.shape:
        (height, width), (measured_height, measured_width) = frame.shape[:2], rgb.shape[:2]
        if abs(width * measured_height / (height * measured_width) - 1) > _SAME_SHAPE:
            raise EngineOptionError(
                f"{path} is {width}x{height} and what is measured {measured_width}x{measured_height}:"
                " expected the same scene in the same shape"
            )
        size = (rgb.shape[1], rgb.shape[0])
        frame = cast(Rgb, cv2.resize(frame, size, interpolation=cv2.INTER_AREA))
    return frame
