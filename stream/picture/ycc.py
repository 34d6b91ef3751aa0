"""R'G'B' full range to Y'CbCr limited range and back, BT.709."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

_KR, _KB = 0.2126, 0.0722  # BT.709-6, 3.2
_KG = 1.0 - _KR - _KB


def _full_rgb_to_limited_ycc() -> NDArray[np.float32]:
    """(3, 4) float32: R'G'B' [0, 255] to Y' [16, 235], Cb and Cr [16, 240], offset in the last column."""
    cb, cr = 2 * (1 - _KB), 2 * (1 - _KR)
    rows = np.array(
        [
            [_KR, _KG, _KB],
            [-_KR / cb, -_KG / cb, (1 - _KB) / cb],
            [(1 - _KR) / cr, -_KG / cr, -_KB / cr],
        ]
    )
    rows *= np.array([[219.0], [224.0], [224.0]]) / 255.0  # BT.709-6, 4.6 for 8 bits
    return np.hstack([rows, [[16.0], [128.0], [128.0]]]).astype(np.float32)


FULL_RGB_TO_LIMITED_YCC = _full_rgb_to_limited_ycc()
"""(3, 4) float32 for `cv2.transform`, offset in the last column."""
FULL_RGB_TO_LIMITED_YCC.setflags(write=False)
_BACK = np.linalg.inv(FULL_RGB_TO_LIMITED_YCC[:, :3].astype(np.float64))
_BACK = np.hstack([_BACK, _BACK @ -FULL_RGB_TO_LIMITED_YCC[:, 3:].astype(np.float64)]).astype(np.float32)
_BACK.setflags(write=False)


def full_rgb_to_limited_ycc(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 Y', Cb, Cr, BT.709 limited range, of (H, W, 3) uint8 R'G'B', full range."""
    return np.asarray(cv2.transform(rgb, FULL_RGB_TO_LIMITED_YCC), np.uint8)


def limited_ycc_to_full_rgb(ycc: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The reverse of `full_rgb_to_limited_ycc`, but for rounding."""
    return np.asarray(cv2.transform(ycc, _BACK), np.uint8)
