"""The ground, the hills and the sky of a synthetic scene."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from irchroma.stream.synthetic import light
from irchroma.stream.synthetic.canvas import FAR_M, Canvas, View
from irchroma.stream.synthetic.light import Material
from irchroma.stream.synthetic.texture import Plane, fractal, sample, smooth_edge, tile


@dataclass(frozen=True, slots=True)
class Layout:
    """The plan of a scene, in meters.

    Attributes:
        view: the camera.
        road_x: of the road's middle at the camera.
        bend: its sideways offset grows with this times z squared.
        half_road: half the width of the two lanes together.
        parking: width of the strip for parked cars on the left.
        walk: width of the pavements.
        crossing_z: distance of the zebra crossing.
        pond: (x, z, half width, half depth) of a pond.
    """

    view: View
    road_x: float
    bend: float
    half_road: float
    parking: float
    walk: float
    crossing_z: float
    pond: tuple[float, float, float, float]

    def road_at(self, z: Plane | float) -> Plane:
        """Sideways position of the road's middle at distance z."""
        z = np.asarray(z, np.float32)
        return np.asarray(self.road_x + self.bend * np.minimum(z, 160) ** 2, np.float32)

    def kerb_at(self, z: Plane | float, side: int) -> Plane:
        """Sideways position of the kerb: of the left one for side -1, the right one for 1."""
        return self.road_at(z) + side * self.half_road - (self.parking if side < 0 else 0)

    def beyond(self, x: Plane, z: Plane) -> Plane:
        """How far a place is from the road's middle, as if there were no parking strip."""
        side = x - self.road_at(z)
        return np.asarray(np.where(side > 0, side, -side - self.parking), np.float32)


def paint_ground(canvas: Canvas, layout: Layout, rng: np.random.Generator) -> None:
    """Meadow, road with marks, pavements and pond, in true perspective."""
    x, z = canvas.view.ground()
    first = int(np.argmax(z[:, 0] < FAR_M))  # nothing above it but a meadow that is far away
    canvas.surface[:first] = np.append(light.GRASS_BLADE.linear, np.float32(light.GRASS_BLADE.nir))
    canvas.heat[:first] = _heat_of(light.GRASS_BLADE)
    canvas.light[:first, :, 0] = light.SUN[1]
    canvas.labels[:first] = light.SKY
    canvas.depth[:first] = z[:first]
    _paint_near(canvas.below(first), layout, x[first:], z[first:], rng)


def _paint_near(canvas: Canvas, layout: Layout, x: Plane, z: Plane, rng: np.random.Generator) -> None:
    """The ground where its pixels have a place, `x` and `z` meters (H, W)."""
    pixel = z / canvas.view.focal_px  # meters across one pixel
    deep = pixel * np.maximum(z, 1) / canvas.view.height_m  # meters along one pixel, foreshortened
    fine, coarse = tile(rng, 512, 4, 2), tile(rng, 512, 128, 6)
    grain = sample(fine, x, z, 40.0) / (1 + (pixel * 14) ** 2)
    clumps = sample(coarse, x, z, 36.0) / (1 + (deep * 2) ** 2)
    patches = sample(coarse, x + 40, z, 4.0) / (1 + (deep / 12) ** 2)
    lawn = 0.9 * grain + 0.6 * clumps + 0.4 * patches

    _cover(canvas, np.ones_like(x), light.GRASS_BLADE)
    _cover(canvas, np.clip(0.16 + 0.22 * patches + 0.1 * clumps, 0, 0.75), light.DRY_GRASS)
    _vary(canvas, 0.19 * lawn, 0.13 * lawn, 0.5 * lawn)
    canvas.light[..., 0] = light.SUN[1] * (1 + np.clip(0.14 * lawn, -0.5, 0.5))
    canvas.labels[:] = light.GRASS

    _paint_pond(canvas, layout, x, z, grain + clumps)
    across = layout.beyond(x, z)
    _paint_walks(canvas, layout, x, z, across, (grain, clumps, patches))
    _paint_road(canvas, layout, x, z, (grain, clumps, patches), rng)
    canvas.depth[:] = z
    canvas.labels[z >= FAR_M] = light.SKY


