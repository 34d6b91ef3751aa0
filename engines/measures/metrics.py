"""Measures of a colored picture against its truth and against what the sensor saw, on uint8 R'G'B'.

scikit-image is imported by the functions that need it (`pip install irchroma[evaluate]`), so that
importing this module stays cheap.

Whether a network errs less where it says that it is sure.
"""

from __future__ import annotations

import importlib
import math
from dataclasses import asdict, dataclass, fields
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.engines.errors import EngineUnavailable
from irchroma.engines.measures import natural, natural_truth

HUE_TRUTH_CHROMA = 12.0
"""C*ab above which a pixel of the truth counts as colored."""
HUE_OUTPUT_CHROMA = 6.0
"""C*ab that the output needs at such a pixel to have a hue at all."""
HUE_TOLERANCE_DEGREES = 45.0
DETAIL_WINDOW_PX = 7
DETAIL_MIN_SD = 4.0
"""Gray levels (of 255) of input standard deviation above which a window holds detail."""
DAYTIME_LEVEL = 150.0
"""Mean luma of the upper third above which a picture from a car counts as taken by day."""


@dataclass(frozen=True, slots=True)
class Scores:
    """Every measure of one picture; NaN where one has no meaning (no colored pixel, no textured window).

    Attributes:
        psnr_db: decibels, over all three channels.
        ssim: scikit-image's `structural_similarity` with its defaults.
        ciede2000: mean color difference.
        colorfulness: of the output, after Hasler and Süsstrunk.
        truth_colorfulness: of the truth.
        hue_agreement: share of the truth's colored pixels whose hue comes out right, [0, 1].
        detail_kept: of the input's detail, mean over textured windows, [0, 1].
        detail_kept_worst_tenth: the same, mean over the worst tenth of the windows.
        edges_kept: share of the input's edges, whichever of their sides has become the brighter one, [0, 1].
        unnatural: share of pixels whose hue photographs hardly ever have there, see `natural.unnatural`.
        halo: gray levels by which smooth places beside strong edges are off, see `natural.halo`.
        natural_ciede2000: mean color difference from the natural truth, see `natural_truth`.
        natural_hue_agreement: as `hue_agreement`, with the natural truth.
    """

    psnr_db: float
    ssim: float
    ciede2000: float
    colorfulness: float
    truth_colorfulness: float
    hue_agreement: float
    detail_kept: float
    detail_kept_worst_tenth: float
    edges_kept: float
    unnatural: float
    halo: float
    natural_ciede2000: float
    natural_hue_agreement: float

    def as_dict(self) -> dict[str, float]:
        """Name -> value, in the order above."""
        return asdict(self)


def score(
    rgb: NDArray[np.uint8], truth: NDArray[np.uint8], luma: NDArray[np.uint8], nir: bool = True
) -> Scores:
    """Every measure of one colored picture.

    Args:
        rgb: (H, W, 3) uint8 R'G'B' full range, the output.
        truth: (H, W, 3) uint8, the color picture of the same scene.
        luma: (H, W) uint8, the input.
        nir: whether the input is near infrared, which says what is foliage in the natural truth.
    """
    lab, truth_lab = rgb_to_lab(rgb), rgb_to_lab(truth)
    natural_lab = rgb_to_lab(natural_truth.natural(truth, luma if nir else None))
    kept, worst = detail_kept(luma, rgb)
    return Scores(
        psnr_db=psnr(rgb, truth),
        ssim=ssim(rgb, truth),
        ciede2000=_lab_ciede2000(lab, truth_lab),
        colorfulness=colorfulness(rgb),
        truth_colorfulness=colorfulness(truth),
        hue_agreement=_lab_hue_agreement(lab, truth_lab),
        detail_kept=kept,
        detail_kept_worst_tenth=worst,
        edges_kept=edges_kept(luma, rgb),
        unnatural=natural.unnatural(rgb),
        halo=natural.halo(rgb, truth, luma),
        natural_ciede2000=_lab_ciede2000(lab, natural_lab),
        natural_hue_agreement=_lab_hue_agreement(lab, natural_lab),
    )


