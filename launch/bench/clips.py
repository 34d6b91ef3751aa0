"""Clips that the temporal bench measures on: recordings, and synthetic cameras whose true color is known."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.engines.errors import EngineOptionError
from irchroma.engines.measures.flicker_report import read_frames
from irchroma.engines.recolor.color_space import rgb_to_luma
from irchroma.stream.synthetic.camera import SyntheticCamera
from irchroma.stream.synthetic.options import parse_test_address
from irchroma.stream.tone.tone_map import ToneMap

Rgb = NDArray[np.uint8]
SYNTHETIC_FRAMES = 150


@dataclass(frozen=True)
class Clip:
    """Infrared frames and, where it is known, the color of the same scene.

    Attributes:
        name: for the table.
        rate_hz: frames a second.
        luma: (H, W) uint8 each.
        truth: gives the true colors anew, one (H, W, 3) uint8 for each frame, of the luma's size; None
            where there are none.
    """

    name: str
    rate_hz: float
    luma: list[NDArray[np.uint8]]
    truth: Callable[[], Iterator[Rgb]] | None = None


def recorded(infrared: Path, color: Path | None = None, most_frames: int = 0) -> Clip:
    """A video file, and the real color video of the same scene; 0 reads all frames."""
    rate_hz, frames = read_frames(infrared)
    luma = [rgb_to_luma(frame) for frame in islice(frames, most_frames or None)]
    height, width = luma[0].shape

    def truth() -> Iterator[Rgb]:
        assert color is not None
        for frame in islice(read_frames(color)[1], len(luma)):
            yield np.asarray(cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA), np.uint8)

    return Clip(infrared.name, rate_hz or 30.0, luma, None if color is None else truth)


def synthetic(address: str, most_frames: int = 0) -> Clip:
    """A `test:` camera through the default tone map.

    Raises:
        EngineOptionError: its pictures change their size or are in color by day.
        StreamOptionError: no such address.
    """
    options = parse_test_address(address)
    if options.daynight_s or options.live:
        raise EngineOptionError(f"{address}: daynight_s and live cannot be measured, leave them out")
    camera, tone_map = SyntheticCamera(options), ToneMap()
    rate_hz = float(options.rate)
    frames = options.frames or most_frames or SYNTHETIC_FRAMES
    numbers = range(min(frames, most_frames or frames))
    luma = [tone_map.apply(camera.frame(n).pixels, round(n * 1e9 / rate_hz)) for n in numbers]
    return Clip(address, rate_hz, luma, lambda: (camera.frame(n).rgb for n in numbers))