def _cover(canvas: Canvas, coverage: Plane, material: Material, label: int | None = None) -> None:
    """Blend a material into the ground by coverage (H, W) in [0, 1]."""
    alpha = np.asarray(coverage, np.float32)
    fourfold = cv2.merge([alpha] * 4)
    _blend(canvas.surface, fourfold, np.append(material.linear, np.float32(material.nir)))
    _blend(canvas.heat, fourfold, _heat_of(material))
    if label is not None:
        canvas.labels[coverage > 0.5] = label


def _heat_of(material: Material) -> Plane:
    return np.array((material.celsius, material.gain, material.night, 0), np.float32)


def _blend(planes: Plane, alpha: Plane, goal: Plane) -> None:
    """Move (H, W, 4) planes toward (4,) values by (H, W, 4) shares, in place.

    Row by row of W * 4 numbers: numpy's loop over the last axis alone, of 4, takes three times as long.
    """
    rows, columns = planes.shape[:2]
    flat = planes.reshape(rows, columns * 4)
    flat += alpha.reshape(rows, columns * 4) * (np.tile(goal, columns) - flat)


def _vary(canvas: Canvas, rgb: Plane, nir: Plane, kelvin: Plane) -> None:
    in_rgb, in_nir = (np.clip(1 + by, 0.25, 2).astype(np.float32) for by in (rgb, nir))
    canvas.surface *= cv2.merge([in_rgb, in_rgb, in_rgb, in_nir])
    canvas.heat[..., 0] += kelvin
    canvas.heat[..., 2] += 0.6 * kelvin


def _paint_pond(canvas: Canvas, layout: Layout, x: Plane, z: Plane, ripple: Plane) -> None:
    px, pz, half_x, half_z = layout.pond
    round_ = ((x - px) / half_x) ** 2 + ((z - pz) / half_z) ** 2
    inside = smooth_edge((1 - round_ + 0.06 * ripple) * half_x * 0.5, np.maximum(z, 1) / canvas.view.focal_px)
    _cover(canvas, inside, light.WATER_BODY, light.WATER)
    glance = inside * np.clip(0.30 + 0.30 * (z - pz) / half_z + 0.05 * ripple, 0.05, 0.75)
    canvas.surface[..., :3] += glance[..., None] * (np.array([0.42, 0.55, 0.72], np.float32) * 0.8)
    canvas.surface[..., 3] += glance * 0.05
    rim = np.clip(1 - np.abs(round_ - 1.12) / 0.14, 0, 1) * (1 - inside)
    _cover(canvas, 0.7 * rim, light.DRY_GRASS)


def _paint_walks(
    canvas: Canvas, layout: Layout, x: Plane, z: Plane, across: Plane, noise: tuple[Plane, Plane, Plane]
) -> None:
    grain, clumps, patches = noise
    pixel = z / canvas.view.focal_px
    edge = layout.half_road + 0.18
    walk = smooth_edge(layout.walk / 2 - np.abs(across - edge - layout.walk / 2), pixel)
    _cover(canvas, walk, light.SLABS, light.PAVEMENT)
    joints = np.minimum(np.mod(z, 0.9) / 0.9, np.mod(across - edge, 0.75) / 0.75)
    line = walk * (joints < 0.045) / (1 + (pixel * 40) ** 2)
    _vary(canvas, -0.35 * line + walk * (0.05 * grain + 0.05 * clumps), -0.25 * line, walk * 0.5 * patches)
    kerb = smooth_edge(0.09 - np.abs(across - layout.half_road - 0.09), pixel)
    _cover(canvas, kerb, light.KERB, light.PAVEMENT)
    _vary(canvas, 0.07 * grain * kerb, 0.05 * grain * kerb, 0 * kerb)


