"""What a frame takes of the processor beside its network: by a colorizer at work, before the first frame."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.engines import catalog
from irchroma.engines.network.network import Tensor
from irchroma.engines.neural.carried_models import MOST_CARRIED
from irchroma.engines.neural.colorizer import NeuralColorizer, NeuralOptions
from irchroma.engines.recolor.recoloring import halves
from irchroma.engines.recolor.work_picture import work_size

MEASURED, SEEN_PX, _SMALL_PX = "fast", 320, 160
"""The network that is measured, and what it sees; the others by their work. And a small work size, from which
what does not grow with it is told."""
_CYCLE = MOST_CARRIED + 1
MODELS_SHARE = 0.4
"""Of the work that grows with the work size, where the models are made for every frame: 0.36 to 0.46."""
_FRAMES = 3 * _CYCLE
_LONGEST_S = 0.25
"""After which no more frames are measured, but for two cycles: beside other work color would come late."""


class _Prompt:
    """A network in whose place a frame's own work is measured: it answers at once, the same everywhere."""

    name, lanes, best_batch = "prompt", 1, 1

    def infer(self, luma: Tensor) -> tuple[Tensor, Tensor]:
        """See `Network`."""
        count, _, height, width = luma.shape
        ycc = np.full((count, 3, height, width), 0.05, np.float32)
        ycc[:, 0] = 0.4
        return ycc, np.ones((count, 1, height, width), np.float32)

    def close(self) -> None:
        """See `Network`."""


def frame_cost(options: NeuralOptions, size: tuple[int, int]) -> tuple[float, float, float]:
    """CPU time, ms a frame of (H, W), of all that a run does to it beside its network, on a camera that pans:
    what grows with the work size, at 320 pixels; of that the models; and what does not grow.

    By a colorizer at work, on average: its parts in a loop of their own, at their best, came to half of it.
    Models are carried where they are halved: else there are none that a frame could be spared, and both work
    sizes are measured so, since from one with carried models and one without nothing is told.
    """
    halved = options.temporal.half_color and halves(size, work_size(size, SEEN_PX), live=True)
    if not halved:
        options = replace(options, temporal=replace(options.temporal, half_color=False))
    seldom_ms, small_ms = _colored(options, size, (SEEN_PX, _SMALL_PX))
    grows_ms = (seldom_ms - small_ms) / (1 - (_SMALL_PX / SEEN_PX) ** 2)
    grows_ms = min(max(grows_ms, 0.1 * seldom_ms), 0.9 * seldom_ms)  # others may have disturbed one of them
    if not halved:
        return grows_ms, 0.0, seldom_ms - grows_ms
    frame_ms = grows_ms / (1 - MODELS_SHARE * (1 - 1 / _CYCLE))
    return frame_ms, MODELS_SHARE * frame_ms, seldom_ms - grows_ms


def _colored(options: NeuralOptions, size: tuple[int, int], works_px: tuple[int, ...]) -> list[float]:
    """CPU time, ms, of a frame of (H, W) at each work size, in turns, on average of whole cycles."""
    options = replace(
        options,
        engine=catalog.band_of(options.engine, options.size),
        size=MEASURED,
        weights=None,
        reference=None,
        celsius=None,
        steady=True,
        beside=True,
        ahead=False,
        temporal=replace(options.temporal, color_every=_CYCLE),
    )
    colorizers = [NeuralColorizer(replace(options, work_size_px=px), _Prompt()) for px in works_px]
    times: list[list[float]] = []
    until_s = time.perf_counter() + _LONGEST_S
    try:
        for number, luma in enumerate(_panning(size)):
            if number >= _FRAMES or (number >= 2 * _CYCLE and time.perf_counter() > until_s):
                break
            times.append([])
            for colorizer in colorizers:
                start_s = time.thread_time()
                colorizer.submit(luma, number * 33_333_333)
                colorizer.collect()
                times[-1].append(time.thread_time() - start_s)
    finally:
        for colorizer in colorizers:
            colorizer.close()
    counted = times[_CYCLE : len(times) // _CYCLE * _CYCLE]  # those before warm up
    return [1e3 * sum(each) / len(each) for each in zip(*counted, strict=True)]


def _panning(size: tuple[int, int]) -> Iterator[NDArray[np.uint8]]:
    """(H, W) each: texture that pans to and fro by two pixels a frame."""
    (height, width), random = size, np.random.default_rng(4)
    ways = 2 * np.abs(np.arange(-8, 8))
    coarse = random.integers(60, 170, (height // 16 + 2, (width + 16) // 16 + 2), np.uint8)
    wide = cv2.resize(coarse, (width + 16, height), interpolation=cv2.INTER_CUBIC)
    grain = random.integers(0, 16, (height, width + 16), np.uint8)
    wide = np.asarray(cv2.add(wide, cv2.blur(grain, (3, 3))), np.uint8)
    for left in itertools.cycle(ways):
        yield np.ascontiguousarray(wide[:, left : left + width])
