"""Sun, sky, air and materials of the synthetic cameras: from surfaces to what each band records."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from irchroma.stream.synthetic.texture import Plane

LABELS = (
    "sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian",
    "bicyclist", "other", "grass", "water", "hill",
)  # fmt: skip
"""Classes of the label truth; 0 to 11 are numbered as in CamVid's maps."""
SKY, BUILDING, POLE, ROAD, PAVEMENT, TREE, SIGN, FENCE, CAR, PEDESTRIAN, _, OTHER, GRASS, WATER, HILL = range(
    15
)

SUN = np.array([0.62, 0.66, -0.42], np.float32)
"""Unit vector toward the sun: right, up, behind the camera (x right, y up, z forward)."""
SUN_RGB = np.array([1.00, 0.93, 0.80], np.float32)
SKY_RGB = np.array([0.17, 0.21, 0.29], np.float32)
SUN_NIR, SKY_NIR = 1.0, 0.14  # the clear sky is almost black beyond 700 nm, so NIR shadows are deep
HAZE_RGB = np.array([0.56, 0.64, 0.74], np.float32)
HAZE_NIR = 0.40
HAZE_M = {"rgb": 700.0, "nir": 1800.0, "thermal": 2500.0}
"""Distance at which haze hides 63 % of a thing, meters; infrared sees farther."""


@dataclass(frozen=True, slots=True)
class Material:
    """A surface.

    Attributes:
        rgb: sRGB color of a white-lit sample, [0, 255].
        nir: reflectance around 850 nm, [0, 1].
        celsius: temperature in the shade by day.
        gain: kelvin added by full sunlight.
        night: temperature by night, degrees Celsius.
    """

    rgb: tuple[int, int, int]
    nir: float
    celsius: float
    gain: float = 0.0
    night: float = 9.0

    @property
    def linear(self) -> Plane:
        """(3,) float32 linear reflectance."""
        return srgb_to_linear(np.array(self.rgb, np.float32) / 255)


ASPHALT = Material((104, 104, 107), 0.15, 16.5, 9.5, 9.5)
MARKING = Material((236, 234, 226), 0.70, 16, 9, 8.5)
SLABS = Material((176, 169, 158), 0.34, 15.5, 9, 8)
KERB = Material((196, 192, 184), 0.42, 15, 8, 7.5)
GRASS_BLADE = Material((92, 124, 48), 0.62, 12, 5, 2)
DRY_GRASS = Material((156, 148, 84), 0.50, 13, 8, 2.5)
WATER_BODY = Material((40, 62, 70), 0.025, 10, 0.5, 10)
LEAF = Material((70, 108, 38), 0.74, 12.5, 3, 6)
NEEDLE = Material((46, 78, 44), 0.50, 12, 3, 6)
BARK = Material((98, 80, 62), 0.36, 13, 5, 6)
METAL = Material((120, 126, 128), 0.32, 13, 6, 2)
GLASS = Material((52, 64, 74), 0.06, 6, 1, 4)
TYRE = Material((34, 34, 36), 0.05, 18, 4, 13)


def srgb_to_linear(encoded: Plane) -> Plane:
    """sRGB in [0, 1] to linear light. Reference: IEC 61966-2-1."""
    return np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4).astype(
        np.float32
    )


def linear_to_srgb(linear: Plane) -> Plane:
    """Linear light to sRGB in [0, 1]. Reference: IEC 61966-2-1."""
    linear = np.clip(linear, 0, 1)
    high = 1.055 * np.power(linear, 1 / 2.4, dtype=np.float32) - 0.055
    return np.where(linear <= 0.0031308, 12.92 * linear, high).astype(np.float32)


def expose_rgb(radiance: Plane) -> Plane:
    """Scene-linear (..., 3) to what a color camera stores: sRGB in [0, 255] with a soft shoulder."""
    x = 1.15 * np.maximum(radiance, 0)
    return 255 * linear_to_srgb(np.asarray(x * (1 + x / 4) / (1 + x), np.float32) * 1.18)


def expose_nir(radiance: Plane) -> Plane:
    """Scene-linear NIR to what a monochrome camera stores: gamma coded in [0, 255], soft shoulder."""
    x = 1.3 * np.maximum(radiance, 0)
    return 255 * linear_to_srgb(np.asarray(x * (1 + x / 4) / (1 + x), np.float32) * 1.05)


def haze_share(distance_m: Plane | float, band: str) -> Plane:
    """Share of a thing's radiance that the air replaces, [0, 1]."""
    return np.asarray(1 - np.exp(-np.asarray(distance_m, np.float32) / HAZE_M[band]), np.float32)


def haze_value(band: str) -> Plane:
    """The air's own color as stored: (3,) or (1,) in [0, 255], or degrees Celsius."""
    if band == "rgb":
        return expose_rgb(HAZE_RGB)
    if band == "nir":
        return expose_nir(np.array([HAZE_NIR], np.float32))
    return np.array([12.0], np.float32)


def spotlight(size: tuple[int, int], distance_m: Plane) -> Plane:
    """Light of the camera's own infrared lamp: (H, W) float32, 1 at the center of a wall 16 m off.

    It falls with the square of the distance and toward the picture's corners.
    """
    rows = np.linspace(-0.9, 1.1, size[0], dtype=np.float32)[:, None]
    columns = np.linspace(-1, 1, size[1], dtype=np.float32)[None, :]
    cone = np.exp(-1.5 * (rows**2 + columns**2))
    return np.asarray(cone * np.minimum((16 / np.maximum(distance_m, 4)) ** 2, 2.2), np.float32)
