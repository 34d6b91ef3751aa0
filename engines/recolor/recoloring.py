"""Puts a network's small color picture onto the full-size luma: color and base tone from the network, detail
from the sensor."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.engines.errors import EngineOptionError
from irchroma.engines.recolor import ambiguous, color_space, fog, guided, heat, neutral, night, shade
from irchroma.engines.recolor.band import BandLook, Unsure
from irchroma.engines.recolor.base_tone import base_tone, mean_square
from irchroma.engines.recolor.color_space import Scalar
from irchroma.engines.recolor.smooth_places import lead_by_smooth_places

Mode = Literal["full", "chroma"]
Plane = NDArray[np.float32]
NEUTRAL = np.float32(128 / 255)
HALVED_MODELS = 1.5
"""Enlargement from which the affine models are made at half the work size: they vary slowly, He and Sun
subsample by 4. Same measures on 640x480 pictures, half the time."""
UNSURE, SURE = 0.07, 0.17
"""Confidence (the mean of exp(-error / 15.3), see `calibration.confidence`) from which the network's color
begins to show, and from which all of it does."""
HALVED_LIVE = 50_000
"""Pixels of a frame from which they are so in any case beside the frames, where color has that size anyway
and models are carried: 320x256 takes a third of the time. Luma is 35 to 38 (thermal) and 43 dB from that of
whole models: skies are calmer, thin wires slightly fainter."""
HALVED_CHROMA = 300_000
"""Pixels from which chroma is made at half the size, as video carries it (4:2:0): a third of the time."""
QUARTERED_CHROMA = 1_500_000
"""Pixels from which a video's chroma is made at a quarter of the size, by models that vary more slowly still,
and brought to half."""

CHROMA_CONTRAST = 0.03
"""Luma contrast, [0, 1], above which color follows the luma's edges."""


@dataclass(frozen=True, slots=True)
class RecolorOptions:
    """How color is put onto the luma.

    Attributes:
        mode: `full` (the base tone is the network's too) or `chroma` (the sensor's luma kept exactly).
        chroma_limit: largest sqrt(Cb^2 + Cr^2) in 8-bit levels that is shown; None for no limit.
        radius_px: of the guided filter's windows, in work pixels.
        unsure, sure: confidence up to which nothing of the network's color and tone is shown, and from which
            all of it is.
        instead: what is shown where it is not: the sensor's `gray`, or a calm `palette` by luma; `auto` for
            what the band's look has.
    """

    mode: Mode = "full"
    chroma_limit: float | None = None
    radius_px: int = 3
    unsure: float = UNSURE
    sure: float = SURE
    instead: Unsure = "auto"

    def __post_init__(self) -> None:
        if self.instead not in ("auto", "gray", "palette"):
            raise EngineOptionError(f"unknown --unsure {self.instead!r}: use auto, gray or palette")
        if not 0 <= self.unsure < self.sure:
            raise EngineOptionError(f"color needs 0 <= unsure < sure, got {self.unsure:g} and {self.sure:g}")
        if self.mode not in ("full", "chroma"):
            raise EngineOptionError(f"unknown mode {self.mode!r}: use full or chroma")
        if self.chroma_limit is not None and not 0 <= self.chroma_limit <= 255:
            raise EngineOptionError(f"chroma limit {self.chroma_limit:g} is outside 0 (gray) to 255 (none)")


@dataclass(frozen=True, slots=True)
class Models:
    """A frame as affine models of its luma: shown luma (None: as it is) and chroma, at work size or half."""

    tone: guided.Affine | None
    chroma: tuple[guided.Affine, guided.Affine]


