"""One file of pictures: how many it holds, how large they are before they are decoded, and each of them."""

from __future__ import annotations

import re
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from irchroma.stream.errors import SourceError, SourceFormatError
from irchroma.stream.remarks import remark
from irchroma.stream.sensor.profile import CameraScale
from irchroma.stream.sources.pictures import flir

SUFFIXES = (
    ".png", ".tif", ".tiff", ".pgm", ".ppm", ".pnm", ".jpg", ".jpeg", ".bmp", ".webp",
    ".npy", ".npz", ".fff", ".seq", ".csq",
)  # fmt: skip
_CELSIUS = "degrees Celsius become counts of 1/64 K by np.rint((degrees + 273.15) * 64).astype(np.uint16)"
MEGAPIXELS = 100.0
"""How large a decoded picture may be: 100 million pixels take 300 MB in color, several times over."""

Pixels = NDArray[np.uint8] | NDArray[np.uint16]
_HEAD_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class PictureFile:
    """A file that holds one picture or more.

    Attributes:
        count: pictures in it.
        read: the picture of a number from 0, decoded when asked for.
        scale: degrees of its counts, None where it does not say.
        rate: pictures a second, None where it does not say.
    """

    count: int
    read: Callable[[int], Pixels]
    scale: CameraScale | None = None
    rate: Fraction | None = None


def open_pictures(path: Path, megapixels: float = MEGAPIXELS) -> PictureFile:
    """What a file holds; pixels are (H, W) uint8 luma, (H, W) uint16 counts or (H, W, 3) uint8 rgb.

    Args:
        path: a file that ends in one of `SUFFIXES`.
        megapixels: how large a picture may be, million pixels.

    Raises:
        SourceError: there is no such file, it cannot be decoded, or a picture is larger than allowed.
        SourceFormatError: its samples are of a kind that is not read.
    """
    if not path.is_file():
        raise SourceError(f"no such picture: {path}")
    suffix = path.suffix.lower()
    try:
        if suffix in (".npy", ".npz"):
            return _open_arrays(path, megapixels)
        data = path.read_bytes()
    except SourceError:
        raise
    except OSError as error:
        raise SourceError(f"picture {path} cannot be read ({error.strerror or error})") from error
    if suffix in (".fff", ".seq", ".csq"):
        return _open_blocks(path, data)
    if is_animated(data):
        raise SourceFormatError(
            f"{path} is an animated picture, which is not read here:"
            " ffmpeg -i IN -c:v ffv1 OUT.mkv converts it"
        )
    size = picture_size(data)
    if size is not None:
        require_pixels(str(path), size, megapixels)
    if data[:2] == b"\xff\xd8":
        return _open_jpeg(path, data, size)
    if suffix in (".tif", ".tiff"):
        return _open_tiff(path, data)
    return PictureFile(1, lambda _: _decoded(path, data))


def is_animated(data: bytes) -> bool:
    """Whether a PNG or WebP holds more than one picture, by its header."""
    png = data[:8] == b"\x89PNG\r\n\x1a\n" and b"acTL" in data[:200]  # before the first picture
    webp = data[:4] == b"RIFF" and data[12:16] == b"VP8X" and len(data) > 20 and bool(data[20] & 2)
    return png or webp


def require_pixels(name: str, size: tuple[int, int], megapixels: float) -> None:
    """SourceError where a picture of `size` (H, W) is larger than allowed."""
    if size[0] * size[1] > megapixels * 1e6:
        raise SourceError(
            f"{name}: pictures of {size[1]}x{size[0]} are larger than the {megapixels:g} million pixels"
            " that are allowed: irchroma run --max-megapixels N allows more"
        )


def picture_size(data: bytes) -> tuple[int, int] | None:
    """(H, W) in pixels as the header says, of PNG, JPEG, TIFF, BMP, PNM and WebP; None where unknown."""
    try:
        if data[:8] == b"\x89PNG\r\n\x1a\n":
            width, height = struct.unpack_from(">2I", data, 16)
        elif data[:2] == b"\xff\xd8":
            return _jpeg_size(data)
        elif data[:4] in (b"II*\0", b"MM\0*"):
            return _tiff_size(data)
        elif data[:2] == b"BM":
            width, height = struct.unpack_from("<2i", data, 18)
        elif found := re.match(rb"P[2356]\s+(?:#[^\n]*\n\s*)*(\d+)\s+(?:#[^\n]*\n\s*)*(\d+)", data[:4096]):
            width, height = int(found[1]), int(found[2])
        elif data[:4] == b"RIFF" and data[12:16] == b"VP8X":
            width = 1 + int.from_bytes(data[24:27], "little")
            height = 1 + int.from_bytes(data[27:30], "little")
        else:
            return None
    except (struct.error, IndexError):
        return None
    return abs(int(height)), abs(int(width))


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # ITU-T T.81, B.2.2
            height, width = struct.unpack_from(">2H", data, at + 5)
            return height, width
        at += 2 + max(2, length)
    return None