def _paint_road(
    canvas: Canvas,
    layout: Layout,
    x: Plane,
    z: Plane,
    noise: tuple[Plane, Plane, Plane],
    rng: np.random.Generator,
) -> None:
    grain, clumps, patches = noise
    pixel = z / canvas.view.focal_px
    side = x - layout.road_at(z)
    road = smooth_edge(layout.half_road - layout.beyond(x, z), pixel)
    _cover(canvas, road, light.ASPHALT, light.ROAD)
    lane = np.abs(np.abs(side) - layout.half_road / 2)
    tracks = np.exp(-(((lane - 0.8) / 0.28) ** 2))  # two wheel tracks in each lane, polished and dark
    oil = np.exp(-((lane / 0.3) ** 2)) * (0.6 + 0.4 * np.clip(patches, -1, 1))
    stain = 0.07 * grain + 0.04 * clumps + 0.06 * patches - 0.10 * tracks - 0.09 * oil
    _vary(canvas, road * stain, road * 0.8 * stain, road * (0.4 * clumps + 0.8 * patches + 1.6 * tracks))
    cracks = np.abs(sample(tile(rng, 512, 90, 5), x, z, 22.0))
    thin = road * (cracks < 0.022) / (1 + (pixel * 30) ** 2)
    _vary(canvas, -0.35 * thin, -0.35 * thin, 1.2 * thin)

    worn = np.clip(0.86 + 0.10 * grain + 0.12 * clumps, 0.25, 1)
    clear = np.abs(z - layout.crossing_z) > 3.2
    dash = (np.mod(z, 9.0) < 3.2) & clear
    mark = smooth_edge(0.07 - np.abs(side), pixel) * dash
    mark = np.maximum(mark, smooth_edge(0.06 - np.abs(np.abs(side) - layout.half_road + 0.25), pixel) * clear)
    stripes = smooth_edge(0.25 - np.abs(np.mod(side + 0.5, 1.0) - 0.5), pixel)
    deep = pixel * np.maximum(z, 1) / canvas.view.height_m
    zebra = stripes * smooth_edge(1.6 - np.abs(z - layout.crossing_z), deep) * (np.abs(side) < 3.3)
    _cover(canvas, np.maximum(mark, zebra) * worn * road, light.MARKING)


def paint_hills(canvas: Canvas, rng: np.random.Generator) -> None:
    """Two wooded ridges and a far tree line along the horizon."""
    high, wide = canvas.view.size
    horizon = canvas.view.center_px[1]
    for distance, height, cell, material in (
        (2200.0, 0.105, 0.9, light.NEEDLE),
        (900.0, 0.060, 0.45, light.LEAF),
        (260.0, 0.034, 0.06, light.LEAF),
    ):
        ridge = fractal(rng, (3, wide), cell * wide, 7, 0.5)[1]
        top = horizon - high * height * (1 + 0.42 * ridge) - high * 0.004
        woods = fractal(rng, (high, wide), wide / (28 if distance < 500 else 60), 5, 0.75)
        first, last = max(0, int(top.min()) - 1), int(horizon + 3)
        rows = np.arange(first, last, dtype=np.float32)[:, None]
        cover = smooth_edge(rows - top[None, :], 1.5) * (rows < horizon + 2)
        _paint_ridge(canvas.below(first, last), cover, woods[first:last], distance, material)


def _paint_ridge(canvas: Canvas, cover: Plane, woods: Plane, distance: float, material: Material) -> None:
    """Woods where `cover` (H, W) in [0, 1] says, all at one distance in meters."""
    _cover(canvas, cover, material, light.TREE if distance < 500 else light.HILL)
    canvas.depth[cover > 0.5] = distance
    for channels, amount in ((np.s_[..., :3], 0.33), (np.s_[..., 3:], 0.22)):
        plane = canvas.surface[channels]
        plane *= np.clip(1 + amount * (cover * woods)[..., None], 0.2, 2)
    canvas.heat[..., 0] += 0.5 * cover * woods
    light_here = np.stack([0.62 + 0.25 * woods, 0.7 + 0 * woods], 2)
    canvas.light += cover[..., None] * (np.clip(light_here, 0.1, 1.2) - canvas.light)
