"""Letters on pictures: text drawn once into a sprite, laid on frames for little, readable on anything."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Rgb = NDArray[np.uint8]
Color = tuple[int, int, int]

WHITE: Color = (255, 255, 255)
SMALLEST_PX = 96
"""Pictures with a shorter side get no letters."""
_SCALABLE = hasattr(cv2, "FontFace")  # OpenCV 5 carries outline fonts, OpenCV 4 Hershey's strokes
_HERSHEY = cv2.FONT_HERSHEY_DUPLEX
_lock = threading.Lock()  # a FontFace keeps its size and weight in itself


@dataclass(frozen=True, slots=True)
class Sprite:
    """A small translucent picture.

    Attributes:
        light: (h, w, 3) uint8, its own light, already weighted by its coverage.
        keep: (h, w, 3) uint8, 255 where the picture below shows fully.
    """

    light: Rgb
    keep: Rgb

    @property
    def size(self) -> tuple[int, int]:
        """(h, w) in pixels."""
        return int(self.light.shape[0]), int(self.light.shape[1])

    def lay_on(self, rgb: Rgb, top: int, left: int) -> None:
        """Draw onto (H, W, 3) in place; parts outside are cut off."""
        y0, x0 = max(top, 0), max(left, 0)
        y1, x1 = min(top + self.size[0], rgb.shape[0]), min(left + self.size[1], rgb.shape[1])
        if y0 >= y1 or x0 >= x1:
            return
        part = np.s_[y0 - top : y1 - top, x0 - left : x1 - left]
        box = rgb[y0:y1, x0:x1]
        rgb[y0:y1, x0:x1] = cv2.add(cv2.multiply(box, self.keep[part], scale=1 / 255), self.light[part])


def letter_height(size: tuple[int, int]) -> int:
    """A letter size in pixels that suits a picture of `size` (H, W)."""
    return int(np.clip(round(min(size[0], size[1] * 0.75) / 34), 11, 120))


@lru_cache(maxsize=1)
def _font() -> Any:
    return cv2.FontFace("sans")


def prepare() -> None:
    """Load the font, 20 ms, for the thread that calls: OpenCV 5 keeps one for each."""
    if _SCALABLE:
        with _lock:
            cv2.getTextSize((0, 0), "0", (0, 0), _font(), 16, 500)


@lru_cache(maxsize=64)
def text_mask(text: str, letter_px: int, weight: int = 500) -> NDArray[np.uint8]:
    """(1.4 letter_px high, w) uint8 coverage of one line of text, baseline at 1.05 letter_px; not to
    be written to.

    Args:
        text: one line; a character that the font does not have becomes a question mark.
        letter_px: nominal size in pixels.
        weight: 400 regular to 700 bold.
    """
    height, baseline = round(letter_px * 1.4), round(letter_px * 1.05)
    with _lock:
        if _SCALABLE:
            rect = cv2.getTextSize((0, 0), text, (0, 0), _font(), letter_px, weight)
            mask = np.zeros((height, max(1, rect[0] + rect[2] + 2)), np.uint8)
            cv2.putText(mask, text, (1, baseline), (255,), _font(), letter_px, weight)
        else:
            plain = text.replace("°", "").replace("·", "-").replace("…", "...")
            plain = plain.encode("ascii", "replace").decode()
            stroke = max(1, round(letter_px * weight / 8000))
            scale = cv2.getFontScaleFromHeight(_HERSHEY, round(letter_px * 0.72), stroke)
            (width, _), _ = cv2.getTextSize(plain, _HERSHEY, scale, stroke)
            mask = np.zeros((height, max(1, width + 2)), np.uint8)
            cv2.putText(mask, plain, (1, baseline), _HERSHEY, scale, 255, stroke, cv2.LINE_AA)
    mask.setflags(write=False)
    return mask


def fitted(text: str, letter_px: int, width: int, weight: int = 500) -> str:
    """The text, shortened by an ellipsis until it is at most `width` pixels wide; "" if nothing fits."""
    if text_mask(text, letter_px, weight).shape[1] <= width:
        return text
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if text_mask(text[:middle].rstrip() + "…", letter_px, weight).shape[1] <= width:
            low = middle
        else:
            high = middle - 1
    return text[:low].rstrip() + "…" if low else ""


@lru_cache(maxsize=8)  # a 4K panel holds 2 MB
def boxed(
    lines: tuple[str, ...], letter_px: int, *, dim: float = 0.55, accent: Color | None = None
) -> Sprite:
    """Lines of white text on a dark translucent box with round corners.

    Args:
        lines: from top to bottom.
        letter_px: letter size in pixels.
        dim: how dark the box is, [0, 1].
        accent: R'G'B' of a bar at the box's left side.
    """
    masks = [text_mask(line, letter_px) for line in lines]
    pad, bar = round(letter_px * 0.55), round(letter_px * 0.3) if accent else 0
    line_px = masks[0].shape[0]
    height = line_px * len(lines) + pad
    width = max(mask.shape[1] for mask in masks) + 2 * pad + bar
    letters = np.zeros((height, width), np.uint8)
    for number, mask in enumerate(masks):
        top = pad // 2 + number * line_px
        letters[top : top + line_px, pad + bar : pad + bar + mask.shape[1]] = mask
    shape = _round_corners(height, width, letter_px // 2)
    light = np.zeros((height, width, 3), np.float32)
    cover = shape * np.float32(dim)
    if accent:
        light[:, :bar] = np.array(accent, np.float32) * shape[:, :bar, None]
        cover[:, :bar] = shape[:, :bar]
    return _sprite(light, cover, letters, WHITE, 0.95)


@lru_cache(maxsize=8)
def outlined(text: str, letter_px: int, *, opacity: float = 0.9) -> Sprite:
    """White text with a soft dark rim, without a box."""
    margin = max(2, letter_px // 4)
    mask = text_mask(text, letter_px, 500)
    letters = cv2.copyMakeBorder(mask, margin, margin, margin, margin, cv2.BORDER_CONSTANT)
    reach = max(3, letter_px // 7 * 2 + 1)
    rim = cv2.dilate(letters, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach)))
    rim = cv2.GaussianBlur(rim, (0, 0), reach / 3).astype(np.float32) * np.float32(0.75 * opacity / 255)
    return _sprite(np.zeros((*letters.shape, 3), np.float32), rim, letters, WHITE, opacity)


def lettered(text: str, letter_px: int, color: Color, *, weight: int = 500) -> Sprite:
    """Plain text in one color, for backgrounds that are known to be dark or light."""
    letters = text_mask(text, letter_px, weight)
    empty = np.zeros(letters.shape, np.float32)
    return _sprite(np.zeros((*letters.shape, 3), np.float32), empty, letters, color, 1.0)


def _sprite(
    light: NDArray[np.float32],
    cover: NDArray[np.float32],
    letters: NDArray[np.uint8],
    color: Color,
    opacity: float,
) -> Sprite:
    ink = letters[..., None].astype(np.float32) * np.float32(opacity / 255)
    light = light * (1 - ink) + np.array(color, np.float32) * ink
    keep = (1 - cover[..., None]) * (1 - ink) * 255
    return Sprite(
        np.rint(light).astype(np.uint8),
        np.ascontiguousarray(np.rint(np.broadcast_to(keep, light.shape)).astype(np.uint8)),
    )


def _round_corners(height: int, width: int, radius: int) -> NDArray[np.float32]:
    """(height, width) float32 coverage of a filled box with round corners, smooth at the edge."""
    y = np.abs(np.arange(height) - (height - 1) / 2) - ((height - 1) / 2 - radius)
    x = np.abs(np.arange(width) - (width - 1) / 2) - ((width - 1) / 2 - radius)
    away = np.hypot(np.maximum(y, 0)[:, None], np.maximum(x, 0)[None])
    return np.asarray(np.clip(radius + 0.5 - away, 0, 1), np.float32)
