"""A smooth place takes color and tone from smooth places further from edges: halos beside trees go.

Where twigs end before a sky as bright as they are, luma leads no filter, and a network's tone and color blur
over a dozen pixels. The sensor's local texture tells the two sides apart. So the network's picture is modeled
on the luma of what is smooth all around, and smooth places show the model; textured ones keep what the
network says. The tone's model is led towards the sensor's own slope: nothing that it saw is flattened.

Reference: K. He, J. Sun, X. Tang, Guided Image Filtering, TPAMI 35(6), 2013, eq. 5-8, with weights in the
windows' sums; models are made small and applied larger as in K. He, J. Sun, Fast Guided Filter, 2015.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.engines.recolor import guided

RADIUS_PX, AROUND_PX, FINE_PX = 6, 1, 1
"""Windows in which smooth places are modeled, and those whose texture says that a place lies in smooth
surroundings, both in fours of work pixels; whose texture says that it is smooth itself, in twos."""
CONTRAST = 0.02
"""Standard deviation of luma in a window, part of full scale, above which luma tells surfaces apart."""
SMOOTH = 0.03
"""Texture, standard deviation of luma, at which a place gives and takes a quarter of the model: with
half of it conifers come out gray."""
FEWEST = 0.003
"""Weight of what is not smooth at all, so that every window has a model."""
ENOUGH = 0.02
"""Mean weight of a window at which half of its model is believed."""
SIDES, ALIKE_SIDES = 0.18, 0.07
"""Standard deviation of luma among a window's smooth places at which they are as likely two surfaces, such as
a hill and its sky, as one; and where the warmer is shown the brighter, as a cloud is."""
ALIKE_SLOPE = (-0.3, 0.1)
"""Slope of Y' in luma where the second of them begins to hold, and where it does."""

Plane = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class SmoothTone:
    """The tone and color of smooth places around, at a quarter of the work size.

    Attributes:
        slope: (h, w) float32 of Y' in luma.
        offset: (h, w) float32, part of full scale.
        blue_slope, blue_offset: (h, w) float32, the same of Cb.
        red_slope, red_offset: (h, w) float32, the same of Cr.
        believed: (h, w) float32 in [0, 1), how far.
        sides: (h, w) float32 in [0, 1), 1 where they are two surfaces, see `SIDES`.
    """

    slope: Plane
    offset: Plane
    blue_slope: Plane
    blue_offset: Plane
    red_slope: Plane
    red_offset: Plane
    believed: Plane
    sides: Plane


def lead_by_smooth_places(
    guide: Plane, planes: tuple[Plane, Plane, Plane], halved: bool, lead: float = 1.0, part: float = 1.0
) -> SmoothTone:
    """Move Y', Cb and Cr (h, w) float32 in place, in smooth places to what smooth places around have.

    Args:
        guide: (h, w) float32 luma, [0, 1], at work size.
        planes: Y', Cb, Cr.
        halved: all have half the work size.
        lead: slope of Y' in luma that a window without edges is given.
        part: of the way that they are moved.

    Returns:
        The tone that smooth places around have, as the planes said it before.
    """
    small = guide if halved else _half(guide)
    fine = np.asarray(cv2.merge(planes if halved else [_half(plane) for plane in planes]), np.float32)
    size, near = (small.shape[0], small.shape[1]), 2 * FINE_PX + 1
    square = small * small
    slope, offset, believed, sides = _models(small, square, fine, lead)
    moves = guided.enlarge(slope, size)
    moves *= _thrice(small)
    moves += guided.enlarge(offset, size)
    moves -= fine
    share = _smoothness(guided.box(small, near), guided.box(square, near))
    moves *= _thrice(share * guided.enlarge(believed * np.float32(part), size))
    for plane, move in zip(planes, cv2.split(moves), strict=True):
        plane += move if halved else guided.enlarge(move, (guide.shape[0], guide.shape[1]))
    slopes, offsets = ([np.asarray(one, np.float32) for one in cv2.split(of)] for of in (slope, offset))
    tone, blue, red = zip(slopes, offsets, strict=True)
    return SmoothTone(*tone, *blue, *red, believed, sides)


def _models(small: Plane, square: Plane, fine: Plane, lead: float) -> tuple[Plane, Plane, Plane, Plane]:
    """Slopes and offsets (h, w, 3) in the luma of smooth places around, of half the size; how far they are
    believed, and whether they are two surfaces, (h, w) in [0, 1]."""
    side, around = 2 * RADIUS_PX + 1, 2 * AROUND_PX + 1
    luma, value = _half(small), _half(fine)
    source = _smoothness(guided.box(luma, around), guided.box(_half(square), around)) + np.float32(FEWEST)
    total = guided.box(source, side)
    # From here on in threes, for Y', Cb and Cr: a third of the calls.
    source, luma, whole = _thrice(source), _thrice(luma), _thrice(total)
    mean = guided.box(source * luma, side) / whole
    variance = guided.above_zero(guided.box(source * luma * luma, side) / whole - mean * mean)
    source *= value
    middle = guided.box(source, side) / whole
    common = guided.box(source * luma, side) / whole - middle * mean
    spread = guided.box(source * value, side) / whole - middle * middle
    slope = np.asarray(cv2.add(common, (lead * CONTRAST**2, 0, 0, 0)), np.float32)
    slope /= variance + np.float32(CONTRAST**2)
    residual = guided.above_zero(spread + slope * (slope * variance - 2 * common))
    weight = whole * (np.float32(guided.MISFIT) / (residual + np.float32(guided.MISFIT)))
    offset = (middle - slope * mean) * weight
    slope *= weight
    whole = guided.box(weight, side)
    believed: Plane = total / (total + np.float32(ENOUGH))
    slope, offset = guided.box(slope, side) / whole, guided.box(offset, side) / whole
    alike = np.asarray(cv2.extractChannel(slope, 0), np.float32) - np.float32(ALIKE_SLOPE[0])
    alike *= np.float32(1 / (ALIKE_SLOPE[1] - ALIKE_SLOPE[0]))
    limit = np.clip(alike, 0, 1) * np.float32(ALIKE_SIDES**4 - SIDES**4) + np.float32(SIDES**4)
    apart = np.asarray(cv2.extractChannel(variance, 0), np.float32)
    apart *= apart
    sides: Plane = apart / (apart + limit)
    return slope, offset, believed, sides


def _smoothness(mean: Plane, square: Plane) -> Plane:
    """(h, w) in (0, 1] of windows' means of a luma and of its square."""
    limit = np.float32(SMOOTH**2)
    part: Plane = limit / (limit + np.maximum(square - mean * mean, 0))
    return part * part


def _thrice(plane: Plane) -> Plane:
    return np.asarray(cv2.merge([plane, plane, plane]), np.float32)


def _half(values: Plane) -> Plane:
    size = ((values.shape[1] + 1) // 2, (values.shape[0] + 1) // 2)
    return np.asarray(cv2.resize(values, size, interpolation=cv2.INTER_AREA), np.float32)
