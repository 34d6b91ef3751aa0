"""Finds what is burnt into a camera's picture, or sits on its window: text, clocks, logos, scratches.

Two signs, of which the first needs a view that changes. Where the camera or the scene moves, an edge that
stays in every frame, at pixels that hardly change while their neighborhood does, is not the scene's. And
letters are strokes of one width, white or black to the end of the range, at least some in a row; digits of a
clock that change are in such a row too. A still view without letters gives nothing, rather than its edges;
nor do the noise and the drift of 16-bit counts, of which a cool night is full.
"""

from __future__ import annotations

from collections import deque
from statistics import median_high
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.calibration.errors import CalibrationError
from irchroma.engines.recolor.color_space import rgb_to_luma

Mask = NDArray[np.bool_]
Plane = NDArray[np.float32]
Gray = NDArray[np.uint8]

FEWEST_FRAMES = 12
EDGE_LEVELS = 14.0
"""Gray levels across three pixels that an edge has."""
EDGE_STAYS = 0.7
"""Share of the frames in which a burnt-in one is there: the scene behind it may be as light as it."""
EDGED = 0.1
"""Share of a thing that stands still that such edges are, at least."""
LIVELY_LEVELS = 6.0
"""Standard deviation over time from which a neighborhood changes."""
PANNING = 0.5
"""Share of the picture that must change before its edges that stay are taken for no part of the scene: posts
that people pass stay too."""
STILL_SHARE = 0.35
"""Of that, which what is burnt in has at most: codecs let a little of the scene through."""
NEIGHBORHOOD_PX = 41
STROKE_PX = 13
"""Strokes of letters are narrower than this."""
STROKE_LEVELS = 60.0
"""Gray levels that they stand out by."""
ENDS = (24.0, 200.0)
"""Levels that black strokes are below and white ones above."""
STAYS, COMES = 0.9, 0.04
"""Share of the frames in which a stroke is there: of a name, and of a clock's digit."""
LETTERS = 4
"""In a row, at least."""
LETTER_PX = (6, 72)
"""Height of letters."""
COUNTS_AT = (80.0, 175.0)
"""Gray levels between which counts about the mean around them lie: a cool scene's drift is no change of its
view."""
COUNTS_FROM_TO = (10.0, 245.0)
"""Gray levels of counts' outermost hundredths, where the ends of their range are asked for."""
NOISES = 24.0
"""Deviations of the counts' noise that the range has at least."""
SPANS = 31
"""Frames whose ranges' median is the scale: the first may be a closed shutter or none at all."""
GROWN_PX = 3
"""Around what was found: antialiased rims, dark outlines, what the codec has spread."""


