"""A reference as it lies over a frame, and the scenery that it puts behind the frame's full-size picture."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.engines.recolor import color_space
from irchroma.engines.reference import registration, structure
from irchroma.engines.reference.counterpart import Explained, explain, supported
from irchroma.engines.reference.dusk import as_usual, exposed, standing_out, without_lamps
from irchroma.engines.reference.foreground import Backdrop
from irchroma.engines.reference.pictures import Reference
from irchroma.engines.reference.preference import without_pale_red
from irchroma.engines.reference.visible_parts import PINK, WISHED_PINK, Light, surely, within

Plane = NDArray[np.float32]
Planes = tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]
"""Y' (H, W), Cb and Cr (ceil(H / 2), ceil(W / 2)), BT.709 limited range."""

WISHED_OVER = 0.3
"""Of a light scene without a sky that is wished for: how far it lies where the infrared has edges that it has
not. With six tenths a wood came nearer to the truth and its trees faded into fog."""
DETAIL_SHARE = 0.01
"""Radius below which luma is detail, as a share of the long side."""
BRIGHTENED = (0.23, 0.26)
"""Median Y' of a night up to which it is laid by steady light, and from which its camera has brightened it,
lamps or none, or it is none: a street lit by passing cars has 0.23, nights of a car's own camera have 0.42 to
0.56, woods and an evening before a bright sky 0.26 to 0.28, whose sky is no lamp."""


def by_steady_light(reference: Reference, thermal: bool) -> Reference:
    """The picture without the light of cars and as light as nights are, where it is a single one by night;
    several have shown that what is on them stays.

    Args:
        reference: as it was given.
        thermal: beside whose frames it is, see `Light.by_night`.
    """
    if reference.still:
        return reference
    ycc, sure = color_space.rgb_to_ycc(reference.rgb), reference.trust > 127
    if not sure.any():
        return reference
    light = _light_of(ycc, sure)
    low, high = BRIGHTENED
    share = np.float32(light.by_night(thermal)) * np.clip(
        (high - np.median(ycc[sure, 0])) / np.float32(high - low), 0.0, 1.0
    )
    if share <= 0:
        return reference
    ycc[~sure] = np.median(ycc[sure], axis=0)  # what is cut out of a picture is often black, and no night
    made = exposed(without_lamps(ycc, light.cast, PINK, WISHED_PINK))
    return replace(reference, rgb=color_space.ycc_to_rgb(ycc + share * (made - ycc)))


@lru_cache(2)  # the network's encoder and geometry's layer look at one picture: 125 ms each by night
def in_calm_colors(reference: Reference) -> Reference:
    """The picture as thermal's network looks at it: without pale red and purple, see `without_pale_red`, one
    by night without what lamps color, and as light as nights are; all other tone is as it is. For both who
    look at it: not to be written to."""
    ycc, sure = color_space.rgb_to_ycc(reference.rgb), reference.trust > 127
    if sure.any() and not reference.still and (light := _light_of(ycc, sure)).by_night(thermal=True) > 0:
        ycc[~sure] = np.median(ycc[sure], axis=0)
        made = without_lamps(ycc, light.cast, PINK, WISHED_PINK)
        ycc[..., 1:] += np.float32(light.by_night(thermal=True)) * (made[..., 1:] - ycc[..., 1:])
        ycc += np.float32(light.dark) * (as_usual(ycc) - ycc)
    return replace(reference, rgb=color_space.ycc_to_rgb(without_pale_red(ycc)))


def _light_of(ycc: Plane, sure: NDArray[np.bool_]) -> Light:
    """Of the pixels of an (H, W, 3) picture that (H, W) names."""
    heights = np.repeat(np.linspace(-1.0, 1.0, ycc.shape[0], dtype=np.float32), ycc.shape[1])
    return Light.of(ycc[sure], heights[sure.ravel()])