class Recoloring:
    """Does it frame after frame, with buffers kept between frames of one size."""

    def __init__(self, options: RecolorOptions | None = None, look: BandLook | None = None) -> None:
        self.options = options or RecolorOptions()
        self.look = look or BandLook()
        self.other_look, self.other_share = self.look, 0.0
        """One of the same tone, and how far color is in it, [0, 1]."""
        self.mood: Callable[[Plane, Plane, Plane], None] = lambda *_: None  # of what would be shown, in place
        self._fade = neutral.level_fade()
        self._white = neutral.ANY_SHOWN if self.look.unlit is None else neutral.SHOWN_WHITE
        self._buffers: dict[tuple[str, tuple[int, int]], Plane] = {}
        self._size = (0, 0)
        self._lock = threading.Lock()  # a picture may be asked for later, by another thread

    def apply(
        self,
        luma: NDArray[np.uint8],
        small: NDArray[np.uint8],
        ycc: Plane,
        confidence: Plane,
        halved: bool = False,
        models: Models | None = None,
    ) -> NDArray[np.uint8]:
        """One colored picture.

        Args:
            luma: (H, W) uint8 Y', full range: the sensor's picture.
            small: (h, w) uint8, the same at work size, as the network saw it.
            ycc: (h, w, 3) float32, BT.601 full range; (h, w, 4) with the share that a reference gave, kept.
            confidence: (h, w) float32 in [0, 1].
            halved: the small ones have half the work size already, see `halves`.
            models: of this frame, as `models` makes them of the rest; None to make them here.

        Returns:
            (H, W, 3) uint8 R'G'B', full range, new.
        """
        with self._lock:
            size = self._begin(luma)
            models = models or self.models(luma, small, ycc, confidence, halved)
            shown = luma if models.tone is None else self._on_frame(models.tone, luma)
            fine, fine_shown = luma, shown
            if luma.size >= HALVED_CHROMA:
                fine = _halved(luma)
                fine_shown = fine if shown is luma else _halved(shown)
            if shown is not luma and (fine is luma or any(neutral.borders(fine))):
                neutral.keep_borders(luma, shown, 1.0, 0.0)  # as they came, whatever tone has been given
            chroma = self._chroma(models, fine, fine_shown)
        if fine is not luma:
            chroma = [np.asarray(cv2.resize(plane, size[::-1]), np.uint8) for plane in chroma]
        if self.options.chroma_limit is not None:
            chroma = color_space.within(self.options.chroma_limit, chroma)
        return color_space.color_luma(shown, *chroma)

    def planes(
        self,
        luma: NDArray[np.uint8],
        small: NDArray[np.uint8],
        ycc: Plane,
        confidence: Plane,
        halved: bool = False,
        models: Models | None = None,
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]:
        """One colored picture as video encoders take it, without R'G'B' on the way.

        Chroma is made at half the size, where video carries it; luma in one pass, and another one for what
        the chroma does to BT.709's Y'. Of a large picture both are modeled at a quarter of its size first:
        0.86 of the time of all that is done to a frame of 1920x1080 beside its network, 66 dB and in chroma
        54 dB from what is made at once. Models at a quarter of the work size (He and Sun go that far) would
        save another 0.3 ms, at 52 dB, but still pixels flickered 1.05 times as much.

        Args:
            luma, small, ycc, confidence, halved, models: as of `apply`.

        Returns:
            Y' (H, W), Cb and Cr (ceil(H / 2), ceil(W / 2)), uint8, BT.709 limited range, chroma in the middle
            of 2x2 pixels; views of one new buffer without padding.
        """
        with self._lock:
            height, width = self._begin(luma)
            models = models or self.models(luma, small, ycc, confidence, halved)
            halved_luma = fine = _halved(luma)
            if luma.size >= QUARTERED_CHROMA:
                fine = _halved(fine)
            tone, fine_shown = None, fine
            if models.tone is not None:
                tone = at_fine = self._enlarged(models.tone, fine)
                fine_shown = self._light(at_fine, fine)
                if luma.size < QUARTERED_CHROMA:  # as on a device, in one step
                    tone = guided.Affine(models.tone.slope, models.tone.offset * np.float32(255))
            chroma = self._levels(models.chroma, fine)
            framed = neutral.keep(fine, fine_shown, self._fade, chroma, self._white)
            if self.options.chroma_limit is not None:
                chroma = color_space.within(self.options.chroma_limit, chroma)
            color_space.fit_gamut(fine_shown, *chroma)
            # Rounded here for the first time: a second rounding would show as flicker.
            data = np.empty(luma.size + 2 * halved_luma.size, np.uint8)
            y = data[: luma.size].reshape(height, width)
            half = data[luma.size :].reshape(2, *halved_luma.shape)
            lift, *ways = color_space.CHROMA_TO_VIDEO.tolist()
            for plane, (of_cb, of_cr) in zip(half, ways, strict=True):
                if fine is halved_luma:
                    cv2.addWeighted(chroma[0], of_cb, chroma[1], of_cr, 128.0, dst=plane, dtype=cv2.CV_8U)
                else:
                    value = cv2.addWeighted(chroma[0], of_cb, chroma[1], of_cr, 128.0)
                    value = guided.enlarge(np.asarray(value, np.float32), plane.shape)
                    cv2.add(value, 0.0, dst=plane, dtype=cv2.CV_8U)
            raised = cv2.addWeighted(chroma[0], lift[0], chroma[1], lift[1], 16.0)
            self._video_luma(tone, luma, np.asarray(raised, np.float32), y)
            if fine is not halved_luma:  # text is finer
                neutral.keep_white(halved_luma, y, self._fade, list(half), self._white)
            if models.tone is not None and framed:
                neutral.keep_borders(luma, y, 219 / 255, 16.0)
        return y, half[0], half[1]

    def _begin(self, luma: NDArray[np.uint8]) -> tuple[int, int]:
        size = (luma.shape[0], luma.shape[1])
        if size != self._size:
            self._buffers.clear()
            self._size = size
        return size

    def models(
        self,
        luma: NDArray[np.uint8],
        small: NDArray[np.uint8],
        ycc: Plane,
        confidence: Plane,
        halved: bool = False,
        said: float = 1.0,
    ) -> Models:
        """What a picture is made of, two thirds of its work; any thread.

        Args:
            luma, small, ycc, confidence, halved: as of `apply`.
            said: how far the network has spoken of this scene at all, [0, 1]: what is shown where color is
                not known comes with it, and before it there is gray.
        """
        tone_options, radius_px, night_px = self.look.tone, self.options.radius_px, night.RADIUS_PX
        if at_half := halved or halves(luma.shape, small.shape):
            tone_options, radius_px, night_px = tone_options.halved(), (radius_px + 1) // 2, night_px // 2
            if not halved:
                small, ycc, confidence = _halved(small), _halved(ycc), _halved(confidence)
        guide = small.astype(np.float32) * np.float32(1 / 255)
        wanted, cb, cr = self._believed(ycc, confidence, guide, said)
        self._part_by_luma((wanted, cb, cr), ycc, guide, at_half)
        self.mood(wanted, cb, cr)
        seen = guided.windows(guide, radius_px)
        dark = np.count_nonzero(seen.mean < np.float32(self.look.dark)) / guide.size
        darkness = float(np.interp(dark, self.look.dark_share, (0.0, 1.0)))
        # A lamp's night is evened out as it is: led as well, its few colors would come and go together.
        by_day = 1.0 if self.look.unlit is None else 1.0 - darkness
        smooth = None
        if by_day > 0:
            smooth = lead_by_smooth_places(guide, (wanted, cb, cr), at_half, self.look.lead, by_day)
        tone = None
        if self.options.mode == "full":
            of_scene = tone_options.in_scene(darkness)
            around = seen if of_scene.radius_px == radius_px else guided.windows(guide, of_scene.radius_px)
            change = base_tone(around, mean_square(luma, small.shape), wanted, of_scene, smooth)
            tone = guided.Affine(change.slope + 1, change.offset)
        if self.look.unlit is not None:
            cb, cr = night.lit(seen.mean, self.look.unlit, darkness, (cb, cr))
        if self.options.chroma_limit is not None:  # while small, so that a hue keeps its contrast
            cb, cr = color_space.within(self.options.chroma_limit / 255, [cb, cr])
        if self.look.unlit is not None and darkness > 0:
            cb, cr = night.evened((cb, cr), guide, night_px, darkness)
        blue, red = (guided.fit(seen, plane, CHROMA_CONTRAST) for plane in (cb, cr))
        return Models(tone, (blue, red))

    def _believed(
        self, ycc: Plane, confidence: Plane, guide: Plane, said: float
    ) -> tuple[Plane, Plane, Plane]:
        """Y', Cb and Cr (h, w) float32, new: the network's where it is sure, gray or a palette elsewhere."""
        made = self._in_look(self.look, ycc, confidence, guide, said)
        others: list[tuple[BandLook, Any]] = [(self.other_look, np.float32(1 - self.other_share))]
        as_given = replace(self.look, shade=None, decided=False, unmixed=False)
        if ycc.shape[2] > 3 and as_given != self.look:
            others.append((as_given, 1 - np.asarray(cv2.extractChannel(ycc, 3), np.float32)))
        for look, share in others[self.other_share <= 0 :]:
            for plane, other in zip(made, self._in_look(look, ycc, confidence, guide, said), strict=True):
                _mix(plane, other, share)
        return made

    def _part_by_luma(self, planes: tuple[Plane, Plane, Plane], ycc: Plane, guide: Plane, half: bool) -> None:
        """See `heat` and `fog`: as far as the looks want it, and nowhere a reference's color."""
        looks = (self.look, 1 - self.other_share), (self.other_look, self.other_share)
        own: Plane | float = 1.0
        if ycc.shape[2] > 3:
            own = 1 - np.asarray(cv2.extractChannel(ycc, 3), np.float32)
        if (share := sum(share for look, share in looks if look.unmixed)) > 0:
            heat.part_by_heat(planes, guide, half, own * share)
        if (share := sum(share for look, share in looks if look.shade)) > 0:
            fog.out_of_fog(planes, guide, half, own * share)

    def _in_look(
        self, look: BandLook, ycc: Plane, confidence: Plane, guide: Plane, said: float
    ) -> tuple[Plane, Plane, Plane]:
        options = self.options
        tone, cb, cr = (np.asarray(cv2.extractChannel(ycc, channel), np.float32) for channel in range(3))
        share = (confidence - np.float32(options.unsure)) * np.float32(1 / (options.sure - options.unsure))
        if mixed := float(share.min()) < 1.0:
            unknown = look.unknown(guide, options.instead, said)
            _mix(tone, unknown[0], np.clip(share, 0.0, 1.0, out=share))
        if look.unmixed:
            ambiguous.unmix(tone, cb, cr)
            ambiguous.out_of_olive(tone, cb, cr, guide)
        if mixed:
            _mix(cb, unknown[1], share)
            _mix(cr, unknown[2], share)
        if look.shade is not None:
            shade.out_of_teal(tone, cb, cr, look.shade)
        if look.decided:
            ambiguous.decide(tone, cb, cr, guide)
        return tone, cb, cr

    def _chroma(
        self, models: Models, fine: NDArray[np.uint8], fine_shown: NDArray[np.uint8]
    ) -> list[NDArray[np.uint8]]:
        """Cb and Cr, 128 neutral, at the size of `fine`."""
        chroma = [
            self._on_frame(guided.Affine(model.slope, model.offset + NEUTRAL), fine)
            for model in models.chroma
        ]
        neutral.keep(fine, fine_shown, self._fade, chroma, self._white)
        return chroma

    def _on_frame(self, model: guided.Affine, luma: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(H, W) uint8: slope * luma + offset, the offset in parts of full scale."""
        return self._light(self._enlarged(model, luma), luma)

    def _enlarged(self, model: guided.Affine, luma: NDArray[np.uint8]) -> guided.Affine:
        """The model at the luma's size, its offset in levels; until the next one of that size."""
        size = (luma.shape[0], luma.shape[1])
        slope = guided.enlarge(model.slope, size, self._buffer("slope", size))
        return guided.Affine(
            slope, guided.enlarge(model.offset * np.float32(255), size, self._buffer("offset", size))
        )

    def _light(self, model: guided.Affine, luma: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(H, W) uint8: slope * luma + offset, of a model of that size in levels."""
        value = self._buffer("value", (luma.shape[0], luma.shape[1]))
        cv2.multiply(luma, model.slope, dst=value, dtype=cv2.CV_32F)
        return np.asarray(cv2.add(value, model.offset, dtype=cv2.CV_8U), np.uint8)

    def _levels(self, models: tuple[guided.Affine, ...], luma: NDArray[np.uint8]) -> list[Plane]:
        """The same of each model as (H, W) float32 levels, new."""
        size = (luma.shape[0], luma.shape[1])
        light = self._buffer("value", size)
        np.copyto(light, luma)
        values = []
        for model in models:
            value = guided.enlarge(model.slope, size)
            np.multiply(value, light, out=value)
            value += guided.enlarge(model.offset * np.float32(255), size, self._buffer("more", size))
            values.append(value)
        return values

    def _video_luma(
        self, tone: guided.Affine | None, luma: NDArray[np.uint8], raised: Plane, y: NDArray[np.uint8]
    ) -> None:
        """Write the video's Y', BT.709 limited range: a share of the shown luma, by its model in levels, and
        what the chroma adds to it, `raised`, float32 levels at a half or a quarter of the size."""
        size, share = (luma.shape[0], luma.shape[1]), 219 / 255
        slope, added = None, [raised]
        if tone is not None:
            # Both in the same steps: enlarged otherwise than its offset, a steep slope draws dashes.
            slope, offset = tone.slope * np.float32(share), tone.offset * np.float32(share)
            added = [raised + offset] if offset.shape == raised.shape else [offset, raised]
        value, buffer = self._buffer("value", size), self._buffer("offset", size)
        for rows in guided.strips(size, added if slope is None else [*added, slope]):
            last = partial(guided.enlarged_rows, added[-1], size, rows, buffer)
            if slope is None:
                cv2.addWeighted(luma[rows], share, last(), 1.0, 0.0, dst=y[rows], dtype=cv2.CV_8U)
                continue
            light = value[rows]
            of_luma = guided.enlarged_rows(slope, size, rows, buffer)
            cv2.multiply(luma[rows], of_luma, dst=light, dtype=cv2.CV_32F)
            for plane in added[:-1]:
                light += guided.enlarged_rows(plane, size, rows, buffer)
            cv2.add(light, last(), dst=y[rows], dtype=cv2.CV_8U)
            # What is left of color does not lead out of the range, the tone may.
            np.clip(y[rows], 16, 235, out=y[rows])  # a seventh of the time of numpy's maximum

    def _buffer(self, name: str, size: tuple[int, int]) -> Plane:
        buffer = self._buffers.get((name, size))
        if buffer is None:
            buffer = self._buffers[name, size] = np.empty(size, np.float32)
        return buffer


def halves(size: tuple[int, ...], work: tuple[int, ...], live: bool = False) -> bool:
    """Whether the models of a frame (H, W) seen at work size (h, w) are made at half of that."""
    return size[0] >= HALVED_MODELS * work[0] or (live and size[0] * size[1] >= HALVED_LIVE)


def _halved(values: NDArray[Scalar]) -> NDArray[Scalar]:
    size = ((values.shape[1] + 1) // 2, (values.shape[0] + 1) // 2)
    return np.asarray(cv2.resize(values, size, interpolation=cv2.INTER_AREA), values.dtype)


def _mix(values: Plane, others: Plane | float, share: Any) -> None:
    """In place, (h, w) float32: the values where `share` is 1, the others where it is 0."""
    if isinstance(others, float) and others == 0.0:  # gray, which most that is not sure is shown as
        values *= share
        return
    values -= others
    values *= share
    values += others
