"""The base tone: how far the network's brightness replaces the sensor's without touching the sensor's detail.

Foliage is far too bright in NIR and the sky far too dark in thermal for visible light: what is large
takes the network's brightness, what is small stays the sensor's. What counts as large differs by band
(`ToneOptions`). NIR and visible pictures share their edges, so a base of a few pixels can follow the
network. Thermal and visible pictures do not: there what is warm before a cold sky is turned around.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.engines.recolor import guided
from irchroma.engines.recolor.smooth_places import SmoothTone

Plane = NDArray[np.float32]


CURVED = 1.25
"""Most factor of the tone curve on the sensor's detail."""
LIFT = (0.12, 0.22)
"""How much brighter than the sensor's a base is where its contrast begins to be turned around, and where all
of it is: as a sky is that a thermal camera shows dark, alone or beside a hill."""
SKY_BLUE = (0.02, 0.05)
"""The same of Cb that smooth places as dark as a window's darkest have: a sky's, no wall's or ground's."""
UNEVEN = (0.025, 0.04)
"""The same of the standard deviation of luma: a sensor's noise is less, a wire or a twig is more."""
NOISE = (0.10, 0.065)
"""The same of a window's brightest luma less its darkest where what is fine in a sky begins to be a sensor's
noise, and where all of it is: a bird far away is a pixel, and more."""
FINE = (0.3, 0.6)
"""Share of the luma's variance that is thin where noise begins to be told from a soft cloud, and where all of
it is noise."""
CALM = 0.65
"""Share of a sensor's noise that a sky is rid of."""
DARKEST = 0.3
"""Part of a sky's tone below which nothing before it is turned: a wall had a black outline."""
LEAVES = (-0.03, -0.06)
"""Cb that smooth places as warm as a window's mean have where leaves begin, and from which on they are."""
NO_WALL = (0.02, 0.0)
"""The same of Cr: brick, sand and beige walls are as yellow as leaves, and windows in them are dark."""
GAP = 0.5
"""Part of the base of leaves below which nothing among them is shown: a gap through which a cold sky is seen
is no black speck by day."""
FLAT = 0.002
"""Standard deviation of luma, part of full scale, up to which nothing counts as sharp."""
SHARP = (0.005, 0.0075)
"""The same of the sharpness of luma, `_thin` over the standard deviation: in the median clouds have 0.003,
wires 0.025, poles and ridges 0.0075 to 0.013."""
WINDOWS = 80
"""Radii of windows in the long side of the pictures that `SHARP` was found in."""
COARSEST = 2.0
"""Most factor on `SHARP` in smaller pictures, in which wires are faint too."""
WARM_IS_DARK = (-0.25, -0.5)
"""The same of the slope of Y' in luma of smooth places: what is warmer is darker there, and no cloud however
soft it is."""
SURFACES = (0.25, 0.45)
"""Contrast of a window, its brightest luma less its darkest, at which it begins to be of two surfaces, and
from which on it is: the bright one clips, or a sky has a dark ring around each tree in the sun."""