def _tiff_size(data: bytes) -> tuple[int, int] | None:
    """The largest of all pages. TIFF 6.0, section 2."""
    order = "<" if data[:2] == b"II" else ">"
    place, sizes, seen = struct.unpack_from(order + "I", data, 4)[0], [], set[int]()
    while place and place not in seen and place + 2 <= len(data):
        seen.add(place)
        (number,) = struct.unpack_from(order + "H", data, place)
        tags = {}
        for at in range(place + 2, place + 2 + 12 * number, 12):
            tag, kind = struct.unpack_from(order + "2H", data, at)
            if tag in (256, 257):
                tags[tag] = struct.unpack_from(order + ("H" if kind == 3 else "I"), data, at + 8)[0]
        if len(tags) == 2:
            sizes.append((int(tags[257]), int(tags[256])))
        (place,) = struct.unpack_from(order + "I", data, place + 2 + 12 * number)
    return max(sizes, key=lambda size: size[0] * size[1], default=None)


def _quietly(work: Callable[[], Any]) -> Any:
    """What OpenCV gives, None where it cannot."""
    try:
        return work()
    except cv2.error:
        return None


# not IMREAD_UNCHANGED, which leaves a picture lying on its side as the camera was held (EXIF)
_FLAGS = cv2.IMREAD_ANYDEPTH | cv2.IMREAD_ANYCOLOR


def _decoded(path: Path, data: bytes) -> Pixels:
    decoded = _quietly(lambda: cv2.imdecode(np.frombuffer(data, np.uint8), _FLAGS)) if data else None
    if decoded is None:
        raise SourceError(f"cannot decode picture {path}: it is damaged, empty or not a picture")
    return _as_pixels(decoded, path)


def _as_pixels(decoded: NDArray[Any], path: Path) -> Pixels:
    """(H, W) or (H, W, 3) B, G, R as the pixels of a frame: three equal channels are luma (or counts)."""
    if decoded.dtype not in (np.uint8, np.uint16):
        raise SourceFormatError(
            f"picture {path} has {decoded.dtype} samples: 8 or 16 bits are supported; {_CELSIUS}"
        )
    if decoded.ndim == 3:
        decoded = decoded[..., ::-1]
        if path.suffix.lower() == ".png" and _has_alpha(path):
            remark("transparency is left out")
        if np.array_equal(decoded[..., 0], decoded[..., 1]) and np.array_equal(
            decoded[..., 0], decoded[..., 2]
        ):
            decoded = decoded[..., 0]
        elif decoded.dtype == np.uint16:
            remark("16-bit color was brought to 8 bits")
            decoded = (decoded.astype(np.float32) / 257 + 0.5).astype(np.uint8)
    return np.ascontiguousarray(decoded)


def _has_alpha(path: Path) -> bool:
    """By the color type of a PNG's header, W3C PNG 3, 11.2.1."""
    with path.open("rb") as file:
        head = file.read(26)
    return len(head) == 26 and head[25] in (4, 6)


def _open_jpeg(path: Path, data: bytes, size: tuple[int, int] | None) -> PictureFile:
    block = flir.block_of_jpeg(data)
    if block is not None:
        return PictureFile(1, lambda _: flir.counts_of_block(block, path), flir.SCALE)
    plane = _dji_plane(data, size)
    if plane is not None:
        remark("degrees of DJI's pictures are known to DJI's own software alone: counts have no degrees")
        return PictureFile(1, lambda _: plane)
    if data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda"):  # the end of the picture comes after its start
        raise SourceError(f"cannot decode picture {path}: it is damaged, its end is missing")
    return PictureFile(1, lambda _: _decoded(path, data))