def mean_scores(scores: list[Scores]) -> Scores:
    """The mean of each measure over the pictures where it has a meaning (infinite PSNR left out too)."""
    means: dict[str, float] = {}
    for field in fields(Scores):
        values = [value for value in (getattr(one, field.name) for one in scores) if math.isfinite(value)]
        means[field.name] = float(np.mean(values)) if values else math.nan
    return Scores(**means)


def psnr(rgb: NDArray[np.uint8], truth: NDArray[np.uint8]) -> float:
    """Peak signal-to-noise ratio in dB over all values, peak 255; infinite for equal pictures."""
    _check_same(rgb, truth)
    squared = float(np.mean((rgb.astype(np.float64) - truth.astype(np.float64)) ** 2))
    return math.inf if squared == 0 else 10.0 * math.log10(255.0**2 / squared)


def ssim_within(luma: NDArray[np.uint8], truth: NDArray[np.uint8], mask: NDArray[np.bool_]) -> float:
    """Structural similarity as `ssim`, its map's mean where the mask is true.

    Args:
        luma: (H, W) uint8, the output.
        truth: (H, W) uint8.
        mask: (H, W) bool.
    """
    _check_same(luma, truth)
    found = _skimage("metrics").structural_similarity(luma, truth, data_range=255, full=True)[1]
    return float(found[mask].mean())


def ssim(rgb: NDArray[np.uint8], truth: NDArray[np.uint8]) -> float:
    """Structural similarity, mean over channels, as scikit-image computes it by default (7x7 windows).

    NaN for pictures smaller than the window.
    """
    _check_same(rgb, truth)
    if min(rgb.shape[:2]) < 7:
        return math.nan
    metrics = _skimage("metrics")
    return float(metrics.structural_similarity(rgb, truth, channel_axis=2, data_range=255))


def ciede2000(rgb: NDArray[np.uint8], truth: NDArray[np.uint8]) -> float:
    """Mean CIEDE2000 color difference; 1 is about a just noticeable one."""
    return _lab_ciede2000(rgb_to_lab(rgb), rgb_to_lab(truth))


def colorfulness(rgb: NDArray[np.uint8]) -> float:
    """How colorful a picture looks: 0 gray, 15 slightly, 33 moderately, 45 averagely, 59 quite.

    Reference: D. Hasler, S. Süsstrunk, Measuring colourfulness in natural images, SPIE 5007, 2003.
    """
    red, green, blue = np.moveaxis(rgb.astype(np.float64), 2, 0)
    red_green = red - green
    yellow_blue = 0.5 * (red + green) - blue
    spread = math.hypot(float(red_green.std()), float(yellow_blue.std()))
    return spread + 0.3 * math.hypot(float(red_green.mean()), float(yellow_blue.mean()))


def hue_agreement(rgb: NDArray[np.uint8], truth: NDArray[np.uint8]) -> float:
    """Share of the truth's colored pixels (C* > 12) that come out with C* > 6 and hue within 45 degrees.

    CIELAB, D65. NaN where the truth has no colored pixel.
    """
    _check_same(rgb, truth)
    return _lab_hue_agreement(rgb_to_lab(rgb), rgb_to_lab(truth))


