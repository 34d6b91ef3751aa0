"""The on-screen display: readings in a corner, the spot value, and the mark of synthetic color."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.stream.errors import StreamOptionError
from irchroma.stream.picture.lettering import SMALLEST_PX, Sprite, boxed, fitted, letter_height, outlined
from irchroma.stream.picture.picture import Picture
from irchroma.stream.view.views import ViewOptions, color_columns

log = logging.getLogger(__name__)
Rgb = NDArray[np.uint8]

READINGS = ("rate", "latency", "engine", "time", "spot", "camera", "scale")
MARK = "synthetic color"
_SMALLEST_LETTER_PX = 9
_MOST_OF_PICTURE = 0.2
"""So much of a picture the readings cover at most, and of each half of "side": of a small one, the least
important are left out."""
REFRESH_S = 0.25
"""Readings change at most so often, as nobody reads 30 numbers a second."""


@dataclass(frozen=True, slots=True)
class OsdOptions:
    """What is drawn.

    Attributes:
        show: readings, any of `READINGS`; empty for none.
        mark: say "synthetic color" on a network's color.
    """

    show: tuple[str, ...] = ()
    mark: bool = True

    def __post_init__(self) -> None:
        unknown = [word for word in self.show if word not in READINGS]
        if unknown:
            raise StreamOptionError(
                f"on-screen display has no {unknown[0]!r}: choose from {', '.join(READINGS)}"
            )


@dataclass(frozen=True, slots=True)
class Spot:
    """A value at a place.

    Attributes:
        at: (y, x) from 0 to 1 within the frame.
        text: the value with its unit, ready to show.
    """

    at: tuple[float, float]
    text: str


@dataclass(frozen=True, slots=True)
class ColorScale:
    """Which color stands for which value.

    Attributes:
        colors: R'G'B', from dark to bright.
        low, high: the values of the first and the last, ready to show.
    """

    colors: tuple[tuple[int, int, int], ...]
    low: str
    high: str


@dataclass(frozen=True, slots=True)
class Readings:
    """What there is to show; None where it is not known.

    Attributes:
        rate_hz: frames a second.
        latency_ms: from capture to this picture.
        engine: the engine's name.
        time: clock time, as text.
        spot: the spot value.
        camera: what the camera says of itself: temperature of the sensor, shutter.
        synthetic: the color is a network's guess.
        scale: which color stands for which value, of a palette.
    """

    rate_hz: float | None = None
    latency_ms: float | None = None
    engine: str | None = None
    time: str | None = None
    spot: Spot | None = None
    camera: str | None = None
    synthetic: bool = False
    scale: ColorScale | None = None


def read_spot(
    pixels: NDArray[np.uint8] | NDArray[np.uint16],
    at: tuple[float, float] = (0.5, 0.5),
    *,
    gain: float | None = None,
    offset: float = 0.0,
    celsius_of: Callable[[float], float] | None = None,
) -> Spot:
    """The median of 3x3 pixels at a place.

    Args:
        pixels: (H, W) uint16 counts or uint8 luma, or (H, W, 3) R'G'B'.
        at: (y, x) from 0 to 1.
        gain: degrees Celsius for each count (celsius = counts * gain + offset); None for counts.
        offset: degrees Celsius at 0 counts.
        celsius_of: a thermometer's word on so many counts, in place of these.
    """
    y, x = (min(max(int(part * side), 0), side - 1) for part, side in zip(at, pixels.shape, strict=False))
    patch = pixels[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2]
    if pixels.ndim == 3:
        return Spot(at, "rgb " + " ".join(f"{value:.0f}" for value in np.median(patch, axis=(0, 1))))
    value = float(np.median(patch))
    if pixels.dtype == np.uint8:
        return Spot(at, f"luma {value:.0f}")
    if celsius_of is not None:
        return Spot(at, f"{celsius_of(value):.1f} °C")
    if gain is None:
        return Spot(at, f"{value:.0f} counts")
    return Spot(at, f"{value * gain + offset:.1f} °C")


@dataclass(slots=True)
class Osd:
    """Draws readings on pictures, from one thread."""

    options: OsdOptions = field(default_factory=OsdOptions)
    _shown: Readings | None = None
    _shown_ns: int = 0
    _told: bool = False

    def draw(self, rgb: Rgb, readings: Readings, pts_ns: int, view: ViewOptions | None = None) -> Rgb:
        """The picture with its readings.

        Args:
            rgb: (H, W, 3) uint8 as composed for `view`, not written to.
            readings: the latest; those shown follow every `REFRESH_S` of pts.
            pts_ns: the frame's time.
            view: says where the color is: the mark belongs to it, and so does the spot of "side".

        Returns:
            `rgb` itself where there is nothing to draw, otherwise a copy.
        """
        if min(rgb.shape[:2]) < SMALLEST_PX:
            return rgb
        since_s = (pts_ns - self._shown_ns) * 1e-9
        if self._shown is None or not 0 <= since_s < REFRESH_S:
            self._shown, self._shown_ns = readings, pts_ns
        drawings = self._drawings(self._shown, readings.synthetic, rgb, view or ViewOptions())
        if not drawings:
            return rgb
        out = rgb.copy()
        for draw in drawings:
            draw(out)
        return out

    def mark(self, picture: Picture, synthetic: bool) -> Picture:
        """The picture with the mark of a network's color, where it belongs, and nothing else on it."""
        size = picture.size
        if not (synthetic and self.options.mark) or min(size) < SMALLEST_PX:
            return picture
        return picture.with_sprite(*_mark_at(size[0], size[1]))

    def _drawings(
        self, shown: Readings, synthetic: bool, rgb: Rgb, view: ViewOptions
    ) -> list[Callable[[Rgb], None]]:
        height, width = rgb.shape[:2]
        frame_width = width // 2 if view.view == "side" else width
        letter_px = _letter_px(height, width)
        margin = letter_px // 2
        first, last = color_columns(view, frame_width)
        room = _MOST_OF_PICTURE * height * frame_width
        spot = _spot_sprites(shown.spot, letter_px) if "spot" in self.options.show else ()
        on_color = sum(int(np.count_nonzero(sprite.keep[..., 0] < 255)) for sprite in spot)
        scale = None
        if shown.scale is not None and "scale" in self.options.show and not synthetic:
            scale = _Scale.placed(shown.scale, (first, last), height, letter_px)
        left_out = []
        if scale is not None and on_color + scale.area > room:
            scale, left_out = None, ["scale"]
        on_color += scale.area if scale is not None else 0
        drawings: list[Callable[[Rgb], None]] = []
        size, beside = (height, frame_width), view.view == "side"
        lines = self._fitting(
            self._lines(shown), letter_px, size, room if beside else room - on_color, left_out
        )
        taken = (0, 0)  # the lower right corner of the panel
        if lines:
            panel = boxed(lines, letter_px)
            if panel.size[0] + 2 * margin <= height:
                taken = (panel.size[0] + margin, panel.size[1] + margin)
                drawings.append(lambda out: panel.lay_on(out, margin, margin))
        if shown.spot is not None and spot:
            left = width - frame_width
            at = round(shown.spot.at[0] * (height - 1)), left + round(shown.spot.at[1] * (frame_width - 1))
            drawings.append(lambda out: _draw_spot(out, at, spot, letter_px, taken))
        if synthetic and self.options.mark and first < last:
            mark, y, x = _mark_at(height, last, letter_px)
            drawings.append(lambda out: mark.lay_on(out, y, x))
        if scale is not None:
            drawings.append(scale.lay_on)
        return drawings

    def _lines(self, shown: Readings) -> dict[str, str]:
        """What is to be read, from top to bottom, each by the reading that it is of."""
        show = self.options.show
        speed = []
        if "rate" in show and shown.rate_hz is not None:
            speed.append(f"{shown.rate_hz:.1f} fps")
        if "latency" in show and shown.latency_ms is not None:
            speed.append(f"{shown.latency_ms:.0f} ms")
        lines = {"rate": "  ·  ".join(speed)}
        for name, text in (("engine", shown.engine), ("time", shown.time), ("camera", shown.camera)):
            if name in show and text:
                lines[name] = text
        return {name: text for name, text in lines.items() if text}

    def _fitting(
        self, lines: dict[str, str], letter_px: int, size: tuple[int, int], room: float, left_out: list[str]
    ) -> tuple[str, ...]:
        """The lines that `room` pixels of a frame of `size` (H, W) hold, the most important ones of all.

        What had no room is told once, `left_out` with it.
        """
        width = size[1] - 4 * (letter_px // 2)
        for name in ("", "camera", "engine", "rate", "time"):
            if lines.pop(name, None) is not None:
                left_out.append(name)
            texts = tuple(
                text for text in (fitted(line, letter_px, width) for line in lines.values()) if text
            )
            if not texts or _area(boxed(texts, letter_px)) <= room:
                break
        if left_out and not self._told:
            log.info(
                "a picture of %dx%d has no room for these readings: %s", *size[::-1], ", ".join(left_out)
            )
        self._told = self._told or bool(left_out)
        return texts


def _letter_px(height: int, width: int) -> int:
    """The size of letters, smaller on a picture of a small camera, which is shown enlarged."""
    small = round(min(height, width * 0.75) / 13)
    return max(_SMALLEST_LETTER_PX, min(letter_height((height, width)), small))


def _mark_at(height: int, last: int, letter_px: int = 0) -> tuple[Sprite, int, int]:
    """The mark of a network's color, and where its top left is: low and right, before column `last`."""
    letter_px = letter_px or letter_height((height, last))
    margin = letter_px // 2
    mark = outlined(MARK, max(10, round(letter_px * 0.8)), opacity=0.7)
    return mark, height - mark.size[0] - margin // 2, max(last - mark.size[1] - margin // 2, 0)


def _area(sprite: Sprite) -> int:
    return sprite.size[0] * sprite.size[1]


@dataclass(frozen=True, slots=True)
class _Scale:
    """`21.3 [bar] 35.0 °C`, and where it stands.

    Attributes:
        colors: (1, N, 3) R'G'B'.
        low, high: the values beside the bar.
        at: (y, x) of its top left.
        bar: (H, W) of the bar.
        gap: columns between a value and the bar.
    """

    colors: Rgb
    low: Sprite
    high: Sprite
    at: tuple[int, int]
    bar: tuple[int, int]
    gap: int

    @classmethod
    def placed(
        cls, scale: ColorScale, columns: tuple[int, int], height: int, letter_px: int
    ) -> _Scale | None:
        """Low and right in the columns that show color; None where it has no room there."""
        margin = letter_px // 2
        low, high = boxed((scale.low,), letter_px), boxed((scale.high,), letter_px)
        room = columns[1] - columns[0] - low.size[1] - high.size[1] - 3 * margin
        bar_px, y = min(6 * letter_px, room), height - low.size[0] - margin
        if bar_px < 2 * letter_px or y < height // 2:
            return None
        x = columns[1] - 2 * margin - low.size[1] - bar_px - high.size[1]
        colors = np.array(scale.colors, np.uint8)[None]
        return cls(colors, low, high, (y, x), (low.size[0] // 2, bar_px), margin // 2)

    @property
    def area(self) -> int:
        """Pixels that it covers."""
        return _area(self.low) + _area(self.high) + self.bar[0] * self.bar[1]

    def lay_on(self, out: Rgb) -> None:
        """Draw it."""
        (y, x), (bar_h, bar_w) = self.at, self.bar
        self.low.lay_on(out, y, x)
        x, top = x + self.low.size[1] + self.gap, y + self.low.size[0] // 4
        out[top : top + bar_h, x : x + bar_w] = cv2.resize(self.colors, (bar_w, bar_h))
        self.high.lay_on(out, y, x + bar_w + self.gap)


@lru_cache(maxsize=8)
def _cross(letter_px: int) -> Sprite:
    """A cross open in its middle, white with a dark rim."""
    reach, line = round(letter_px * 0.9), max(1, round(letter_px / 14))
    side, middle, gap = 2 * reach + 5, reach + 2, max(2, reach // 3)
    ink = np.zeros((side, side), np.uint8)
    for start, end in ((-reach, -gap), (gap, reach)):
        cv2.line(ink, (middle + start, middle), (middle + end, middle), 255, line)
        cv2.line(ink, (middle, middle + start), (middle, middle + end), 255, line)
    rim = cv2.dilate(ink, np.ones((3, 3), np.uint8)) // 255 * np.uint8(170)
    keep = 255 - np.maximum(ink, rim)
    return Sprite(np.repeat(ink[..., None], 3, axis=2), np.repeat(keep[..., None], 3, axis=2))


def _spot_sprites(spot: Spot | None, letter_px: int) -> tuple[Sprite, ...]:
    """The cross and its value; nothing where no spot is read."""
    return () if spot is None else (_cross(letter_px), outlined(spot.text, letter_px))


def _draw_spot(
    out: Rgb, at: tuple[int, int], sprites: tuple[Sprite, ...], letter_px: int, taken: tuple[int, int]
) -> None:
    """The cross and its value: above to the right, or wherever it is free of borders and the panel."""
    (y, x), (cross, label) = at, sprites
    cross.lay_on(out, y - cross.size[0] // 2, x - cross.size[1] // 2)
    left = x + cross.size[1] // 2
    if left + label.size[1] > out.shape[1]:
        left = max(x - cross.size[1] // 2 - label.size[1], 0)
    top = y - label.size[0] - letter_px // 4
    if top < 0 or (top < taken[0] and left < taken[1]):
        top = y + letter_px // 4
    label.lay_on(out, min(top, out.shape[0] - label.size[0]), left)
