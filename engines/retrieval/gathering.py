"""A camera's own pictures by day, gathered into a library: by night they are its references.

One is taken now and then; of a few that lie together in time one picture is made, without what passed by.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.engines.reference.pictures import LONG_SIDE_PX, Reference, is_gray
from irchroma.engines.retrieval.index import Entry
from irchroma.engines.retrieval.library import ReferenceLibrary

log = logging.getLogger(__name__)
Rgb = NDArray[np.uint8]
Made = Callable[[Sequence[Rgb], str], Reference]
"""Pictures and a name to one picture of what stands still on them."""


SAMPLE_S, SAMPLES = 20.0, 9
"""From one picture to the next of those that one reference is made of, and how many these are."""
EVERY_S = 1800.0
"""From one reference to the next: light and season change."""
KEPT = 24
"""References of one camera at most; the oldest leaves."""


class DayPictures:
    """Gathers one camera's pictures. `sample` is called by one thread, `keep` by another."""

    def __init__(self, library: ReferenceLibrary, camera: str, make: Made) -> None:
        """Args:
        library: that they go into.
        camera: its name, which is part of theirs.
        make: makes one of several.
        """
        self.library = library
        self._name, self._make = f"{camera} by day", make
        self._samples: list[Rgb] = []
        self._sampled_ns: int | None = None
        self._begun_ns: int | None = None

    def sample(self, rgb: Rgb, pts_ns: int) -> list[Rgb] | None:
        """One frame in color; quick.

        Args:
            rgb: (H, W, 3) uint8 R'G'B'; not kept.
            pts_ns: its time.

        Returns:
            Those that a reference is to be made of, as soon as there are enough.
        """
        if self._begun_ns is not None and pts_ns < self._begun_ns:
            self._samples, self._sampled_ns, self._begun_ns = [], None, None  # another clock
        if not self._samples and not self._due(self._begun_ns, pts_ns, EVERY_S):
            return None
        if self._samples and not self._due(self._sampled_ns, pts_ns, SAMPLE_S):
            return None
        if is_gray(rgb[::4, ::4]):
            return None
        if not self._samples:
            self._begun_ns = pts_ns
        self._sampled_ns = pts_ns
        factor = min(1.0, LONG_SIDE_PX / max(rgb.shape[:2]))
        size = (max(1, round(rgb.shape[1] * factor)), max(1, round(rgb.shape[0] * factor)))
        self._samples.append(np.array(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8))
        if len(self._samples) < SAMPLES:
            return None
        complete, self._samples = self._samples, []
        return complete

    def keep(self, samples: Sequence[Rgb]) -> Entry | None:
        """Make one picture of the samples and add it to the library; None where a similar one is there.

        Raises:
            EngineOptionError: the folder cannot be written, or the picture has no color.
            OSError: it cannot be written.
        """
        reference = self._make(samples, self._name)
        with self.library.changing():
            entry = self.library.add(reference)
            mine = [one for one in self.library.entries if one.source.startswith(self._name)]
            oldest = sorted(mine, key=lambda one: one.added)[: max(0, len(mine) - KEPT)]
            self.library.remove(one.key for one in oldest)
        if entry is not None:
            log.info("references: %s is in %s now", entry.file, self.library.folder)
        return entry

    @staticmethod
    def _due(before_ns: int | None, now_ns: int, wait_s: float) -> bool:
        return before_ns is None or now_ns - before_ns >= wait_s * 1e9