@dataclass(frozen=True, slots=True)
class ToneOptions:
    """What of a picture is base tone. Pixels are work pixels, contrasts parts of full scale.

    Attributes:
        radius_px: of the windows in which the change of tone is modeled on the luma.
        contrast: luma contrast above which an edge belongs to the base.
        detail_floor: least factor on the sensor's detail where the base gets darker; detail scales with
            its base as light does on a surface, but not below this.
        edge_floor: least factor on the contrast of edges that the network makes weaker. It may turn an edge
            around: what is bright foliage before a dark sky in infrared is dark before a bright one.
        curve: contrast of the finished base, about `pivot`: what is seen of a scene by a network that is
            often in doubt is a mean of what it may be, flatter than any photograph. 0 for none, below
            1 / pivot, so that no tone is turned around.
        dark_curve: the same of a dark scene, see `in_scene`: what a lamp hardly lights is not darkened.
        pivot: luma that the curve leaves alone.
        detail_gain: least factor of the curve, or of the exponent, on the sensor's detail; at most `CURVED`.
        exponent: of the finished base, behind the curve: below 1 for a brighter picture.
        dark_exponent: the same of a dark scene, see `in_scene`. A lamp's own light ends in black: a night is
            brightened as late dusk is. What a thermal camera shows dark is cold, and comes to lie under a
            milky veil, which viewers turn down.
        turned: contrast, as a factor on the sensor's, of what is warm before a cold sky, turned around: by
            day it is dark before a bright one, and not a white seam, wire or twig. 0 for never.
    """

    radius_px: int = 4
    contrast: float = 0.2
    detail_floor: float = 0.97
    edge_floor: float = 0.5
    curve: float = 0.0
    dark_curve: float = 0.0
    pivot: float = 0.55
    detail_gain: float = 1.0
    exponent: float = 1.0
    dark_exponent: float = 0.8
    turned: float = 0.0

    def in_scene(self, darkness: float) -> ToneOptions:
        """The same, with curve and exponent of a scene of that darkness, [0, 1]."""
        return replace(
            self,
            curve=self.curve + darkness * (self.dark_curve - self.curve),
            exponent=self.exponent + darkness * (self.dark_exponent - self.exponent),
        )

    def halved(self) -> ToneOptions:
        """The same for a work picture of half the size."""
        return replace(self, radius_px=max(1, self.radius_px // 2))


class _Within(NamedTuple):
    """Of each window's luma, (h, w) float32: variance that the small picture lost, darkest, brightest."""

    finer: Plane
    lowest: Plane
    highest: Plane


def base_tone(
    seen: guided.Windows, square: Plane, tone: Plane, options: ToneOptions, smooth: SmoothTone | None = None
) -> guided.Affine:
    """By how much the luma changes so that its base becomes the network's, as an affine model of the luma.

    Where the sensor's detail would leave [0, 1] the base gives way.

    Args:
        seen: windows of the luma (h, w) float32 at work size, [0, 1], of the options' radius.
        square: (h, w) float32 mean of the full-size luma's square, see `mean_square`.
        tone: (h, w) float32 luma that the network wants.
        options: where base ends and detail begins.
        smooth: the tone of smooth places, without which no contrast is turned around.
    """
    model = guided.fit(seen, tone - seen.luma, options.contrast)
    factor: Plane = model.slope + np.float32(1)
    base = factor * seen.mean
    base += model.offset
    factor = _kept(factor, options.edge_floor)
    if options.detail_floor < 1:
        darker = base / np.clip(seen.mean, np.float32(1e-3), np.float32(1))
        factor *= np.clip(darker, options.detail_floor, 1.0).astype(np.float32, copy=False)
    kernel = np.ones((seen.side_px, seen.side_px), np.uint8)
    finer = guided.above_zero(guided.box(square - seen.luma * seen.luma, seen.side_px))
    within = _Within(finer, cv2.erode(seen.luma, kernel), cv2.dilate(seen.luma, kernel))
    if options.turned and smooth is not None:
        base, factor = _before_sky(seen, within, (base, factor), smooth, options.turned)
        factor = _among_leaves(seen, within, (base, factor), smooth)
    base += guided.box(_way_back(seen, within, base, factor), seen.side_px)
    if options.curve or options.exponent != 1:
        base, factor = _curved(base, factor, options)
    offset: Plane = base - factor * seen.mean
    return guided.Affine(factor - 1, offset)


def _kept(factor: Plane, least: float) -> Plane:
    """The factors on the luma's contrast, none nearer to 0 than `least`; a negative one stays negative."""
    if float(factor.min()) >= least:
        return factor
    return np.copysign(np.maximum(np.abs(factor), np.float32(least)), factor)


def _curved(base: Plane, factor: Plane, options: ToneOptions) -> tuple[Plane, Plane]:
    """Base and factors with (b + curve * b * (1 - b) * (b - pivot)) ** exponent in place of a base b; detail
    gains with it up to `CURVED`, and loses nothing."""
    curve, pivot, exponent = (np.float32(v) for v in (options.curve, options.pivot, options.exponent))
    base = np.clip(base, np.float32(0), np.float32(1))
    room = base * (1 - base)
    slope = 1 + curve * ((1 - 2 * base) * (base - pivot) + room)
    made: Plane = base + curve * room * (base - pivot)
    if exponent != 1:
        plain = np.clip(made, np.float32(1e-3), np.float32(1))
        made = cv2.pow(plain, options.exponent)
        slope = slope * exponent * made / plain
    return made, factor * np.clip(slope, np.float32(options.detail_gain), np.float32(CURVED))


def _before_sky(
    seen: guided.Windows, within: _Within, base: tuple[Plane, Plane], smooth: SmoothTone, turned: float
) -> tuple[Plane, Plane]:
    """Base and factors, (h, w) float32, with contrast turned around before a sky that is brightened, which
    is rid of most of its sensor's noise.

    A network that must keep the sensor's detail leaves seams there, bright on the warm side and dark on the
    cold one. So the darkest of each window gets the tone that smooth places of its luma have, and the rest is
    as much darker as it is warmer; between two smooth surfaces as their own tones say. A cloud is warm too,
    and no darker than its sky: it is told by its soft edges. What is fine and faint in a sky is noise:
    brightened, a sensor's pattern is a mesh before the blue.
    """
    sky = rise(base[0] - seen.mean, LIFT)
    if not sky.any():
        return base
    size = (sky.shape[0], sky.shape[1])
    slope, offset = guided.enlarge(smooth.slope, size), guided.enlarge(smooth.offset, size)
    finer, lowest, highest = within
    blue = guided.enlarge(smooth.blue_slope, size) * lowest + guided.enlarge(smooth.blue_offset, size)
    sky *= rise(blue, SKY_BLUE)
    whole = seen.variance + finer
    share = sky * rise(np.asarray(cv2.sqrt(whole), np.float32), UNEVEN)
    thin = _thin(seen)
    sharp = thin / (np.asarray(cv2.sqrt(seen.variance), np.float32) + np.float32(FLAT))
    share *= np.maximum(rise(sharp, sharp_in(size, seen.side_px // 2)), rise(slope, WARM_IS_DARK))
    wanted = np.clip(slope * lowest + offset, 0, 1)
    contrast = highest - lowest
    least = wanted * np.float32(DARKEST - 1)
    least /= contrast + np.float32(FLAT)
    factor: Plane = np.clip(slope, -1, 1, out=slope)
    factor += np.float32(turned)
    factor *= guided.enlarge(smooth.sides, size)
    factor -= np.float32(turned)
    np.maximum(factor, least, out=factor)
    wanted += factor * (seen.mean - lowest)
    wanted -= base[0]
    wanted *= share
    wanted *= guided.enlarge(smooth.believed, size)
    factor -= base[1]
    factor *= share
    sky *= rise(contrast, NOISE)
    thin += finer
    whole += np.float32(FLAT**2)
    thin /= whole
    sky *= rise(thin, FINE)
    sky *= np.float32(-CALM)
    sky += 1
    factor += base[1]
    factor *= sky
    return base[0] + wanted, factor


def _among_leaves(
    seen: guided.Windows, within: _Within, base: tuple[Plane, Plane], smooth: SmoothTone
) -> Plane:
    """(h, w) float32: the factors, smaller where leaves would have black specks, see `GAP`."""
    size = (seen.luma.shape[0], seen.luma.shape[1])
    blue = guided.enlarge(smooth.blue_slope, size) * seen.mean + guided.enlarge(smooth.blue_offset, size)
    share = rise(blue, LEAVES)
    red = guided.enlarge(smooth.red_slope, size) * seen.mean + guided.enlarge(smooth.red_offset, size)
    share *= rise(red, NO_WALL)
    most = np.maximum(base[0], np.float32(FLAT)) * np.float32(1 - GAP)
    most /= np.maximum(np.abs(base[1]) * (seen.mean - within.lowest), np.float32(FLAT))
    share *= np.minimum(most, 1) - 1
    share += 1
    return base[1] * share


def _thin(seen: guided.Windows) -> Plane:
    """(h, w) float32: the mean square of each window's luma less its mean over half a window.

    Over the standard deviation 0.33 of the contrast of a wire of 1 pixel, 0.09 of an edge's, nothing of a
    slope's.
    """
    fine = seen.luma - guided.box(seen.luma, 2 * near_radius_px(seen.side_px // 2) + 1)
    return guided.box(np.multiply(fine, fine, out=fine), seen.side_px)


def sharp_in(size: tuple[int, ...], radius_px: int) -> tuple[float, float]:
    """`SHARP` in a picture (h, w) with windows of that radius: what bends over twice as many pixels, as a
    cloud does in a picture of twice the size, is an eighth as sharp."""
    part = min((radius_px * WINDOWS / max(size)) ** 3, COARSEST)
    return SHARP[0] * part, SHARP[1] * part


def near_radius_px(radius_px: int) -> int:
    """Of the windows of `_thin` whose mean is not thin, half of that of the others, at least 1."""
    return max(1, radius_px // 2)


def rise(values: Plane, between: tuple[float, float]) -> Plane:
    """(h, w) float32, new: 0 up to the first, 1 from the second on, which may be the smaller one."""
    begins, full = between
    scale = 1 / (full - begins)
    share = cv2.addWeighted(values, scale, values, 0.0, -begins * scale)
    # Three quarters of the time of numpy's clip, and the same values.
    cv2.threshold(share, 0.0, 0.0, cv2.THRESH_TOZERO, dst=share)
    return np.asarray(cv2.threshold(share, 1.0, 0.0, cv2.THRESH_TRUNC, dst=share)[1], np.float32)


def _way_back(seen: guided.Windows, within: _Within, base: Plane, factor: Plane) -> Plane:
    """(h, w) float32 by how much each window's base must give way for its detail to stay in [0, 1].

    What the sensor itself has clipped may stay so, and a bright surface before a dark one: see `SURFACES`.
    """
    finer = np.asarray(cv2.sqrt(within.finer), np.float32)
    darker = factor * (seen.mean - within.lowest + finer)
    brighter = factor * (within.highest - seen.mean + finer)
    below, above = np.maximum(darker, -brighter), np.maximum(brighter, -darker)
    low = np.minimum(np.clip(below, 0.0, 0.5, out=below), seen.mean)
    np.clip(above, 0.0, 0.5, out=above)
    above *= rise(within.highest - within.lowest, (SURFACES[1], SURFACES[0]))
    high = np.maximum(1 - above, seen.mean)
    return np.asarray(np.minimum(np.maximum(base, low), high) - base, np.float32)


def mean_square(luma: NDArray[np.uint8], size: tuple[int, ...]) -> Plane:
    """(h, w) float32 mean of the squared luma, [0, 1], over what each pixel of a smaller picture covers.

    From four samples a pixel: the windows that use it hold dozens, and all pixels would cost ten times that.
    """
    samples = cv2.resize(luma, (2 * size[1], 2 * size[0]), interpolation=cv2.INTER_NEAREST)
    square = np.square(samples, dtype=np.float32)
    small = cv2.resize(square, (size[1], size[0]), interpolation=cv2.INTER_AREA)
    return np.asarray(small * np.float32(1 / 255**2), np.float32)
