"""Where a picture must stay neutral: saturated spots, black, borders and burnt-in text have no color."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.engines.recolor.color_space import Scalar

Plane = NDArray[np.float32]

DARK = (3, 12)
"""Levels at which color starts and is full; below lies nothing but the sensor's offset."""
BLACK = (0, 3)
"""The same pixel by pixel at full size. Narrow: a codec moves blocks of a dark sky by a level or two every
few frames, so the wide fade belongs to the small color, where the temporal stage steadies it."""
WHITE = (252, 244)
"""Levels at which color ends and is still full; a clipped sensor says nothing of a surface."""
SHOWN_WHITE = (170, 210)
"""Luma shown at which clipped near infrared and strokes begin to lose their color, and where they have lost
all: what is shown darker is a surface, such as a leaf in the sun, in whose color gray spots would be seen."""
ANY_SHOWN = (-1, 0)
"""The same where what is clipped has no color however it is shown: in thermal it is what is hot."""
STROKE_LEVEL = 232
"""Luma of a burnt-in character's stroke, at least: white of limited range, read as full, is 235. From 200 on
sunlit leaves, stones and blades of grass counted too, and came out as bluish gray specks: they were more than
a thousandth of 27 of 55 pictures, and are of 15."""
STROKE_RISE = 96
"""Levels by which a stroke stands above the darkest of its surroundings' brightest."""
BORDER_LEVEL = 24
BORDER_SPREAD = 4
EDGE_STEP = 8
EDGE_LINES = 3
"""Levels by which the picture stands above its border within so many lines; codecs soften the edge."""
"""A border's rows and columns are this dark and this flat; limited-range black read as full range is 16."""


def level_fade() -> NDArray[np.float32]:
    """(256,) float32 factor on chroma by luma: 0 at black and white, 1 in between."""
    level = np.arange(256, dtype=np.float32)
    up = np.clip((level - BLACK[0]) / (BLACK[1] - BLACK[0]), 0.0, 1.0)
    down = np.clip((WHITE[0] - level) / (WHITE[0] - WHITE[1]), 0.0, 1.0)
    return np.minimum(up, down)


def dark_fade() -> NDArray[np.float32]:
    """(256,) float32 factor on the network's chroma by luma at work size: 0 at black, 1 from `DARK` on."""
    level = np.arange(256, dtype=np.float32)
    return np.asarray(np.clip((level - DARK[0]) / (DARK[1] - DARK[0]), 0.0, 1.0), np.float32)


def borders(luma: NDArray[np.uint8]) -> tuple[int, int, int, int]:
    """Rows and columns of black around the picture: (top, bottom, left, right) counts, all 0 for none.

    A border ends in a straight edge along most of its length; a cold sky that fades into the horizon does
    not. A picture that is black altogether has no borders.
    """
    if not any(_outermost_black(line) for line in (luma[0], luma[-1], luma[:, 0], luma[:, -1])):
        return 0, 0, 0, 0
    rows = _black(luma.min(axis=1), luma.max(axis=1))
    columns = _black(luma.min(axis=0), luma.max(axis=0))
    if rows.all() or columns.all():
        return 0, 0, 0, 0
    return (
        _edged(_run(rows), luma),
        _edged(_run(rows[::-1]), luma[::-1]),
        _edged(_run(columns), luma.T),
        _edged(_run(columns[::-1]), luma.T[::-1]),
    )


