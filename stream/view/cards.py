"""What goes out when color does not: the "no signal" card and the banner that gives a reason."""

from __future__ import annotations

import re

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.stream.picture.lettering import SMALLEST_PX, Color, boxed, fitted, letter_height, lettered

Rgb = NDArray[np.uint8]

AMBER: Color = (255, 176, 32)
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S*: ")
_AN_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s,;)]*")
_HOST = re.compile(r"(?:^|(?<=: ))\S+ (?=refuses connections|does not answer|cannot be reached)")
_CLAUSE = re.compile(r": |; | \(|, is ")
_SOURCE = re.compile(r"^(?:/\S+|standard input|webrtc|no picture came): ")
"""A source's name, or a word ahead of the cause, which is what tells something."""


def for_viewers(reason: str) -> str:
    """Why there is no signal without the camera's address, which is no viewer's business."""
    text = _HOST.sub("the camera ", _ADDRESS.sub("", reason))
    text = re.sub(r"no host is called \S+", "the camera's name leads nowhere", text)
    return _AN_ADDRESS.sub("another address", re.sub(r" at port \d+", "", text))


def no_signal_card(
    size: tuple[int, int], last_rgb: Rgb | None, seconds: float, reason: str = "", name: str = ""
) -> Rgb:
    """The card for a source that is silent.

    Args:
        size: (H, W) of the card.
        last_rgb: the last picture of any size, shown dark and blurred behind; None for a plain card.
        seconds: since the last frame.
        reason: what is known of the cause; its first words are shown, without an address.
        name: the camera's, where there are several.

    Returns:
        (H, W, 3) uint8 R'G'B', the caller's own.
    """
    height, width = size
    card = _plain(size) if last_rgb is None else _dimmed(last_rgb, size)
    if min(size) < SMALLEST_PX:
        return card
    small_px = max(12, round(letter_height(size) * 1.05))
    large_px = round(small_px * 2.2)
    room = width - 4 * small_px
    cause = _SOURCE.sub("", for_viewers(reason))
    reason = _CLAUSE.split(cause, maxsplit=1)[0]  # what to do is for who reads the log
    heading = f"{name}: no signal" if name else "No signal"
    heading = heading if fitted(heading, large_px, room, 600) == heading else "No signal"
    title = lettered(heading, large_px, (255, 255, 255), weight=600)
    line = fitted(f"{elapsed(seconds)}  ·  {reason}", small_px, room, 450) if reason else ""
    if not line or (line.endswith("…") and len(line) < len(elapsed(seconds)) + 10):
        line = elapsed(seconds)  # no room for more than the first letters of a reason
    words = lettered(line, small_px, (205, 208, 212), weight=450)
    gap = small_px // 3
    top = (height - title.size[0] - words.size[0] - gap) // 2
    bar_w, bar_h = large_px, max(2, small_px // 6)
    bar_top = top - 2 * bar_h
    if bar_top > 0:
        left = (width - bar_w) // 2
        card[bar_top : bar_top + bar_h, left : left + bar_w] = AMBER
    title.lay_on(card, top, (width - title.size[1]) // 2)
    words.lay_on(card, top + title.size[0] + gap, (width - words.size[1]) // 2)
    return card


def error_banner(rgb: Rgb, reason: str) -> Rgb:
    """The picture with `raw: REASON` at its lower edge: color is missing though it should be there.

    Args:
        rgb: (H, W, 3) uint8, not written to.
        reason: one line, shortened where it does not fit.

    Returns:
        A copy; `rgb` itself where it is too small for letters.
    """
    height, width = rgb.shape[:2]
    if min(height, width) < SMALLEST_PX:
        return rgb
    letter_px = letter_height((height, width))
    margin = letter_px // 2
    text = fitted(f"raw: {reason}", letter_px, width - 6 * margin)
    out = rgb.copy()
    if text:
        banner = boxed((text,), letter_px, dim=0.65, accent=AMBER)
        banner.lay_on(out, height - banner.size[0] - margin, margin)
    return out


def elapsed(seconds: float) -> str:
    """`7 s`, `3:05 min`, `1:02:09 h`."""
    whole = max(int(seconds), 0)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02} min"
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02} h"


def _plain(size: tuple[int, int]) -> Rgb:
    shade = np.linspace(1.0, 0.45, size[0])[:, None, None] * np.array([30, 33, 38])
    return np.ascontiguousarray(np.broadcast_to(shade, (*size, 3))).astype(np.uint8)


def _dimmed(last_rgb: Rgb, size: tuple[int, int]) -> Rgb:
    """Blurred at a small size, half its color and a third of its light, cool in tone."""
    small = cv2.resize(last_rgb, (64, 48), interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), 1.6).astype(np.float32)
    small = 0.5 * small + 0.5 * small.mean(axis=2, keepdims=True)
    small = small * np.array([0.27, 0.29, 0.32], np.float32) + np.array([10, 11, 13], np.float32)
    return np.asarray(cv2.resize(small.astype(np.uint8), (size[1], size[0])), np.uint8)
