"""A stopwatch for machines: a time drawn into a picture as squares, and read back from what became of it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_BITS, _CHECK = 20, 4
_COLUMNS = 13  # 26 squares in two rows: black, white, then the bits, the lowest first
_ACROSS = 40  # squares that a picture's width would hold; the code takes a third of it
_LEAST = 40.0  # levels between white and black, below which nothing is read
MODULUS_MS = 1 << _BITS
"""Times are told apart within 17 minutes."""
SMALLEST_PX = 160
"""Width of the pictures that it can be drawn into."""


def draw_stopwatch(luma: NDArray[np.uint8], time_ms: int) -> None:
    """Draw a time into a picture's upper left corner.

    Args:
        luma: (H, W) uint8, W at least `SMALLEST_PX`; changed in place.
        time_ms: milliseconds, of which the rest by `MODULUS_MS` is drawn.
    """
    side, squares = _squares(luma)
    value = time_ms % MODULUS_MS
    bits = [0, 1, *(value >> n & 1 for n in range(_BITS)), *(_check(value) >> n & 1 for n in range(_CHECK))]
    luma[: 4 * side, : (_COLUMNS + 2) * side] = 128
    for bit, (top, left) in zip(bits, squares, strict=True):
        luma[top : top + side, left : left + side] = 235 if bit else 20


def read_stopwatch(luma: NDArray[np.uint8]) -> int | None:
    """The time in a picture, [0, MODULUS_MS) milliseconds; None where there is none to be read.

    Args:
        luma: (H, W) uint8, of the size it was drawn in: colored, coded and decoded in between.
    """
    side, squares = _squares(luma)
    inner = max(1, side // 4)
    levels = [
        float(luma[top + inner : top + side - inner, left + inner : left + side - inner].mean())
        for top, left in squares
    ]
    black, white, *told = levels
    if white - black < _LEAST:
        return None
    bits = [level > (black + white) / 2 for level in told]
    value = sum(bit << n for n, bit in enumerate(bits[:_BITS]))
    check = sum(bit << n for n, bit in enumerate(bits[_BITS:]))
    return value if check == _check(value) else None


def _check(value: int) -> int:
    """The sum of its hexadecimal digits, and one: an even gray reads as nothing."""
    return (sum(value >> n & 15 for n in range(0, _BITS, 4)) + 1) & 15


def _squares(luma: NDArray[np.uint8]) -> tuple[int, list[tuple[int, int]]]:
    side = luma.shape[1] // _ACROSS
    return side, [(side + row * side, side + column * side) for row in range(2) for column in range(_COLUMNS)]
