"""A moving thing of a synthetic scene as seen in one pose, and how it is laid over a picture."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.stream import synthetic_light as light
from irchroma.stream.synthetic_canvas import Patch
from irchroma.stream.synthetic_light import Material
from irchroma.stream.synthetic_texture import Plane

LEVELS = 3


class Sprite:
    """One pose, as stored by each band, at three sizes.

    Attributes:
        size: (h, w) of the largest picture.
        label: class of what it shows.
    """

    def __init__(self, patch: Patch, label: int, *, sun: float, sky: float, night: bool) -> None:
        """Light a patch: `sun` and `sky` multiply its shade."""
        self.size = patch.alpha.shape
        self.label = label
        shade = patch.shade[..., None]
        radiance = patch.rgb * shade * (sun * light.SUN_RGB + sky * light.SKY_RGB)
        nir = patch.nir * patch.shade * (1.0 if night else sun * light.SUN_NIR + sky * light.SKY_NIR)
        celsius = (
            patch.thermal[..., 2] if night else patch.thermal[..., 0] + patch.thermal[..., 1] * patch.shade
        )
        planes = {
            "rgb": light.expose_rgb(radiance),
            "nir": light.expose_nir(nir)[..., None],
            "thermal": celsius[..., None],
        }
        self._levels = {band: _pyramid(plane, patch.alpha) for band, plane in planes.items()}

    def over(
        self,
        picture: Plane,
        band: str,
        transform: Plane,
        *,
        distance_m: float,
        depth: Plane | None,
        opacity: float = 1.0,
        gain: float = 1.0,
    ) -> None:
        """Lay it over a picture, in place.

        Args:
            picture: (H, W, C) float32, 3 channels for `rgb`, else 1.
            band: `rgb`, `nir` or `thermal`.
            transform: (2, 3) from sprite pixels to picture pixels.
            distance_m: hides it behind what is nearer, and puts haze before it.
            depth: (H, W) meters of the static scene, None to hide nothing.
            opacity: fades it.
            gain: multiplies its values (a lamp's light).
        """
        warped, where = self._warp(band, transform, picture.shape[:2])
        if warped is None:
            return
        alpha = warped[..., -1:] * opacity
        if depth is not None:
            alpha *= (depth[where] > distance_m)[..., None]
        value = warped[..., :-1] / np.maximum(warped[..., -1:], 1e-3)
        share = float(light.haze_share(distance_m, band))
        value = value * ((1 - share) * gain) + share * gain * light.haze_value(band)
        below = picture[where]
        below += alpha * (value - below)

    def coverage(self, transform: Plane, size: tuple[int, int]) -> tuple[Plane | None, tuple[slice, slice]]:
        """Its alpha in a picture of `size`, and where that lies."""
        warped, where = self._warp("nir", transform, size)
        return (None if warped is None else warped[..., -1]), where

    def _warp(
        self, band: str, transform: Plane, size: tuple[int, int]
    ) -> tuple[Plane | None, tuple[slice, slice]]:
        rows, columns = self.size
        corners = np.array([[0, columns, columns, 0], [0, 0, rows, rows], [1, 1, 1, 1]], np.float64)
        box = transform @ corners
        x0, y0 = max(int(np.floor(box[0].min())), 0), max(int(np.floor(box[1].min())), 0)
        x1 = min(int(np.ceil(box[0].max())) + 1, size[1])
        y1 = min(int(np.ceil(box[1].max())) + 1, size[0])
        where = np.s_[y0:y1, x0:x1]
        if x1 <= x0 or y1 <= y0:
            return None, where
        scale = np.sqrt(abs(transform[0, 0] * transform[1, 1] - transform[0, 1] * transform[1, 0]))
        level = 0
        while level < LEVELS - 1 and scale * 2 ** (level + 1) <= 1.1:
            level += 1
        moved = np.array(transform, np.float64)
        moved[:, :2] *= 2**level
        moved[:, 2] += moved[:, :2] @ (0.5, 0.5) - 0.5 * np.array([1.0, 1.0]) - (x0, y0)
        warped = cv2.warpAffine(self._levels[band][level], moved, (x1 - x0, y1 - y0), flags=cv2.INTER_LINEAR)
        return np.asarray(warped, np.float32), where


def _pyramid(plane: Plane, alpha: Plane) -> list[Plane]:
    """Premultiplied planes with alpha last, at full, half and quarter size."""
    full = np.ascontiguousarray(np.dstack([plane * alpha[..., None], alpha]), np.float32)
    levels = [full]
    for _ in range(LEVELS - 1):
        last = levels[-1]
        half = (max(last.shape[1] // 2, 1), max(last.shape[0] // 2, 1))
        levels.append(np.asarray(cv2.resize(last, half, interpolation=cv2.INTER_AREA), np.float32))
    return levels


def patch_of_parts(parts: NDArray[np.uint8], shade: NDArray[np.uint8], table: tuple[Material, ...]) -> Patch:
    """A patch from a map of material numbers (0 = nothing) and a shade map, drawn at twice its size.

    Args:
        parts: (2h, 2w) uint8, 1 + index into `table`.
        shade: (2h, 2w) uint8, 128 = shade 1.
        table: the materials.
    """
    rows, columns = parts.shape[0] // 2 * 2, parts.shape[1] // 2 * 2
    parts, shade = parts[:rows, :columns], shade[:rows, :columns]
    colors = np.zeros((256, 8), np.float32)
    for number, material in enumerate(table, 1):
        colors[number, :3] = material.linear
        colors[number, 3:7] = (material.nir, material.celsius, material.gain, material.night)
        colors[number, 7] = 1
    light_ = shade.astype(np.float32)[..., None] / 128
    planes = colors[parts]  # (2h, 2w, 8)
    alpha = planes[..., 7:]
    small = (columns // 2, rows // 2)

    def shrink(plane: Plane) -> Plane:
        return np.asarray(cv2.resize(plane, small, interpolation=cv2.INTER_AREA), np.float32)

    cover = shrink(alpha)
    safe = np.maximum(cover, 1e-3)[..., None]
    patch = Patch((small[1], small[0]), table[0])
    patch.rgb[:] = shrink(planes[..., :3]) / safe
    patch.nir[:] = shrink(planes[..., 3]) / safe[..., 0]
    patch.thermal[..., :3] = shrink(planes[..., 4:7]) / safe
    patch.shade[:] = shrink(light_ * alpha) / safe[..., 0]
    patch.alpha[:] = cover
    return patch
