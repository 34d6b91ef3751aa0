"""The viewer's picture, composed from the raw luma, the color and its confidence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.stream.errors import StreamOptionError
from irchroma.stream.picture.lettering import SMALLEST_PX, boxed, letter_height

View = Literal["color", "raw", "side", "wipe", "blend", "confidence"]
VIEWS: tuple[View, ...] = get_args(View)

Luma = NDArray[np.uint8]
Rgb = NDArray[np.uint8]

_UNSURE, _SURE = (240, 96, 20), (0, 190, 170)  # vermilion and teal: told apart by color-blind eyes


@dataclass(frozen=True, slots=True)
class ViewOptions:
    """What the viewer sees.

    Attributes:
        view: "color", "raw", "side" (raw beside color, twice as wide), "wipe" (raw left of a line,
            color right of it), "blend", or "confidence" (luma tinted by how sure the color is).
        wipe: where the line stands, 0 (all color) to 1 (all raw).
        blend: share of color in the blend, 0 to 1.
    """

    view: View = "color"
    wipe: float = 0.5
    blend: float = 0.5

    def __post_init__(self) -> None:
        if self.view not in VIEWS:
            raise StreamOptionError(f"view {self.view!r} is not known: choose one of {', '.join(VIEWS)}")
        if not (0 <= self.wipe <= 1 and 0 <= self.blend <= 1):
            raise StreamOptionError(
                f"wipe position and blend must be from 0 to 1, got {self.wipe} and {self.blend}"
            )


def color_columns(options: ViewOptions, width: int) -> tuple[int, int]:
    """[first, last) columns that show color in a view of a frame `width` wide; empty for "raw"."""
    if options.view == "side":
        return width, 2 * width
    return {"raw": width, "wipe": _line_at(options, width)}.get(options.view, 0), width


def compose(
    luma: Luma, rgb: Rgb, options: ViewOptions | None = None, confidence: NDArray[np.uint8] | None = None
) -> Rgb:
    """The picture to show.

    Args:
        luma: (H, W) uint8 tone-mapped luma.
        rgb: (H, W, 3) uint8 color of the same frame.
        options: which view.
        confidence: (h, w) uint8 of any size, 255 = sure; None where the engine has none, which the
            confidence view says on the color picture.

    Returns:
        (H, W, 3) uint8, or (H, 2W, 3) for "side". `rgb` itself for "color", otherwise the caller's own.

    Raises:
        StreamOptionError: luma and color differ in size.
    """
    options = options or ViewOptions()
    if rgb.shape != (*luma.shape, 3):
        raise StreamOptionError(f"expected luma and color of one size, got {luma.shape} and {rgb.shape}")
    if options.view == "color":
        return rgb
    if options.view == "confidence":
        return _confidence_view(luma, rgb, confidence)
    gray = cv2.cvtColor(luma, cv2.COLOR_GRAY2RGB)
    if options.view == "side":
        return _with_line(cv2.hconcat([gray, rgb]), luma.shape[1])
    if options.view == "wipe":
        line = _line_at(options, luma.shape[1])
        gray[:, line:] = rgb[:, line:]
        return _with_line(gray, line)
    if options.view == "blend":
        return np.asarray(cv2.addWeighted(rgb, options.blend, gray, 1 - options.blend, 0), np.uint8)
    return np.asarray(gray, np.uint8)


def _line_at(options: ViewOptions, width: int) -> int:
    return round(options.wipe * width)


def _with_line(rgb: Rgb, at: int) -> Rgb:
    """A thin white line between dark hairs, centered left of column `at`; none at the picture's sides."""
    height, width = rgb.shape[:2]
    if not 0 < at < width or width < 64:
        return rgb
    half = max(1, height // 540)
    left, right = max(at - half, 0), min(at + half, width)
    dark = np.s_[:, max(left - half, 0) : min(right + half, width)]
    rgb[dark] = cv2.convertScaleAbs(np.ascontiguousarray(rgb[dark]), alpha=0.45)
    rgb[:, left:right] = (235, 235, 235)
    return rgb


def _confidence_table() -> Rgb:
    """(256, 1, 3) from unsure over a neutral gray to sure."""
    stops = np.array([_UNSURE, (200, 200, 190), _SURE], float)
    at = np.arange(256) / 127.5
    low = np.minimum(at.astype(int), 1)
    part = (at - low)[:, None]
    colors = stops[low] * (1 - part) + stops[low + 1] * part
    return np.asarray(np.rint(colors)[:, None], np.uint8)


_CONFIDENCE_TABLE = _confidence_table()


def _confidence_view(luma: Luma, rgb: Rgb, confidence: NDArray[np.uint8] | None) -> Rgb:
    height, width = luma.shape
    letter_px = letter_height((height, width))
    margin = letter_px // 2
    room = min(height, width) >= SMALLEST_PX
    if confidence is None:
        picture = rgb.copy()
        note = boxed(("this engine gives no confidence",), letter_px)
        if room and note.size[1] + 2 * margin <= width:
            note.lay_on(picture, height - note.size[0] - margin, margin)
        return picture
    full = cv2.resize(confidence, (width, height), interpolation=cv2.INTER_LINEAR)
    tint = cv2.applyColorMap(full, _CONFIDENCE_TABLE)
    shade = cv2.LUT(luma, np.rint(45 + 210 * np.arange(256) / 255).astype(np.uint8))
    picture = np.asarray(cv2.multiply(tint, cv2.merge([shade] * 3), scale=1 / 255), np.uint8)
    if room:
        _lay_legend(picture, letter_px, margin)
    return picture


def _lay_legend(picture: Rgb, letter_px: int, margin: int) -> None:
    """`guessed [bar] sure` in the lower left corner."""
    bar_px = 6 * letter_px
    left, right = boxed(("guessed",), letter_px), boxed(("sure",), letter_px)
    if 2 * margin + left.size[1] + bar_px + right.size[1] > picture.shape[1]:
        return
    top = picture.shape[0] - left.size[0] - margin
    bar = cv2.resize(_CONFIDENCE_TABLE.reshape(1, 256, 3), (bar_px, left.size[0] // 2))
    left.lay_on(picture, top, margin)
    x = margin + left.size[1] + margin // 2
    y = top + left.size[0] // 4
    picture[y : y + bar.shape[0], x : x + bar_px] = bar
    right.lay_on(picture, top, x + bar_px + margin // 2)