class BurnInFinder:
    """Looks at frame after frame; memory does not grow."""

    def __init__(self) -> None:
        self.frames = 0
        self._last: NDArray[np.uint8] | None = None
        self._spans: deque[float] = deque(maxlen=SPANS)
        empty = np.zeros((0, 0), np.float32)
        self._sum = self._squares = self._edge = empty
        self._strokes: list[Plane] = [empty, empty]

    @property
    def ready(self) -> bool:
        """Whether enough was seen for an answer."""
        return self.frames >= FEWEST_FRAMES

    def add(self, pixels: NDArray[np.uint8] | NDArray[np.uint16]) -> None:
        """Look at one frame, (H, W) uint8 or uint16 or (H, W, 3) R'G'B'; a repetition is left out.

        Raises:
            CalibrationError: its size differs from the others'.
        """
        luma, strokes = self._planes(pixels)
        if self._last is not None and self._last.shape != luma.shape:
            raise CalibrationError(f"the picture's size changed from {self._last.shape} to {luma.shape}")
        if self._last is not None and np.array_equal(self._last, luma):
            return
        values = luma.astype(np.float32)
        if self._last is None:
            self._sum, self._squares = np.zeros_like(values), np.zeros_like(values)
            self._edge = np.zeros_like(values)
            self._strokes = [np.zeros_like(values), np.zeros_like(values)]
        self._last = luma
        self._sum += values
        self._squares += values * values
        edge = cv2.morphologyEx(luma, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
        self._edge += edge >= EDGE_LEVELS
        kernel = np.ones((STROKE_PX, STROKE_PX), np.uint8)
        for sums, way, ends in (
            (self._strokes[0], cv2.MORPH_TOPHAT, strokes >= ENDS[1]),
            (self._strokes[1], cv2.MORPH_BLACKHAT, strokes <= ENDS[0]),
        ):
            out = cv2.morphologyEx(strokes, way, kernel)
            sums += (out >= STROKE_LEVELS) & ends
        self.frames += 1

    def mask(self) -> Mask:
        """(H, W) bool, true where something is burnt in.

        Raises:
            CalibrationError: too few different frames were seen.
        """
        if not self.ready:
            raise CalibrationError(
                f"only {self.frames} different frames, burnt-in text needs {FEWEST_FRAMES}: record longer"
            )
        found = self._standing() | self._lettering()
        size = 2 * GROWN_PX + 1
        grown = cv2.dilate(found.astype(np.uint8), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)))
        return np.asarray(grown > 0, bool)

    def lively(self) -> float:
        """Share of the picture in which the view changed."""
        return float((self._around() >= LIVELY_LEVELS).mean())

    def _planes(self, pixels: NDArray[np.uint8] | NDArray[np.uint16]) -> tuple[Gray, Gray]:
        """Two of (H, W) uint8, for what changes and for letters: a picture's luma is both.

        Counts drift by more than a cool scene has, and not everywhere by the same: what changes is looked for
        about the mean around it, on one scale. Letters are at the ends of the counts themselves.
        """
        if pixels.ndim == 3 or pixels.dtype == np.uint8:
            gray = np.asarray(pixels, np.uint8)
            luma = rgb_to_luma(gray) if gray.ndim == 3 else gray
            return luma, luma
        low, high = np.percentile(pixels[::4, ::4], (1, 99))
        values = pixels.astype(np.float32)
        span = max(float(high - low), NOISES * _noise(values), 1.0)
        self._spans.append(span)
        side = min(NEIGHBORHOOD_PX, *values.shape)
        about = cv2.blur(np.clip(values, low, high), (side, side))  # what is burnt in is far from all else
        return (
            _spread(values - about, median_high(self._spans), COUNTS_AT),
            _spread(values - (low + high) / 2, span, COUNTS_FROM_TO),
        )

    def _deviation(self) -> Plane:
        mean = self._sum / self.frames
        return np.asarray(np.sqrt(np.maximum(self._squares / self.frames - mean * mean, 0.0)), np.float32)

    def _around(self) -> Plane:
        side = min(NEIGHBORHOOD_PX, *self._sum.shape)
        return cast(Plane, cv2.blur(self._deviation(), (side, side)))

    def _standing(self) -> Mask:
        """Edges that stay while what is around them changes, and what they enclose."""
        around = self._around()
        still = self._deviation() < STILL_SHARE * around
        lively = around >= LIVELY_LEVELS
        if lively.mean() < PANNING:
            return np.zeros(still.shape, bool)
        edges = (self._edge / self.frames >= EDGE_STAYS) & still & lively
        closed = cv2.morphologyEx(edges.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
        inside = (still & lively) | (closed > 0)
        count, labels, stats, _ = cv2.connectedComponentsWithStats(inside.astype(np.uint8), connectivity=4)
        area = stats[:, cv2.CC_STAT_AREA]
        edged = np.bincount(labels.reshape(-1), edges.reshape(-1), count)
        burnt = (area >= 8) & (edged >= EDGED * area)
        burnt[0] = False
        return np.asarray(burnt[labels], bool)

    def _lettering(self) -> Mask:
        """Strokes of letters in a row, and what comes and goes in that row."""
        found = np.zeros(self._sum.shape, bool)
        for sums in self._strokes:
            share = sums / self.frames
            stays = (share >= STAYS).astype(np.uint8)
            comes = share >= COMES
            for top, left, bottom, right in _rows(stays):
                height = bottom - top
                more = np.s_[
                    max(0, top - height // 4) : bottom + height // 4,
                    max(0, left - 4 * height) : right + 4 * height,
                ]
                found[more] |= comes[more]
        return found


def _spread(about_zero: Plane, span: float, levels: tuple[float, float]) -> Gray:
    """(H, W) uint8: a span about zero between two gray levels, clipped."""
    gray = about_zero * ((levels[1] - levels[0]) / span) + sum(levels) / 2
    return np.asarray(np.clip(gray, 0, 255), np.uint8)


def _noise(values: Plane) -> float:
    """Standard deviation of what differs from pixel to pixel, counts."""
    fine = (values[1:, 1:] - values[1:, :-1] - values[:-1, 1:] + values[:-1, :-1]) / 2
    return float(1.4826 * np.median(np.abs(fine)))


def _rows(strokes: NDArray[np.uint8]) -> list[tuple[int, int, int, int]]:
    """(top, left, bottom, right) of each row of letters."""
    count, _, stats, _ = cv2.connectedComponentsWithStats(strokes, connectivity=8)
    heights, widths = stats[:, cv2.CC_STAT_HEIGHT], stats[:, cv2.CC_STAT_WIDTH]
    letter = (heights >= LETTER_PX[0]) & (heights <= LETTER_PX[1]) & (widths <= 2 * heights)
    letter[0] = False
    boxes = [stats[number, :4] for number in range(1, count) if letter[number]]
    boxes.sort(key=lambda box: int(box[0]))
    rows: list[list[NDArray[np.int32]]] = []
    for box in boxes:
        for row in rows:
            last = row[-1]
            high = max(int(box[3]), int(last[3]))
            level = abs((box[1] + box[3]) - (last[1] + last[3])) <= 0.3 * high  # on one line at its foot
            near = box[0] - (last[0] + last[2]) <= 2.0 * high
            alike = min(box[3], last[3]) >= 0.6 * high
            if level and near and alike:
                row.append(box)
                break
        else:
            rows.append([box])
    return [
        (
            int(min(box[1] for box in row)),
            int(min(box[0] for box in row)),
            int(max(box[1] + box[3] for box in row)),
            int(max(box[0] + box[2] for box in row)),
        )
        for row in rows
        if len(row) >= LETTERS
    ]
