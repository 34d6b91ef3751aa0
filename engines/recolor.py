"""Puts a network's small color picture onto the full-size luma: color and base tone from the network, detail
from the sensor."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.engines import color_space, guided, neutral
from irchroma.engines.base_tone import ToneOptions, base_tone, mean_square
from irchroma.engines.errors import EngineOptionError

Mode = Literal["full", "chroma"]
Plane = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class RecolorOptions:
    """How color is put onto the luma.

    Attributes:
        mode: `full` (the base tone is the network's too) or `chroma` (the sensor's luma kept exactly).
        chroma_limit: largest sqrt(Cb^2 + Cr^2) in 8-bit levels that is shown; None for no limit.
        radius_px: of the guided filter's windows, in work pixels.
        chroma_contrast: luma contrast, [0, 1], above which color follows the luma's edges.
        sure: confidence at and above which color is shown in full; it fades to neutral towards 0.
    """

    mode: Mode = "full"
    chroma_limit: float | None = None
    radius_px: int = 3
    chroma_contrast: float = 0.03
    sure: float = 0.25

    def __post_init__(self) -> None:
        if self.mode not in ("full", "chroma"):
            raise EngineOptionError(f"unknown mode {self.mode!r}: use full or chroma")
        if self.chroma_limit is not None and not 0 <= self.chroma_limit <= 255:
            raise EngineOptionError(f"chroma limit {self.chroma_limit:g} is outside 0 (gray) to 255 (none)")


@dataclass(frozen=True, slots=True)
class BandLook:
    """What the wavelength has to say about it.

    Attributes:
        tone: what of a picture is base tone.
        unlit: local mean luma, [0, 1], where color starts and where it is full, since the unlit parts of
            an active-infrared night are no sky; None where dark does not mean unlit.
    """

    tone: ToneOptions = field(default_factory=ToneOptions)
    unlit: tuple[float, float] | None = (0.05, 0.25)


class Recoloring:
    """Does it frame after frame, with buffers kept between frames of one size. Used by one thread."""

    def __init__(self, options: RecolorOptions | None = None, look: BandLook | None = None) -> None:
        self.options = options or RecolorOptions()
        self.look = look or BandLook()
        self._fade = neutral.level_fade()
        self._buffers: dict[str, Plane] = {}
        self._size = (0, 0)

    def apply(
        self, luma: NDArray[np.uint8], small: NDArray[np.uint8], ycc: Plane, confidence: Plane
    ) -> NDArray[np.uint8]:
        """One colored picture.

        Args:
            luma: (H, W) uint8 Y', full range: the sensor's picture.
            small: (h, w) uint8, the same at work size, as the network saw it.
            ycc: (h, w, 3) float32 of the network, BT.601 full range.
            confidence: (h, w) float32 in [0, 1].

        Returns:
            (H, W, 3) uint8 R'G'B', full range, new.
        """
        size = (luma.shape[0], luma.shape[1])
        if size != self._size:
            self._buffers.clear()
            self._size = size
        guide = small.astype(np.float32) * np.float32(1 / 255)
        faded = np.clip(confidence * np.float32(1 / self.options.sure), 0.0, 1.0)
        seen = guided.windows(guide, self.options.radius_px)
        if self.look.unlit is not None:
            dark, lit = self.look.unlit
            faded *= np.clip((seen.mean - dark) * np.float32(1 / (lit - dark)), 0.0, 1.0)
        blue = guided.fit(seen, ycc[..., 1] * faded, self.options.chroma_contrast)
        red = guided.fit(seen, ycc[..., 2] * faded, self.options.chroma_contrast)

        light = self._buffer("light")
        np.copyto(light, luma)
        cb, cr = self._on_frame(blue, light, "cb"), self._on_frame(red, light, "cr")
        if self.options.chroma_limit is not None:
            self._limit(cb, cr)
        chroma = [cv2.add(plane, 128.0, dtype=cv2.CV_8U) for plane in (cb, cr)]
        shown = luma
        if self.options.mode == "full":
            tone = base_tone(guide, mean_square(luma, small.shape), ycc[..., 0], self.look.tone)
            change = self._on_frame(tone, light, "cb")
            shown = np.asarray(cv2.add(light, change, dtype=cv2.CV_8U), np.uint8)
        keep_neutral(luma, shown, self._fade, chroma)
        return color_space.color_luma(shown, *chroma)

    def _on_frame(self, model: guided.Affine, light: Plane, name: str) -> Plane:
        """The modeled value at full size, in 8-bit levels: slope * luma + offset."""
        value = guided.enlarge(model.slope, self._size, self._buffer(name))
        np.multiply(value, light, out=value)
        offset = guided.enlarge(model.offset * np.float32(255), self._size, self._buffer("scratch"))
        return np.add(value, offset, out=value)

    def _limit(self, cb: Plane, cr: Plane) -> None:
        limit = np.float32(self.options.chroma_limit)
        magnitude = cv2.magnitude(cb, cr, magnitude=self._buffer("scratch"))
        scale = np.divide(
            limit, np.maximum(magnitude, max(limit, np.float32(1e-3)), out=magnitude), out=magnitude
        )
        np.multiply(cb, scale, out=cb)
        np.multiply(cr, scale, out=cr)

    def _buffer(self, name: str) -> Plane:
        buffer = self._buffers.get(name)
        if buffer is None:
            buffer = self._buffers[name] = np.empty(self._size, np.float32)
        return buffer


def keep_neutral(
    luma: NDArray[np.uint8], shown: NDArray[np.uint8], fade: Plane, chroma: list[NDArray[np.uint8]]
) -> None:
    """Fade chroma in place at both lumas' extremes, on strokes of text and on black borders.

    Args:
        luma: (H, W) uint8 of the sensor.
        shown: (H, W) uint8 that goes out. Near white the gamut is so narrow that a level of luma would
            decide over ten levels of blue: fading is the steady choice.
        fade: (256,) float32 factor by luma.
        chroma: (H, W) uint8 planes, 128 neutral.
    """
    full = np.flatnonzero(fade == 1)
    plain = cv2.inRange(luma, int(full[0]), int(full[-1]))
    if shown is not luma:
        plain = cv2.bitwise_and(plain, cv2.inRange(shown, int(full[0]), int(full[-1])))
    strokes = neutral.strokes(luma)
    places = np.flatnonzero(cv2.bitwise_or(cv2.bitwise_not(plain), strokes))
    if places.size:
        factor = np.minimum(fade[luma.ravel()[places]], fade[shown.ravel()[places]])
        factor[strokes.ravel()[places] > 0] = 0.0
        for plane in chroma:
            flat = plane.ravel()
            flat[places] = np.rint((flat[places] - np.float32(128)) * factor + np.float32(128))
    top, bottom, left, right = neutral.borders(luma)
    height, width = luma.shape
    for plane in chroma:
        plane[:top], plane[height - bottom :] = 128, 128
        plane[:, :left], plane[:, width - right :] = 128, 128
