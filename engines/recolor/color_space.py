"""R'G'B', Y'CbCr and CIELAB, in pairs; everything full range with BT.709/sRGB primaries.

`ycc` is BT.601 full range, linear in R'G'B': Y' in [0, 1], Cb and Cr in [-0.5, 0.5]. Networks predict
it and every measure of luma uses its Y', whatever matrix the video's edges use.
"""

from __future__ import annotations

import math
from typing import Any, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

Scalar = TypeVar("Scalar", np.uint8, np.float32)
BT601 = (0.299, 0.587, 0.114)  # BT.601-7, 2.5.1
BT709 = (0.2126, 0.7152, 0.0722)  # BT.709-6, 3.2
"""Weights of R', G', B' in luma."""

KR, KG, KB = BT601
CR_TO_RED = 2 * (1 - KR)
CB_TO_BLUE = 2 * (1 - KB)
CR_TO_GREEN = -CR_TO_RED * KR / KG
CB_TO_GREEN = -CB_TO_BLUE * KB / KG

_RGB_TO_YCC = np.array(
    [
        [KR, KG, KB],
        [-KR / CB_TO_BLUE, -KG / CB_TO_BLUE, (1 - KB) / CB_TO_BLUE],
        [(1 - KR) / CR_TO_RED, -KG / CR_TO_RED, -KB / CR_TO_RED],
    ],
    np.float32,
)
_YCC_TO_RGB = np.array([[1, 0, CR_TO_RED], [1, CB_TO_GREEN, CR_TO_GREEN], [1, CB_TO_BLUE, 0]], np.float32)


def rgb_to_luma(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H, W) uint8 Y', BT.601 full range, from (H, W, 3) uint8 R'G'B'."""
    return np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), np.uint8)


def luma_to_rgb(luma: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 neutral R'G'B' of that luma."""
    return np.asarray(cv2.cvtColor(luma, cv2.COLOR_GRAY2RGB), np.uint8)