class Laid:
    """A reference warped onto the frame: color and trust at work size, the picture itself at full size.

    Of a single picture, which may show passers-by, only what has a counterpart in the infrared is shown.
    """

    def __init__(self, reference: Reference, matrix: registration.Matrix, luma: NDArray[np.uint8]) -> None:
        size = (luma.shape[0], luma.shape[1])
        self.reference, self.matrix, self._size = reference, matrix, size
        rgb = registration.warp(reference.rgb, matrix, size)
        self._ycc = color_space.rgb_to_ycc(rgb)
        self._explained: Explained | None = None
        self._share: Plane | None = None
        if not reference.still:
            self._explained = explain(self._ycc, luma)
            plain = self._explained.around(luma)
            self._share = supported(rgb, luma, structure.largest(cv2.absdiff(self._ycc, plain)))
            rgb = color_space.ycc_to_rgb(
                np.asarray(plain + (self._ycc - plain) * self._share[..., None], np.float32)
            )
        self.backdrop = Backdrop(rgb)
        trust = registration.warp(reference.trust, matrix, size, cv2.BORDER_CONSTANT)
        self.trust = cv2.GaussianBlur(trust.astype(np.float32) / 255, (0, 0), 2.0)
        self.surely = surely(matrix, luma, self._share)
        scene = registration.warp(reference.trust, matrix, size) > 127
        self.light = _light_of(self._ycc, scene if scene.any() else ~scene)
        self._full: NDArray[np.uint8] | None = None
        self._video: Planes | None = None
        self._shares: list[tuple[Plane, Plane]] | None = None

    def ycc(self, luma: NDArray[np.uint8]) -> Plane:
        """(h, w, 3) float32 Y'CbCr, BT.601 full range, beside the frame's (h, w) uint8 luma."""
        if self._explained is None or self._share is None:
            return self._ycc
        plain = self._explained.of(luma)
        return np.asarray(plain + (self._ycc - plain) * self._share[..., None], np.float32)

    @cached_property
    def _inside(self) -> Plane:
        """`surely` without the infrared's edges: where it is at all."""
        return within(self.matrix, self._size)

    def where_sure(self, luma: NDArray[np.uint8], worth: Plane, keeps: Plane, wished: float) -> Plane:
        """(h, w) float32 in [0, 1], new: where a frame shows it in place of its own picture.

        Args:
            luma: (h, w) uint8 infrared.
            worth: (k, l) float32 of its color, see `worth.worth`.
            keeps: (k, l) float32, how far it has the infrared's edges, see `shown.kept`.
            wished: how far somebody wishes for this night (`Light.wished`): then a light one need not have
                them but where somebody stands out of the infrared.
        """
        sure = self.surely
        if wished > 0:
            more = np.float32(wished * (1.0 - self.light.dark))
            keeps = keeps + more * (1.0 - keeps) * (1.0 - standing_out(luma, keeps.shape))
            sure = sure + np.float32(wished * WISHED_OVER) * (self._inside - sure)
        return np.asarray(sure * cv2.resize(worth * keeps, luma.shape[::-1]), np.float32)

    @property
    def support(self) -> Plane | None:
        """(h, w) float32 in [0, 1]: how far its own detail is shown; None for everywhere."""
        return self._share

    def picture(self, size: tuple[int, int]) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 R'G'B', all of it as it lies over a frame of that size; one array for all calls."""
        if self._full is None or self._full.shape[:2] != size:
            self._full = registration.warp(self.reference.rgb, self.matrix, size)
        return self._full

    def full_size(self, size: tuple[int, int], ycc: Plane) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 R'G'B', what is shown of it over a frame of that size, whose `ycc` it has at work
        size."""
        full = self.picture(size)
        if self._share is None:
            return full
        plain = cv2.resize(color_space.ycc_to_rgb(ycc), (size[1], size[0]))
        share = cv2.resize(self._share, (size[1], size[0]))
        return np.asarray(cv2.blendLinear(full, plain, share, 1.0 - share), np.uint8)

    def video(self, size: tuple[int, int]) -> Planes:
        """`picture` as I420; the same arrays for all calls."""
        if self._video is None or self._video[0].shape != size:
            half = (-(-size[1] // 2), -(-size[0] // 2))
            luma, *chroma = cv2.split(color_space.rgb_to_video(self.picture(size)))
            self._video = _as_planes(
                luma, *(cv2.resize(plane, half, interpolation=cv2.INTER_AREA) for plane in chroma)
            )
        return self._video

    def full_size_video(self, size: tuple[int, int], ycc: Plane) -> Planes:
        """`full_size` as I420, see `Scenery.put_behind_video`; not to be written to."""
        video = self.video(size)
        if self._share is None:
            return video
        plain = cv2.split(color_space.rgb_to_video(color_space.ycc_to_rgb(ycc)))
        if self._shares is None or self._shares[0][0].shape != size:
            self._shares = _shares_of(self._share, video)
        found = []
        for full, one, shares in zip(video, plain, self._shares, strict=True):
            found.append(cv2.blendLinear(full, cv2.resize(one, full.shape[::-1]), *shares))
        return _as_planes(*found)


def _as_planes(*planes: Any) -> Planes:
    y, cb, cr = (np.asarray(plane, np.uint8) for plane in planes)
    return y, cb, cr


def _shares_of(share: Plane, planes: Planes) -> list[tuple[Plane, Plane]]:
    """A share at the size of each plane, and what is left of 1."""
    luma, chroma = (np.asarray(cv2.resize(share, one.shape[::-1]), np.float32) for one in planes[:2])
    return [(one, np.asarray(cv2.subtract(1.0, one), np.float32)) for one in (luma, chroma, chroma)]


def detail_radius_px(size: tuple[int, ...]) -> int:
    """Of the windows of a picture (H, W) whose mean is no detail."""
    return round(DETAIL_SHARE * max(size))


@dataclass(frozen=True, slots=True)
class Laying:
    """What of a reference is put over a frame, as far as geometry says it.

    Attributes:
        laid: how it lies there.
        ycc: (h, w, 3) float32 of it, Y'CbCr, BT.601 full range; the same array as long as it is the same.
        share: (h, w) float32, how far it is taken, [0, 1].
    """

    laid: Laid
    ycc: Plane
    share: Plane


@dataclass(frozen=True, slots=True)
class Scenery:
    """The scene by day for one frame at full size: the fine color and texture that infrared hardly shows."""

    laid: Laid
    ycc: Plane
    share: Plane
    lift: Plane | None = None
    """(h, w) float32 Y' that is added to the reference's."""
    _made: dict[tuple[int, int], tuple[Any, ...]] = field(default_factory=dict, init=False, repr=False)
    """What is behind frames of a size, whatever the share."""

    def at(self, share: Plane) -> Scenery:
        """The same for the next frame, with another share; what it is made of is made once for both."""
        other = replace(self, share=share)
        object.__setattr__(other, "_made", self._made)
        return other

    def put_behind(self, rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The picture with the scenery's color and texture where it is trusted; the sensor's detail stays.

        Args:
            rgb: (H, W, 3) uint8 R'G'B', colored at full size.

        Returns:
            (H, W, 3) uint8, new.
        """
        size = (rgb.shape[0], rgb.shape[1])
        luma = np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), np.uint8)
        detail = self._lifted(self._detail(luma), 255.0)
        scene = cv2.add(self.laid.full_size(size, self.ycc), cv2.merge([detail] * 3), dtype=cv2.CV_8U)
        share = cv2.resize(self.share, (size[1], size[0]))
        return np.asarray(cv2.blendLinear(scene, rgb, share, 1.0 - share), np.uint8)

    def put_behind_video(self, y: NDArray[np.uint8], cb: NDArray[np.uint8], cr: NDArray[np.uint8]) -> Planes:
        """The same of a picture as video encoders take it, without R'G'B' on the way: 2 ms in place of 6.

        Args:
            y: (H, W) uint8, BT.709 limited range, written to; so are the others.
            cb, cr: (ceil(H / 2), ceil(W / 2)) uint8.

        Returns:
            Them.
        """
        size = (y.shape[0], y.shape[1])
        if size not in self._made:
            scene, *colors = self.laid.full_size_video(size, self.ycc)
            self._made[size] = self._lifted(np.asarray(scene, np.int16), 219.0), *colors
        scene, *colors = self._made[size]
        scene = np.clip(cv2.add(scene, self._detail(y), dtype=cv2.CV_8U), 16, 235)  # BT.709-6, 4.6
        shares = _shares_of(self.share, (y, cb, cr))
        for behind, plane, both in zip((scene, *colors), (y, cb, cr), shares, strict=True):
            cv2.blendLinear(behind, plane, *both, dst=plane)
        return y, cb, cr

    @staticmethod
    def _detail(luma: NDArray[np.uint8]) -> NDArray[np.int16]:
        """(H, W): what of the sensor's (H, W) uint8 stands before the scenery."""
        side = 2 * detail_radius_px(luma.shape) + 1
        base = cv2.blur(cv2.blur(luma, (side, side)), (side, side))
        return np.asarray(cv2.subtract(luma, base, dtype=cv2.CV_16S), np.int16)

    def _lifted(self, levels: NDArray[np.int16], span: float) -> NDArray[np.int16]:
        """(H, W) levels, of which there are `span`, brought to the own tone."""
        if self.lift is None:
            return levels
        lift = cv2.resize(self.lift * np.float32(span), levels.shape[::-1])
        return np.asarray(cv2.add(levels, lift, dtype=cv2.CV_16S), np.int16)
