"""A moving thing of a synthetic scene as seen in one pose, and how it is laid over a picture."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.stream.synthetic import light
from irchroma.stream.synthetic.canvas import Patch
from irchroma.stream.synthetic.light import Material
from irchroma.stream.synthetic.texture import Plane

LEVELS = 3
OPAQUE = {"rgb": 255, "nir": 255, "thermal": 60000}
"""Full coverage as stored: small integers, because a scene keeps hundreds of poses."""
COLDEST_CELSIUS, STEPS_PER_KELVIN = -100.0, 200  # how the thermal band is stored in 16 bits

Stored = NDArray[np.uint8] | NDArray[np.uint16]


class Sprite:
    """One pose, as stored by each band, at three sizes.

    Attributes:
        size: (h, w) of the patch that it was made from; transforms start from its pixels.
        label: class of what it shows.
    """

    def __init__(self, patch: Patch, label: int, *, sun: float, sky: float, night: bool) -> None:
        """Light a patch: `sun` and `sky` multiply its shade."""
        self.size = patch.alpha.shape
        self.label = label
        box = _filled(patch.alpha)
        self._origin = np.array([box[1].start, box[0].start], np.float64)
        alpha, shade, heat = patch.alpha[box], patch.shade[box], patch.thermal[box]
        radiance = patch.rgb[box] * shade[..., None] * (sun * light.SUN_RGB + sky * light.SKY_RGB)
        nir = patch.nir[box] * shade * (1.0 if night else sun * light.SUN_NIR + sky * light.SKY_NIR)
        celsius = heat[..., 2] if night else heat[..., 0] + heat[..., 1] * shade
        code = (celsius - COLDEST_CELSIUS) * STEPS_PER_KELVIN
        planes = {"rgb": light.expose_rgb(radiance), "nir": light.expose_nir(nir)[..., None]}
        planes["thermal"] = code[..., None]
        self._levels = {band: _pyramid(plane, alpha, OPAQUE[band]) for band, plane in planes.items()}

    def over(
        self,
        picture: Plane,
        band: str,
        transform: Plane,
        *,
        distance_m: float,
        depth: Plane,
        opacity: float = 1.0,
        gain: float = 1.0,
    ) -> None:
        """Lay it over a picture, in place.

        Args:
            picture: (H, W, C) float32, 3 channels for `rgb`, else 1.
            band: `rgb`, `nir` or `thermal`.
            transform: (2, 3) from sprite pixels to picture pixels.
            distance_m: hides it behind what is nearer, and puts haze before it.
            depth: (H, W) meters of the static scene.
            opacity: fades it.
            gain: multiplies its values (a lamp's light).
        """
        warped, where = self._warp(band, transform, picture.shape[:2])
        if warped is None:
            return
        warped *= (opacity * (depth[where] > distance_m)).astype(np.float32)[..., None]
        alpha = warped[..., -1:] * np.float32(1 / OPAQUE[band])
        value = warped[..., :-1]  # times alpha
        if band == "thermal":
            value = value * np.float32(1 / STEPS_PER_KELVIN) + np.float32(COLDEST_CELSIUS) * alpha
        share = float(light.haze_share(distance_m, band))
        below = picture[where]
        below *= 1 - alpha
        below += value * np.float32((1 - share) * gain) + alpha * (share * gain * light.haze_value(band))

    def coverage(self, transform: Plane, size: tuple[int, int]) -> tuple[Plane | None, tuple[slice, slice]]:
        """Its alpha in a picture of `size`, and where that lies."""
        warped, where = self._warp("nir", transform, size)
        return (None if warped is None else warped[..., -1] * np.float32(1 / OPAQUE["nir"])), where

    def _warp(
        self, band: str, transform: Plane, size: tuple[int, int]
    ) -> tuple[Plane | None, tuple[slice, slice]]:
        rows, columns = self._levels[band][0].shape[:2]
        turn, start = np.asarray(transform[:, :2], np.float64), transform[:, 2]
        corners = np.array([[0, columns, columns, 0], [0, 0, rows, rows]], np.float64)
        box = turn @ (corners + self._origin[:, None]) + start[:, None]
        x0, y0 = max(int(np.floor(box[0].min())), 0), max(int(np.floor(box[1].min())), 0)
        x1 = min(int(np.ceil(box[0].max())) + 1, size[1])
        y1 = min(int(np.ceil(box[1].max())) + 1, size[0])
        where = np.s_[y0:y1, x0:x1]
        if x1 <= x0 or y1 <= y0:
            return None, where
        scale = np.sqrt(abs(np.linalg.det(turn)))
        level = 0
        while level < LEVELS - 1 and scale * 2 ** (level + 1) <= 1.1:
            level += 1
        first = turn @ (self._origin + 0.5 * 2**level) + start - 0.5 - (x0, y0)  # center of the first pixel
        moved = np.column_stack([turn * 2**level, first])
        warped = cv2.warpAffine(self._levels[band][level], moved, (x1 - x0, y1 - y0), flags=cv2.INTER_LINEAR)
        return np.asarray(warped, np.float32), where


def _filled(alpha: Plane) -> tuple[slice, slice]:
    """The smallest box that holds all that can be seen; one pixel where there is nothing."""
    ends = []
    for axis in (1, 0):
        found = np.flatnonzero(alpha.max(axis) > 0.002)
        ends.append(slice(int(found[0]), int(found[-1]) + 1) if found.size else slice(0, 1))
    return ends[0], ends[1]


def _pyramid(plane: Plane, alpha: Plane, opaque: int) -> list[Stored]:
    """Premultiplied planes with alpha last, at full, half and quarter size; sides divide by 4."""
    rows, columns, channels = plane.shape
    grid = (-(-rows // 4) * 4, -(-columns // 4) * 4, channels + 1)
    full = np.zeros(grid, np.float32)
    full[:rows, :columns, :-1] = plane * alpha[..., None]
    full[:rows, :columns, -1] = alpha * opaque
    levels: list[Stored] = []
    for level in range(LEVELS):
        size = (grid[1] >> level, grid[0] >> level)
        small = np.rint(cv2.resize(full, size, interpolation=cv2.INTER_AREA))
        levels.append(small.astype(np.uint8 if opaque == 255 else np.uint16))
    return levels


def patch_of_parts(parts: NDArray[np.uint8], shade: NDArray[np.uint8], table: tuple[Material, ...]) -> Patch:
    """A patch from a map of material numbers (0 = nothing) and a shade map, drawn at twice its size.

    Args:
        parts: (2h, 2w) uint8, 1 + index into `table`.
        shade: (2h, 2w) uint8, 128 = shade 1.
        table: the materials.
    """
    small = (parts.shape[1] // 2, parts.shape[0] // 2)
    codes = np.zeros((256, 8), np.uint16)  # 16 bits shrink twice as fast as floats
    for number, material in enumerate(table, 1):
        heat = np.array((material.celsius, material.gain, material.night)) - COLDEST_CELSIUS
        codes[number, :4] = np.rint(np.append(material.linear, material.nir) * 60000)
        codes[number, 4:] = np.rint(np.append(heat * STEPS_PER_KELVIN, 60000))

    def shrink(plane: NDArray[np.uint16]) -> Plane:
        inside = plane[: small[1] * 2, : small[0] * 2]
        return np.asarray(cv2.resize(inside, small, interpolation=cv2.INTER_AREA), np.float32)

    surface, rest = shrink(codes[:, :4][parts]), shrink(codes[:, 4:][parts])
    lit = shrink(shade.astype(np.uint16) * 256 * (parts > 0))
    cover = rest[..., 3:] / 60000
    safe = np.maximum(cover, 1e-3)
    patch = Patch((small[1], small[0]), table[0])
    patch.rgb[:] = surface[..., :3] / (60000 * safe)
    patch.nir[:] = surface[..., 3] / (60000 * safe[..., 0])
    patch.thermal[..., :3] = rest[..., :3] / (STEPS_PER_KELVIN * safe) + COLDEST_CELSIUS
    patch.shade[:] = lit / (128 * 256 * safe[..., 0])
    patch.alpha[:] = cover[..., 0]
    return patch
