"""Picture files in and out: 8-bit luma, 16-bit counts, color."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from cv2.utils import logging
from numpy.typing import NDArray

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".pgm", ".webp")
WRITTEN = (".png", ".jpg", ".jpeg")
JPEG_QUALITY = 95


class PictureError(OSError):
    """A picture cannot be read or written; the text is one clear line."""


def list_pictures(folder: Path) -> list[Path]:
    """The pictures of a folder by name, hidden files left out.

    Raises:
        PictureError: the folder is missing or holds none.
    """
    if not folder.is_dir():
        raise PictureError(f"{folder}: no such folder")
    found = sorted(
        path
        for path in folder.iterdir()
        if path.is_file() and path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
    )
    if not found:
        raise PictureError(f"{folder}: no pictures in it (looked for {' '.join(SUFFIXES)})")
    return found


def read_infrared(path: Path) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """(H, W) uint8 luma or uint16 counts; a picture in color gives its BT.601 luma, upright.

    Raises:
        PictureError: it is missing, no picture, or of another depth than 8 or 16 bits.
    """
    # not IMREAD_UNCHANGED, which leaves a picture lying on its side as the camera was held (EXIF)
    pixels = _decode(path, cv2.IMREAD_ANYDEPTH | cv2.IMREAD_ANYCOLOR)
    if pixels.dtype not in (np.uint8, np.uint16):
        raise PictureError(f"{path}: {pixels.dtype} pixels; convert to 8 or 16 bits first")
    if pixels.ndim == 3:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY)
    return np.ascontiguousarray(pixels)


def read_rgb(path: Path) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 R'G'B'.

    Raises:
        PictureError: it is missing or no picture.
    """
    bgr = _decode(path, cv2.IMREAD_COLOR)
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)


def write_rgb(path: Path, rgb: NDArray[np.uint8]) -> None:
    """Write (H, W, 3) uint8 R'G'B' as PNG or JPEG, by the path's suffix.

    Raises:
        PictureError: the suffix is another one, or the file cannot be written.
    """
    suffix = path.suffix.lower()
    if suffix not in WRITTEN:
        raise PictureError(f"{path}: can write {', '.join(WRITTEN)}, not {suffix or 'this'}")
    options = [] if suffix == ".png" else [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    done, data = cv2.imencode(suffix, cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), options)
    if not done:
        raise PictureError(f"{path}: cannot be encoded at {rgb.shape[1]}x{rgb.shape[0]}")
    there = path.exists()
    try:
        path.write_bytes(data.tobytes())
    except OSError as error:
        if not there:
            path.unlink(missing_ok=True)  # half a picture of a full disk
        raise PictureError(f"{path}: cannot be written ({error.strerror})") from error


def _decode(path: Path, flags: int) -> NDArray[np.uint8]:
    try:
        data = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as error:
        raise PictureError(f"{path}: cannot be read ({error.strerror})") from error
    level = logging.setLogLevel(
        logging.LOG_LEVEL_SILENT
    )  # a broken file is one line of ours, not several of OpenCV's
    try:
        pixels = cv2.imdecode(data, flags) if data.size else None
    except cv2.error:
        pixels = None
    finally:
        logging.setLogLevel(level)
    if pixels is None:
        raise PictureError(f"{path}: not a picture, or a damaged one")
    return np.asarray(pixels)
