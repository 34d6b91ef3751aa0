"""The static part of a synthetic scene: surfaces painted in perspective, from far to near."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.stream.synthetic.light import Material
from irchroma.stream.synthetic.texture import Plane

FAR_M = 1e6


@dataclass(frozen=True, slots=True)
class View:
    """A camera that looks along z, level, from above the ground (a pinhole with a raised horizon).

    Attributes:
        size: (H, W) pixels.
        focal_px: focal length in pixels.
        center_px: (x, y) of the vanishing point.
        height_m: of the camera above the ground.
    """

    size: tuple[int, int]
    focal_px: float
    center_px: tuple[float, float]
    height_m: float

    def project(self, points: Plane) -> Plane:
        """(N, 3) meters (x right, y up, z forward) to (N, 2) pixels."""
        z = np.maximum(points[:, 2], 0.05)
        x = self.center_px[0] + self.focal_px * points[:, 0] / z
        y = self.center_px[1] + self.focal_px * (self.height_m - points[:, 1]) / z
        return np.stack([x, y], 1).astype(np.float32)

    def ground(self) -> tuple[Plane, Plane]:
        """World (x, z) in meters of the ground seen by each pixel; z is FAR_M above the horizon."""
        below = np.arange(self.size[0], dtype=np.float32)[:, None] + 0.5 - self.center_px[1]
        z = np.where(below > 0.2, self.focal_px * self.height_m / np.maximum(below, 0.2), FAR_M)
        x = (np.arange(self.size[1], dtype=np.float32)[None, :] + 0.5 - self.center_px[0]) / self.focal_px
        return (x * z).astype(np.float32), np.broadcast_to(z, self.size).astype(np.float32)


class Patch:
    """A flat piece of surface with its texture; every plane is (h, w) float32.

    Attributes:
        rgb: (h, w, 3) linear reflectance.
        nir: reflectance.
        celsius: temperature in the shade.
        gain: kelvin added by full sun.
        night: temperature by night, degrees Celsius.
        shade: relief, 1 = flat; multiplies the light.
        alpha: coverage.
    """

    def __init__(self, size: tuple[int, int], material: Material) -> None:
        self.rgb = np.empty((*size, 3), np.float32)
        self.thermal = np.empty((*size, 4), np.float32)
        self.nir = np.empty(size, np.float32)
        self.shade = np.ones(size, np.float32)
        self.alpha = np.ones(size, np.float32)
        self.fill(slice(None), slice(None), material)

    def fill(self, rows: slice, columns: slice, material: Material) -> None:
        """Cover a rectangle with a material."""
        self.rgb[rows, columns] = material.linear
        self.nir[rows, columns] = material.nir
        self.thermal[rows, columns] = (material.celsius, material.gain, material.night, 0)

    def blend(self, coverage: Plane, material: Material) -> None:
        """Cover with a material where `coverage` (h, w) in [0, 1] says so."""
        self.rgb += cv2.merge([coverage] * 3) * (material.linear - self.rgb)
        self.nir += coverage * (material.nir - self.nir)
        goal = np.array((material.celsius, material.gain, material.night, 0), np.float32)
        self.thermal += cv2.merge([coverage] * 4) * (goal - self.thermal)

    def vary(self, texture: Plane, rgb: float, nir: float, kelvin: float) -> None:
        """Modulate by a texture of standard deviation 1: relative in rgb and nir, absolute in heat."""
        self.rgb *= cv2.merge([np.maximum(1 + rgb * texture, 0.05)] * 3)
        self.nir *= np.maximum(1 + nir * texture, 0.05)
        self.thermal[..., 0] += kelvin * texture
        self.thermal[..., 2] += 0.6 * kelvin * texture


class Canvas:
    """All surfaces seen by one view, one value per pixel, before light and air are applied.

    Attributes:
        surface: (H, W, 4) float32 linear reflectance R, G, B and NIR.
        heat: (H, W, 4) float32: celsius in the shade, gain in the sun, celsius by night, unused.
        light: (H, W, 2) float32: direct sun (cosine times visibility) and the share of sky seen.
        depth: (H, W) float32 meters, FAR_M for the sky.
        labels: (H, W) uint8 classes.
    """

    def __init__(self, view: View) -> None:
        self.view = view
        self.surface: Plane = np.zeros((*view.size, 4), np.float32)
        self.heat: Plane = np.zeros((*view.size, 4), np.float32)
        self.light: Plane = np.ones((*view.size, 2), np.float32)
        self.depth = np.full(view.size, FAR_M, np.float32)
        self.labels = np.zeros(view.size, np.uint8)

    def below(self, first: int, last: int | None = None) -> Canvas:
        """The rows [first, last) as a canvas of their own that shares this one's memory and view."""
        part = Canvas.__new__(Canvas)
        part.view = self.view
        for name, plane in self.planes().items():
            setattr(part, name, plane[first:last])
        return part

    def planes(self) -> dict[str, NDArray[Any]]:
        """Everything that was painted, by name."""
        return {name: getattr(self, name) for name in ("surface", "heat", "light", "depth", "labels")}

    @classmethod
    def of(cls, view: View, planes: Mapping[str, NDArray[Any]]) -> Canvas:
        """A canvas as `planes` gave it; KeyError for one that is not there, ValueError for another size."""
        canvas = cls.__new__(cls)
        canvas.view = view
        for name in ("surface", "heat", "light", "depth", "labels"):
            plane = planes[name]
            if plane.shape[:2] != view.size:
                raise ValueError(f"expected planes of {view.size}, got {plane.shape}")
            setattr(canvas, name, plane)
        return canvas

    def paint(
        self, patch: Patch, transform: Plane, *, sun: float, sky: float, depth: Plane | float, label: int
    ) -> None:
        """Lay a patch on the canvas.

        Args:
            patch: what to paint.
            transform: (3, 3) from patch pixels to canvas pixels.
            sun: direct light on it, [0, 1].
            sky: share of the sky it sees, [0, 1].
            depth: meters, a number or a plane of the canvas's size.
            label: its class.
        """
        rows, columns = patch.alpha.shape
        corners = np.array([[[0, 0], [columns, 0], [columns, rows], [0, rows]]], np.float32)
        box = cv2.perspectiveTransform(corners, transform)[0]
        high, wide = self.view.size
        x0, y0 = np.clip(np.floor(box.min(0)), 0, (wide, high)).astype(int)
        x1, y1 = np.clip(np.ceil(box.max(0)) + 1, 0, (wide, high)).astype(int)
        if x1 <= x0 or y1 <= y0:
            return
        shift = np.array([[1, 0, -x0], [0, 1, -y0], [0, 0, 1]], np.float64) @ transform

        def warp(planes: Plane) -> Plane:
            size = (int(x1 - x0), int(y1 - y0))
            return np.asarray(cv2.warpPerspective(planes, shift, size, flags=cv2.INTER_AREA), np.float32)

        where = np.s_[y0:y1, x0:x1]
        coverage = warp(patch.alpha)
        alpha = coverage[..., None]
        filled = np.maximum(warp(np.ones_like(patch.alpha)), 1e-3)[..., None]
        surface = warp(np.dstack([patch.rgb, patch.nir])) / filled
        heat = warp(patch.thermal) / filled
        shade = warp(patch.shade)[..., None] / filled
        self.surface[where] += alpha * (surface - self.surface[where])
        self.heat[where] += alpha * (heat - self.heat[where])
        self.light[where] += alpha * (shade * np.array([sun, sky], np.float32) - self.light[where])
        solid = coverage > 0.5
        near = depth[where] if isinstance(depth, np.ndarray) else depth
        self.depth[where] = np.where(solid, near, self.depth[where])
        self.labels[where] = np.where(solid, label, self.labels[where])

    def thin(self) -> None:
        """Keep half of the memory: nothing more will be painted."""
        self.surface = self.surface.astype(np.float16)
        self.heat = self.heat.astype(np.float16)
        self.light = self.light.astype(np.float16)

    def quad(self, patch: Patch, corners_m: Plane, *, sun: float, sky: float, label: int) -> None:
        """Lay a patch on a rectangle in the world: (4, 3) meters, from its top left corner clockwise.

        The part nearer than the camera's near plane must have been cut off before.
        """
        rows, columns = patch.alpha.shape
        source = np.array([[0, 0], [columns, 0], [columns, rows], [0, rows]], np.float32)
        transform = cv2.getPerspectiveTransform(source, self.view.project(corners_m))
        self.paint(patch, transform, sun=sun, sky=sky, depth=float(corners_m[:, 2].mean()), label=label)

    def shadow(self, mask: Plane, corners_m: Plane, strength: float = 1.0) -> None:
        """Take the sun from the ground below a mask (h, w) in [0, 1] laid on four points of the world."""
        rows, columns = mask.shape
        source = np.array([[0, 0], [columns, 0], [columns, rows], [0, rows]], np.float32)
        corners = self.view.project(corners_m)
        transform = cv2.getPerspectiveTransform(source, corners)
        high, wide = self.view.size
        x0, y0 = np.clip(np.floor(corners.min(0)) - 2, 0, (wide, high)).astype(int)
        x1, y1 = np.clip(np.ceil(corners.max(0)) + 2, 0, (wide, high)).astype(int)
        if x1 <= x0 or y1 <= y0:
            return
        shift = np.array([[1, 0, -x0], [0, 1, -y0], [0, 0, 1]], np.float64) @ transform
        size = (int(x1 - x0), int(y1 - y0))
        dark = cv2.warpPerspective(mask, shift, size, flags=cv2.INTER_LINEAR)
        ground = self.light[y0:y1, x0:x1]
        ground[..., 0] *= 1 - strength * dark
        ground[..., 1] *= 1 - 0.25 * strength * dark
