"""Measures, while a run goes on, how much a network's color flickers where the input stands still."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from irchroma.engines.measures.flicker import LiveFlicker, steps_of
from irchroma.stream.picture.picture import Picture
from irchroma.stream.protocols import Colored, Composer, Job


class FlickerWatch:
    """A composer that looks at each colored frame before another composer draws on it.

    A palette's color is the luma's and is not looked at.
    """

    def __init__(self, composer: Composer) -> None:
        self._composer = composer
        self._live = LiveFlicker()
        self._size: tuple[int, int] | None = None

    def prepare(self) -> None:
        """Have OpenCV make its color tables now, a tenth of a second, not on the first colored frame."""
        LiveFlicker().add(np.zeros((16, 16, 3), np.uint8), np.zeros((16, 16), np.uint8))

    def compose(self, job: Job) -> Picture:
        """See `irchroma.stream.protocols.Composer.compose`."""
        if job.colored is not None and job.synthetic:
            if job.frame.gap or job.luma.shape != self._size:
                self._live, self._size = LiveFlicker(), (job.luma.shape[0], job.luma.shape[1])
            self._look(job.colored, job.luma)
        return self._composer.compose(job)

    def _look(self, colored: Colored, luma: NDArray[np.uint8]) -> None:
        rows, columns = steps_of(luma)
        part = Picture.of_colored(colored).sampled(rows, columns)
        self._live.add_sampled(part, luma[::rows, ::columns])

    def no_signal(self, silent_s: float, reason: str) -> Picture:
        """See `irchroma.stream.protocols.Composer.no_signal`."""
        return self._composer.no_signal(silent_s, reason)

    @property
    def value(self) -> float | None:
        """Mean |change of a* or b*| a frame of still pixels, over the last second or so; None if unknown."""
        return None if math.isnan(self._live.value) else round(self._live.value, 5)