def strokes(luma: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H, W) uint8, 255 on thin near-white strokes such as burnt-in time and name, grown by a pixel or two.

    A stroke is what an opening wider than a character's line takes away: thin, near white, and far above
    what is beside it.
    """
    bright = cv2.inRange(luma, STROKE_LEVEL, 255)
    if not cv2.countNonZero(bright):
        return np.asarray(bright, np.uint8)
    side = max(5, round(max(luma.shape) / 96) | 1)
    kernel = cv2.getStructuringElement(cv2.MORPH_RECT, (side, side))
    risen = cv2.subtract(luma, cv2.morphologyEx(luma, cv2.MORPH_OPEN, kernel))
    stroke = cv2.bitwise_and(bright, cv2.inRange(risen, STROKE_RISE, 255))
    return np.asarray(cv2.dilate(stroke, np.ones((3, 3), np.uint8)), np.uint8)


def keep(
    luma: NDArray[np.uint8],
    shown: NDArray[np.uint8],
    fade: Plane,
    chroma: list[NDArray[Scalar]],
    white_shown: tuple[int, int] = ANY_SHOWN,
) -> bool:
    """Fade chroma in place at the extremes of luma, on strokes of text and on black borders.

    White is what the luma shown calls white, or the sensor's where bright is shown, as a stroke is; black
    is what is shown black: a thermal sky at the sensor's lowest level is blue once its tone is that of day.

    Args:
        luma: (H, W) uint8 of the sensor.
        shown: (H, W) uint8 that goes out. Near white the gamut is so narrow that a level of luma would
            decide over ten levels of blue: fading is the steady choice.
        fade: (256,) float32 factor by luma.
        chroma: (H, W) planes: uint8, 128 neutral, or float32 around 0.
        white_shown: see `SHOWN_WHITE`.

    Returns:
        Whether there are black borders.
    """
    full = np.flatnonzero(fade == 1)
    low, high = int(full[0]), int(full[-1])
    plain = cv2.inRange(shown, low, high)
    if shown is not luma:
        plain = cv2.bitwise_and(plain, cv2.inRange(luma, 0, high), dst=plain)
    stroke = strokes(luma)
    some = cv2.bitwise_or(cv2.bitwise_not(plain, dst=plain), stroke, dst=plain)
    if cv2.countNonZero(some):
        places = np.flatnonzero(some != 0)  # of bytes numpy takes ten times as long as of truth values
        _fade_at(places, (luma, stroke), shown.ravel()[places], fade, chroma, white_shown)
    top, bottom, left, right = borders(luma)
    height, width = luma.shape
    for plane in chroma if any((top, bottom, left, right)) else ():
        gray = 128 if plane.dtype == np.uint8 else 0
        plane[:top], plane[height - bottom :] = gray, gray
        plane[:, :left], plane[:, width - right :] = gray, gray
    return any((top, bottom, left, right))


def keep_white(
    luma: NDArray[np.uint8],
    y: NDArray[np.uint8],
    fade: Plane,
    chroma: list[NDArray[np.uint8]],
    white_shown: tuple[int, int] = ANY_SHOWN,
) -> None:
    """What `keep` does to white and to strokes, for a video's chroma that was made at less than its size.

    Args:
        luma: (h, w) uint8 of the sensor, half the size.
        y: (H, W) uint8 that goes out, limited range.
        fade, white_shown: as of `keep`.
        chroma: (h, w) uint8, 128 neutral; in place.
    """
    stroke = strokes(luma)
    white = cv2.inRange(luma, int(np.flatnonzero(fade == 1)[-1]) + 1, 255)
    some = cv2.bitwise_or(white, stroke, dst=white)
    if cv2.countNonZero(some):
        places = np.flatnonzero(some != 0)
        levels = (y[::2, ::2][np.unravel_index(places, luma.shape)] - np.float32(16)) * np.float32(255 / 219)
        levels = np.clip(np.rint(levels), 0, 255).astype(np.uint8)
        _fade_at(places, (luma, stroke), levels, fade, chroma, white_shown)


def _fade_at(
    places: NDArray[np.intp],
    seen: tuple[NDArray[np.uint8], NDArray[np.uint8]],
    levels: NDArray[np.uint8],
    fade: Plane,
    chroma: list[NDArray[Scalar]],
    white_shown: tuple[int, int],
) -> None:
    """Fade chroma in place at flat `places`: luma and strokes are `seen`, and `levels` (n,) are shown."""
    luma, stroke = seen
    white = np.where(np.arange(256) < 128, np.float32(1), fade)
    bright = np.interp(levels, white_shown, (0, 1)).astype(np.float32)
    factor = np.minimum(1 - (1 - white[luma.ravel()[places]]) * bright, fade[levels])
    np.minimum(factor, 1 - bright, out=factor, where=stroke.ravel()[places] != 0)
    for plane in chroma:
        flat = plane.ravel()
        if plane.dtype == np.uint8:
            flat[places] = np.rint((flat[places] - np.float32(128)) * factor + np.float32(128))
        else:
            flat[places] *= factor


def keep_borders(luma: NDArray[np.uint8], shown: NDArray[np.uint8], scale: float, offset: float) -> None:
    """Black borders are shown as they came, scaled to the range of `shown`, whatever tone the network would
    give them."""
    top, bottom, left, right = borders(luma)
    height, width = luma.shape
    for part in (np.s_[:top], np.s_[height - bottom :], np.s_[:, :left], np.s_[:, width - right :]):
        shown[part] = np.rint(luma[part] * scale + offset)


def _outermost_black(line: NDArray[np.uint8]) -> bool:
    if line[line.size // 2] > BORDER_LEVEL:  # nearly always, for a tenth of the time
        return False
    return bool(_black(line.min(keepdims=True), line.max(keepdims=True))[0])


def _black(low: NDArray[np.uint8], high: NDArray[np.uint8]) -> NDArray[np.bool_]:
    dark: NDArray[np.bool_] = (high <= BORDER_LEVEL) & (high.astype(int) - low <= BORDER_SPREAD)
    return dark


def _edged(count: int, luma: NDArray[np.uint8]) -> int:
    """That many first lines if they end in an edge, 0 otherwise."""
    if not count:
        return 0
    beyond = luma[count : count + EDGE_LINES].max(axis=0).astype(int)
    step = beyond - luma[count - 1] > EDGE_STEP
    return count if step.mean() > 0.5 else 0


def _run(lines: NDArray[np.bool_]) -> int:
    """How many of the first lines are true without a gap."""
    return int(np.argmin(lines)) if not lines.all() else len(lines)


def keep_dark(fade: NDArray[np.float32] | None, ycc: NDArray[np.float32], small: NDArray[np.uint8]) -> None:
    """A network's color (h, w, 3) float32 fades in place where its picture (h, w) uint8 is dark, by
    `dark_fade`, or nowhere.

    No method: what a colorizer's parts call must not keep the colorizer, which goes when it is closed.
    """
    if fade is not None:
        dark = cv2.LUT(small, fade)
        cv2.multiply(ycc, cv2.merge([np.ones_like(dark), dark, dark]), dst=ycc)