def detail_kept(luma: NDArray[np.uint8], rgb: NDArray[np.uint8]) -> tuple[float, float]:
    """How much of what the sensor saw is still in the colored picture.

    In every 7x7 window whose input standard deviation exceeds 4 of 255 levels: |correlation| of input
    and output luma times min(1, sd_out / sd_in). A gray copy has 1, an inverted one too.

    Args:
        luma: (H, W) uint8, the input.
        rgb: (H, W, 3) uint8 R'G'B', the output; its luma is BT.601 Y'.

    Returns:
        The mean over those windows and the mean of their worst tenth, NaN where there is none.
    """
    if luma.shape != rgb.shape[:2]:
        raise ValueError(f"expected pictures of one size, got luma {luma.shape} and rgb {rgb.shape}")
    if min(luma.shape) < DETAIL_WINDOW_PX:
        return math.nan, math.nan
    before = luma.astype(np.float64)
    after = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float64)
    mean_before, mean_after = _window_mean(before), _window_mean(after)
    variance_before = np.maximum(_window_mean(before * before) - mean_before**2, 0.0)
    textured = variance_before > DETAIL_MIN_SD**2
    if not textured.any():
        return math.nan, math.nan
    variance_after = np.maximum(_window_mean(after * after) - mean_after**2, 0.0)[textured]
    covariance = (_window_mean(before * after) - mean_before * mean_after)[textured]
    variance_before = variance_before[textured]
    correlation = np.zeros_like(covariance)
    varied = variance_after > 1e-6  # below, the window is constant up to rounding
    correlation[varied] = np.abs(covariance[varied]) / np.sqrt(
        variance_before[varied] * variance_after[varied]
    )
    kept = np.minimum(correlation, 1.0) * np.minimum(1.0, np.sqrt(variance_after / variance_before))
    tenth = max(1, kept.size // 10)
    return float(kept.mean()), float(np.partition(kept, tenth - 1)[:tenth].mean())


def edges_kept(luma: NDArray[np.uint8], rgb: NDArray[np.uint8]) -> float:
    """How much of the input's edges is in the colored picture, pixel by pixel and apart from their sign.

    Each pixel's slope (Sobel's, 3x3) of the input counts by its strength: how much of the strength the output
    has there, times how nearly it runs along the same line. Where one edge of a window is turned around and
    the one beside it is not, `detail_kept` finds them contradict each other; this does not. It is milder to
    noise and blur: noise alone has 0.45.

    Args:
        luma: (H, W) uint8, the input.
        rgb: (H, W, 3) uint8 R'G'B', the output; its luma is BT.601 Y'.

    Returns:
        [0, 1]: 1 for a copy or a negative, 0 for a flat picture; NaN where the input has no slope.

    Reference: Xydeas, Petrovic, Objective image fusion performance measure, Electronics Letters 36(4), 2000,
    equations 1 to 4 and 7, of one input. Different: what is stronger than in the input counts as kept, as in
    `detail_kept`, and the two sigmoids behind are left out, so that half of the contrast is a half.
    """
    if luma.shape != rgb.shape[:2]:
        raise ValueError(f"expected pictures of one size, got luma {luma.shape} and rgb {rgb.shape}")
    across, down = (cv2.Sobel(luma, cv2.CV_64F, *axes) for axes in ((1, 0), (0, 1)))
    after = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    across_after, down_after = (cv2.Sobel(after, cv2.CV_64F, *axes) for axes in ((1, 0), (0, 1)))
    strength = np.hypot(across, down)
    if not strength.any():
        return math.nan
    kept = np.minimum(np.hypot(across_after, down_after), strength)  # the ratio, times the weight
    turned = np.arctan2(
        np.abs(across * down_after - down * across_after), np.abs(across * across_after + down * down_after)
    )
    return float((kept * (1.0 - turned / (math.pi / 2))).sum() / strength.sum())


def taken_by_day(truth: NDArray[np.uint8]) -> bool:
    """True where the upper third of a picture from a car is brighter than 150 of 255 on average."""
    sky = cv2.cvtColor(truth[: max(1, truth.shape[0] // 3)], cv2.COLOR_RGB2GRAY)
    return float(sky.mean()) > DAYTIME_LEVEL


def rgb_to_lab(rgb: NDArray[np.uint8]) -> NDArray[np.float64]:
    """(H, W, 3) float64 CIELAB under D65, 2 degree observer, from uint8 sRGB."""
    return np.asarray(_skimage("color").rgb2lab(rgb), np.float64)


def _lab_ciede2000(lab: NDArray[np.float64], truth_lab: NDArray[np.float64]) -> float:
    return float(np.mean(_skimage("color").deltaE_ciede2000(lab, truth_lab)))


def _lab_hue_agreement(lab: NDArray[np.float64], truth_lab: NDArray[np.float64]) -> float:
    a, b = lab[..., 1], lab[..., 2]
    truth_a, truth_b = truth_lab[..., 1], truth_lab[..., 2]
    chroma, truth_chroma = np.hypot(a, b), np.hypot(truth_a, truth_b)
    colored = truth_chroma > HUE_TRUTH_CHROMA
    if not colored.any():
        return math.nan
    cosine = (a * truth_a + b * truth_b)[colored]
    limit = math.cos(math.radians(HUE_TOLERANCE_DEGREES)) * (chroma * truth_chroma)[colored]
    return float(np.mean((chroma[colored] > HUE_OUTPUT_CHROMA) & (cosine >= limit)))


def _window_mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean of every whole 7x7 window: (H - 6, W - 6)."""
    margin = DETAIL_WINDOW_PX // 2
    means = cv2.blur(values, (DETAIL_WINDOW_PX, DETAIL_WINDOW_PX))
    height, width = values.shape
    return np.asarray(means[margin : height - margin, margin : width - margin], np.float64)


def _check_same(rgb: NDArray[np.uint8], truth: NDArray[np.uint8]) -> None:
    if rgb.shape != truth.shape or rgb.dtype != np.uint8 or truth.dtype != np.uint8:
        raise ValueError(
            "expected two uint8 pictures of one size,"
            f" got {rgb.shape} {rgb.dtype} and {truth.shape} {truth.dtype}"
        )


def _skimage(part: str) -> Any:
    """`skimage.color` or `skimage.metrics`."""
    try:
        return importlib.import_module(f"skimage.{part}")
    except ImportError as error:
        raise EngineUnavailable(
            "scikit-image is missing: run pip install 'irchroma[evaluate]' (or scikit-image)"
        ) from error


FIFTHS = 5
STEP_PX = 4
"""Every so many pixels one is looked at: a network's color is no finer."""
NEIGHBORHOOD_PX = 5
"""Errors are averaged over it, since pairs are not registered to the pixel."""


class SurenessCurve:
    """Gathers confidence and error of the chroma over many pictures."""

    def __init__(self) -> None:
        self._confidence: list[NDArray[np.float32]] = []
        self._error: list[NDArray[np.float32]] = []

    def add(self, confidence: NDArray[np.uint8], rgb: NDArray[np.uint8], truth: NDArray[np.uint8]) -> None:
        """Take in one picture.

        Args:
            confidence: (h, w) uint8 at work size, 255 = sure.
            rgb: (H, W, 3) uint8 R'G'B', the output.
            truth: (H, W, 3) uint8.
        """
        height, width = rgb.shape[:2]
        planes = [cv2.cvtColor(p, cv2.COLOR_RGB2YCrCb)[..., 1:].astype(np.float32) for p in (rgb, truth)]
        error = np.linalg.norm(planes[0] - planes[1], axis=-1)
        spread = cv2.blur(error, (NEIGHBORHOOD_PX, NEIGHBORHOOD_PX))[::STEP_PX, ::STEP_PX]
        sure = cv2.resize(confidence, (width, height), interpolation=cv2.INTER_LINEAR)[::STEP_PX, ::STEP_PX]
        self._error.append(np.asarray(spread, np.float32).ravel())
        self._confidence.append(np.asarray(sure, np.float32).ravel())

    def errors(self) -> list[float]:
        """Mean chroma error, Euclidean in CbCr, 8-bit levels, of each fifth of the pixels, sure to unsure.

        Empty without pictures.
        """
        if not self._error:
            return []
        order = np.argsort(-np.concatenate(self._confidence), kind="stable")
        error = np.concatenate(self._error)[order]
        return [float(part.mean()) for part in np.array_split(error, FIFTHS)]