def rgb_to_ycc(rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(H, W, 3) float32 `ycc` from (H, W, 3) uint8 R'G'B'."""
    return np.asarray(cv2.transform(rgb.astype(np.float32) / 255.0, _RGB_TO_YCC), np.float32)


def ycc_to_rgb(ycc: NDArray[np.float32]) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 R'G'B' from (H, W, 3) float32 `ycc`; values outside [0, 1] are clipped."""
    rgb = cv2.transform(np.ascontiguousarray(ycc, np.float32), _YCC_TO_RGB)
    return np.asarray(np.rint(np.clip(rgb, 0.0, 1.0) * 255.0), np.uint8)


def color_luma(luma: NDArray[np.uint8], cb: NDArray[np.uint8], cr: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """R'G'B' of exactly this luma (within rounding): where the gamut ends, chroma gives way and not luma.

    Args:
        luma: (H, W) uint8 Y', BT.601 full range.
        cb: (H, W) uint8, 128 neutral.
        cr: (H, W) uint8, 128 neutral.

    Returns:
        (H, W, 3) uint8.
    """
    rgb = cv2.cvtColor(cv2.merge([luma, cr, cb]), cv2.COLOR_YCrCb2RGB)
    clipped = _clipped(luma, rgb)
    if clipped.size:
        light, away, scale = _gamut(luma, cb, cr, clipped)
        rgb.reshape(-1, 3)[clipped] = np.rint(light[:, None] + away * scale)
    return np.asarray(rgb, np.uint8)


def fit_gamut(luma: NDArray[np.uint8], cb: NDArray[np.float32], cr: NDArray[np.float32]) -> None:
    """Chroma, float32 levels around 0, written to where the gamut ends, as in `color_luma`; all (H, W)."""
    near = _near_its_end(luma, cb, cr)
    light, parts = luma, [cb, cr]
    if near is not None:
        if near.size == 0:
            return
        light, parts = luma.ravel()[None, near], [plane.ravel()[None, near] for plane in parts]
    blue, red = (np.asarray(cv2.add(part, 128.0, dtype=cv2.CV_8U), np.uint8) for part in parts)
    clipped = _clipped(light, cv2.cvtColor(cv2.merge([light, red, blue]), cv2.COLOR_YCrCb2RGB))
    if clipped.size:
        _, _, scale = _gamut(light, blue, red, clipped)
        places = clipped if near is None else near[clipped]
        for plane in (cb, cr):
            plane.ravel()[places] *= scale[:, 0]


FEW = 0.25
"""Share of a picture up to which it is quicker to look at single pixels than at all of them."""


def _near_its_end(
    luma: NDArray[np.uint8], cb: NDArray[np.float32], cr: NDArray[np.float32]
) -> NDArray[np.intp] | None:
    """Flat indices of pixels so dark or bright that the most chroma in the picture would lead out of R'G'B';
    None for many of them."""
    (low_cb, high_cb), (low_cr, high_cr) = (cv2.minMaxLoc(plane)[:2] for plane in (cb, cr))
    down = min(CR_TO_RED * low_cr, CB_TO_GREEN * high_cb + CR_TO_GREEN * high_cr, CB_TO_BLUE * low_cb)
    up = max(CR_TO_RED * high_cr, CB_TO_GREEN * low_cb + CR_TO_GREEN * low_cr, CB_TO_BLUE * high_cb)
    darkest, brightest = math.ceil(2 - min(down, 0.0)), math.floor(253 - max(up, 0.0))  # 2 for rounding
    inside = cv2.inRange(luma, min(darkest, 255), max(brightest, 0))
    count = luma.size - cv2.countNonZero(inside)
    if count > FEW * luma.size:
        return None
    return np.flatnonzero(inside == 0) if count else _NOWHERE


def _clipped(luma: NDArray[np.uint8], rgb: NDArray[Any]) -> NDArray[np.intp]:
    """Flat indices of pixels that R'G'B' does not show with their luma."""
    off = cv2.absdiff(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), luma)
    over = cv2.inRange(off, 2, 255, dst=off)
    return np.flatnonzero(over != 0) if cv2.countNonZero(over) else _NOWHERE


_NOWHERE = np.empty(0, np.intp)


def _gamut(
    luma: NDArray[np.uint8], cb: NDArray[np.uint8], cr: NDArray[np.uint8], places: NDArray[np.intp]
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Of each place: luma, what its chroma adds to R', G' and B' (n, 3), and the factor that fits (n, 1)."""
    light = luma.ravel()[places].astype(np.float32)
    blue, red = (plane.ravel()[places].astype(np.float32) - 128 for plane in (cb, cr))
    away = np.stack([CR_TO_RED * red, CB_TO_GREEN * blue + CR_TO_GREEN * red, CB_TO_BLUE * blue], 1)
    room = np.where(away > 0, 255 - light[:, None], light[:, None])
    scale = np.min(room / np.maximum(np.abs(away), 1e-3), axis=1, keepdims=True)
    return light, away, np.minimum(scale, 1)


def _chroma_to_video() -> NDArray[np.float32]:
    """(3, 2) float32 for (Cb, Cr) of BT.601 full range: what they add to BT.709's limited Y', its Cb and Cr;
    all levels around 0."""
    kr, _, kb = BT709
    away = np.array([[0.0, CR_TO_RED], [CB_TO_GREEN, CR_TO_GREEN], [CB_TO_BLUE, 0.0]])
    light = np.array([kr, 1 - kr - kb, kb]) @ away
    cb, cr = (away[2] - light) / (2 * (1 - kb)), (away[0] - light) / (2 * (1 - kr))
    rows = np.stack([light * 219, cb * 224, cr * 224]) / 255  # BT.709-6, 4.6 for 8 bits
    return rows.astype(np.float32)


CHROMA_TO_VIDEO = _chroma_to_video()
"""For `cv2.transform` of (h, w, 2)."""


def _video_to_rgb() -> NDArray[np.float32]:
    """(3, 4) float32: BT.709 limited Y', Cb, Cr to full-range R'G'B', offset in the last column."""
    kr, kg, kb = BT709
    red, blue = 2 * (1 - kr), 2 * (1 - kb)
    rows = np.array([[1, 0, red], [1, -blue * kb / kg, -red * kr / kg], [1, blue, 0]])
    rows *= 255 / np.array([219, 224, 224])
    return np.hstack([rows, -rows @ np.array([[16], [128], [128]])]).astype(np.float32)


_VIDEO_TO_RGB = _video_to_rgb()


def _rgb_to_video() -> NDArray[np.float32]:
    """(3, 4) float32: the way back."""
    back = np.linalg.inv(_VIDEO_TO_RGB[:, :3].astype(np.float64))
    return np.hstack([back, -back @ _VIDEO_TO_RGB[:, 3:]]).astype(np.float32)


_RGB_TO_VIDEO = _rgb_to_video()


def rgb_to_video_in_1024ths() -> tuple[int, ...]:
    """(3, 4), row by row: by what `rgb_to_video` multiplies R', G', B', and what it adds before it cuts the
    last ten bits off: so OpenCV 5.0 transforms pictures of 8 bits."""
    whole = _RGB_TO_VIDEO * np.float32(1024)
    whole[:, 3] += 512
    return tuple(int(number) for number in np.rint(whole).ravel())


def video_to_rgb(y: NDArray[np.uint8], cb: NDArray[np.uint8], cr: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 R'G'B', full range, of I420 planes in BT.709 limited range; chroma is interpolated."""
    height, width = y.shape
    wide = (
        cv2.resize(plane, (2 * plane.shape[1], 2 * plane.shape[0]), interpolation=cv2.INTER_LINEAR)
        for plane in (cb, cr)
    )
    ycc = cv2.merge([y, *(np.ascontiguousarray(plane[:height, :width]) for plane in wide)])
    return np.asarray(cv2.transform(ycc, _VIDEO_TO_RGB), np.uint8)


def rgb_to_video(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 Y', Cb, Cr, BT.709 limited range, of (H, W, 3) uint8 R'G'B', full range."""
    return np.asarray(cv2.transform(rgb, _RGB_TO_VIDEO), np.uint8)


def rgb_to_lab(rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(H, W, 3) float32 CIELAB (L* in [0, 100]) under D65, from (H, W, 3) uint8 sRGB."""
    return np.asarray(cv2.cvtColor(rgb.astype(np.float32) / 255.0, cv2.COLOR_RGB2LAB), np.float32)


def lab_to_rgb(lab: NDArray[np.float32]) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 sRGB from (H, W, 3) float32 CIELAB under D65; values out of gamut are clipped."""
    rgb = cv2.cvtColor(np.ascontiguousarray(lab, np.float32), cv2.COLOR_LAB2RGB)
    return np.asarray(np.rint(np.clip(rgb, 0.0, 1.0) * 255.0), np.uint8)


_RGB_TO_XYZ = np.array(  # IEC 61966-2-1, linear R'G'B' to XYZ, D65
    [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
)
_WHITE = _RGB_TO_XYZ.sum(axis=1)


def colors_to_lab(rgb: NDArray[np.uint8] | NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, 3) sRGB in [0, 255] to CIELAB under D65; L in [0, 100]. Reference: CIE 15:2004, 8.2.1."""
    coded = np.asarray(rgb, np.float64) / 255
    linear = np.where(coded <= 0.04045, coded / 12.92, ((coded + 0.055) / 1.055) ** 2.4)
    xyz = linear @ _RGB_TO_XYZ.T / _WHITE
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz * (29 / 6) ** 2 / 3 + 4 / 29)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1)


def lab_to_colors(lab: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, 3) CIELAB under D65 to sRGB; outside [0, 255] where sRGB has no such color."""
    fy = (lab[:, 0] + 16) / 116
    f = np.stack([fy + lab[:, 1] / 500, fy, fy - lab[:, 2] / 200], axis=1)
    xyz = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29)) * _WHITE
    linear = xyz @ np.linalg.inv(_RGB_TO_XYZ).T
    coded = np.where(
        linear <= 0.0031308, linear * 12.92, 1.055 * np.maximum(linear, 0.0031308) ** (1 / 2.4) - 0.055
    )
    return np.asarray(coded * 255, np.float64)


def within(limit: float, chroma: list[NDArray[Scalar]]) -> list[NDArray[Scalar]]:
    """Chroma planes whose magnitude nowhere exceeds the limit: uint8, 128 neutral, or float32."""
    neutral_level = 128 if chroma[0].dtype == np.uint8 else 0
    cb, cr = (plane.astype(np.float32) - neutral_level for plane in chroma)
    scale = np.minimum(1, np.float32(limit) / np.maximum(np.hypot(cb, cr), np.float32(1e-6)))
    if neutral_level == 0:
        return [np.asarray(plane * scale, chroma[0].dtype) for plane in (cb, cr)]
    return [np.asarray(np.rint(plane * scale + 128), chroma[0].dtype) for plane in (cb, cr)]