def _dji_plane(data: bytes, size: tuple[int, int] | None) -> NDArray[np.uint16] | None:
    """(H, W) uint16, the sensor's plane in the APP3 segments of DJI's radiometric JPEG; None elsewhere.

    As open readers of the format describe it; no such picture has been met here. The sensor may have half
    the pixels of the picture that is shown.
    """
    if size is None or not any(b"DJI" in part for part in flir.jpeg_segments(data[:_HEAD_BYTES], 0xE1)):
        return None
    plane = b"".join(flir.jpeg_segments(data, 0xE3))
    for height, width in (size, (size[0] // 2, size[1] // 2)):
        if height and width and len(plane) == 2 * height * width:
            return np.frombuffer(plane, "<u2").reshape(height, width).astype(np.uint16)
    return None


def _open_tiff(path: Path, data: bytes) -> PictureFile:
    count = _quietly(lambda: cv2.imcount(str(path))) or 0
    if count <= 1:
        return PictureFile(1, lambda _: _decoded(path, data))

    def page(number: int) -> Pixels:
        found = _quietly(lambda: cv2.imreadmulti(str(path), number, 1, flags=_FLAGS))
        if not found or not found[0] or not found[1]:
            raise SourceError(f"cannot decode page {number + 1} of {count} of picture {path}: it is damaged")
        return _as_pixels(found[1][0], path)

    return PictureFile(count, page)


def _open_blocks(path: Path, data: bytes) -> PictureFile:
    starts = flir.block_starts(data)
    if not starts:
        raise SourceError(f"{path} is no file of a FLIR camera (nothing in it begins with FFF)")
    ends = [*starts[1:], len(data)]
    flir.counts_of_block(data[starts[0] : ends[0]], path)  # refused now rather than at the first frame
    return PictureFile(
        len(starts), lambda n: flir.counts_of_block(data[starts[n] : ends[n]], path), flir.SCALE
    )


def _open_arrays(path: Path, megapixels: float) -> PictureFile:
    """A numpy array of pictures, read from the disk one by one; of a .npz file its only array of pictures.

    Of the single numbers beside that, one called `fps` or `rate` is the pictures a second.
    """
    name, numbers = "", dict[str, float]()
    try:
        if path.suffix.lower() == ".npz":
            name, numbers, shape, dtype = _npz_header(path)
        else:
            with path.open("rb") as file:
                shape, dtype = _npy_header(file)
    except SourceError:
        raise
    except (ValueError, zipfile.BadZipFile, EOFError) as error:
        raise SourceError(f"{path} is no array of numpy: {error}") from error
    if dtype.type not in (np.uint8, np.uint16):
        raise SourceFormatError(f"{path} holds {dtype}: expected uint8 luma or uint16 counts; {_CELSIUS}")
    channels = shape[-1] if len(shape) in (3, 4) and shape[-1] <= 4 else 0  # no picture is so narrow
    if channels == 2 and dtype.type == np.uint8:
        raise SourceFormatError(
            f"{path} has the shape {shape} of {dtype}, two channels, as OpenCV gives YUYV and raw Y16:"
            " expected the luma, [..., 0] of YUYV, or the counts, .view(np.uint16)[..., 0] of Y16"
        )
    known = channels in (0, 1) or (channels == 3 and dtype.type == np.uint8)
    frame = shape[-3:-1] if channels else shape[-2:]
    if not known or len(shape) - bool(channels) not in (2, 3) or 0 in shape:
        raise SourceFormatError(
            f"{path} has the shape {shape} of {dtype}: expected (N, H, W), (H, W), or (N, H, W, 3) of uint8"
        )
    require_pixels(str(path), (frame[0], frame[1]), megapixels)
    single = len(shape) - bool(channels) == 2
    try:
        if path.suffix.lower() == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                stack = arrays[name]
        else:
            stack = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, zipfile.BadZipFile) as error:
        raise SourceError(f"{path} is cut short or damaged: {error}") from error

    def picture(number: int) -> Pixels:
        one = stack if single else stack[number]
        one = np.ascontiguousarray(one[..., 0] if channels == 1 else one)
        return one.astype(one.dtype.newbyteorder("="), copy=True)

    hz = numbers.get("fps", numbers.get("rate", 0.0))
    rate = Fraction(hz).limit_denominator(1001) if 0 < hz < 10_000 else None
    return PictureFile(1 if single else shape[0], picture, rate=rate or None)


def _npy_header(file: Any) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = npy.read_magic(file)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, _, dtype = read(file)
    return tuple(shape), dtype


def _npz_header(path: Path) -> tuple[str, dict[str, float], tuple[int, ...], np.dtype[Any]]:
    """The name of the only array that is no single number, those numbers, the array's shape and dtype."""
    headers, numbers = {}, {}
    with zipfile.ZipFile(path) as archive:
        for file_name in archive.namelist():
            name = file_name.removesuffix(".npy")
            if name == file_name:
                continue
            with archive.open(file_name) as file:
                shape, dtype = _npy_header(file)
                if shape or dtype.kind not in "iuf":
                    headers[name] = shape, dtype
                    continue
                data = file.read(dtype.itemsize)
                numbers[name] = float(np.frombuffer(data, dtype)[0])
    if len(headers) != 1:
        held = ", ".join([*headers, *numbers]) or "nothing"
        raise SourceFormatError(f"{path} holds {held}: expected one array of pictures")
    ((name, (shape, dtype)),) = headers.items()
    return name, numbers, shape, dtype
