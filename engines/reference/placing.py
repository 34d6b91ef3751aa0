"""Where the cells of a reference lie in the infrared frame, followed from frame to frame at little cost.

For a network that looks at a reference cell by cell; it needs no pixel's precision.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from irchroma.engines.recolor.work_picture import unpadded
from irchroma.engines.reference import registration, structure

Plane = NDArray[np.float32]

LOOK_EVERY = 8
"""Calls between two looks at whether the view is still the same."""
LOST = 20.0
"""Evidence of the correlation with the frame that was registered, below which the view has changed."""
FIRST_RETRY, LONGEST_RETRY = 30, 480
"""Calls until another search where no alignment was found; doubles."""
EASE = 0.2
"""How much of the way from unknown to known, or back, is gone in a call; the first one goes it at once."""


def cells_in(matrix: registration.Matrix, size: tuple[int, int]) -> Plane:
    """(1, 2, M) float32: x and y of a reference's cells in the infrared's picture, [-1, 1] and beyond.

    Args:
        matrix: infrared -> reference, as `registration.register` gives it.
        size: rows and columns of cells.
    """
    rows, columns = size
    y, x = np.mgrid[0:rows, 0:columns]
    middles = np.stack([(x.ravel() + 0.5) / columns, (y.ravel() + 0.5) / rows])
    there = np.linalg.inv(matrix[:, :2]) @ (middles - matrix[:, 2:])
    return np.asarray(there * 2.0 - 1.0, np.float32)[None]


class Placing:
    """One reference over the frames of one camera. Used by one thread."""

    def __init__(self, luma: NDArray[np.uint8], size: tuple[int, int]) -> None:
        """Args:
        luma: (H, W) uint8 of the reference.
        size: rows and columns of its cells.
        """
        self._luma, self._size = luma, size
        self._there = cells_in(np.eye(2, 3), size)
        self._seen = np.ones((2, 1), np.float32)  # width and height without padding, of what there is
        self._found: registration.Alignment | None = None
        self._key: structure.Field | None = None
        self._known = 0.0
        self._calls = self._due = 0
        self._wait = FIRST_RETRY

    @property
    def known(self) -> float:
        """How far it was known in the last frame, [0, 1]."""
        return self._known

    def at(self, luma: NDArray[np.uint8]) -> tuple[Plane, float]:
        """Where the cells lie in this frame, see `cells_in`, and how far that is known, [0, 1].

        Args:
            luma: (h, w) uint8 infrared.
        """
        if self._calls == self._due:
            self._look(luma)
        goal = 1.0 if self._found is not None else 0.0
        step = 1.0 if self._calls == 0 else EASE
        self._known += min(step, max(-step, goal - self._known))
        self._calls += 1
        return self._there, self._known

    def _look(self, luma: NDArray[np.uint8]) -> None:
        padded, luma = luma.shape, np.ascontiguousarray(unpadded(luma))  # mirrored rows mislead the search
        self._seen = np.array([[luma.shape[1] / padded[1]], [luma.shape[0] / padded[0]]], np.float32)
        field = structure.structure_field(registration.resized(luma, registration.COARSE_PX))
        if self._found is not None and self._key is not None and self._key.shape == field.shape:
            peak = structure.correlate(self._key, field, reach=0.15)
            if peak.evidence >= LOST:
                shift = (peak.shift_px[0] / field.shape[1], peak.shift_px[1] / field.shape[0])
                matrix = self._found.matrix.copy()
                matrix[:, 2] -= matrix[:, :2] @ shift
                self._there = self._cells_at(matrix)
                self._due = self._calls + LOOK_EVERY
                return
        found = registration.register(luma, self._luma)
        if found.same_scene:
            self._found, self._key, self._wait = found, field, FIRST_RETRY
            self._there = self._cells_at(found.matrix)
            self._due = self._calls + LOOK_EVERY
            return
        self._found = None
        self._due = self._calls + self._wait
        self._wait = min(2 * self._wait, LONGEST_RETRY)

    def _cells_at(self, matrix: registration.Matrix) -> Plane:
        there = cells_in(matrix, self._size)
        return np.asarray((there + 1.0) * self._seen - 1.0, np.float32)
