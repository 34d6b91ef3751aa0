"""FLIR's own files: the 16-bit plane and the degrees inside radiometric JPEG, .fff and .seq.

A file is a row of blocks that begin with `FFF` (in a JPEG: one block, cut into APP1 segments), each a
directory of records, among them the sensor's plane and the camera's constants. Layout and names after
ExifTool's FLIR.pm, https://exiftool.org/TagNames/FLIR.html
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, fields
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.stream.errors import SourceError, SourceFormatError
from irchroma.stream.sensor.profile import CameraScale

SCALE = CameraScale(per_kelvin=32.0)
"""What the counts mean that come out: 1/32 K from 0 K, up to 1774 degrees Celsius."""

_RAW_DATA, _CAMERA_INFO = 1, 0x20
_RAW_HEADER_BYTES = 32
_APP1_HEAD = b"FLIR\0\x01"
_KELVIN = 273.15


@dataclass(frozen=True, slots=True)
class FlirConstants:
    """What turns a camera's raw values into temperatures, at its places in the camera's record.

    Attributes:
        emissivity: of the object, 0 to 1.
        distance: to the object, meters.
        reflected, atmosphere, window: apparent temperatures of surroundings, air and window, kelvin.
        window_transmission: 0 to 1.
        humidity: relative, 0 to 1.
        r1, b, f, o, r2: Planck's curve as FLIR writes it.
        alpha1, alpha2, beta1, beta2, x: of the air's transmission.
    """

    emissivity: float
    distance: float
    reflected: float
    atmosphere: float
    window: float
    window_transmission: float
    humidity: float
    r1: float
    b: float
    f: float
    o: float
    r2: float
    alpha1: float
    alpha2: float
    beta1: float
    beta2: float
    x: float

    def kelvin(self, raw: NDArray[np.uint16]) -> NDArray[np.float64]:
        """(H, W) float64 temperature of the object for raw values.

        Reference: G. J. Tattersall, "Thermimage: Thermal Image Analysis", doi:10.5281/zenodo.1069704,
        raw2temp: reflections of the surroundings, the air before and behind the window, and the window
        itself are subtracted as raw values; here the window reflects nothing.
        """
        air_celsius = self.atmosphere - _KELVIN
        vapor = self.humidity * np.exp(
            1.5587
            + 0.06939 * air_celsius
            - 0.00027816 * air_celsius**2
            + 0.00000068455 * air_celsius**3  # water in the air, mm Hg
        )
        way = np.sqrt(max(0.0, self.distance) / 2)
        root = np.sqrt(vapor)
        tau = self.x * np.exp(-way * (self.alpha1 + self.beta1 * root)) + (1 - self.x) * np.exp(
            -way * (self.alpha2 + self.beta2 * root)
        )
        e, w = self.emissivity, self.window_transmission
        reflected, air, window = (self._raw(k) for k in (self.reflected, self.atmosphere, self.window))
        seen = e * tau * w * tau
        other = (
            (1 - e) / e * reflected
            + (1 - tau) / (e * tau) * air
            + (1 - w) / (e * tau * w) * window
            + (1 - tau) / (e * tau * w * tau) * air
        )
        signal = raw.astype(np.float64) / seen - other
        inside = np.maximum(self.r1 / (self.r2 * np.maximum(signal + self.o, 1e-9)) + self.f, 1 + 1e-12)
        return np.asarray(self.b / np.log(inside), np.float64)

    def _raw(self, kelvin: float) -> float:
        return float(self.r1 / (self.r2 * (np.exp(self.b / max(kelvin, 1.0)) - self.f)) - self.o)


_PLACES = {
    "emissivity": 0x20, "distance": 0x24, "reflected": 0x28, "atmosphere": 0x2C, "window": 0x30,
    "window_transmission": 0x34, "humidity": 0x3C, "r1": 0x58, "b": 0x5C, "f": 0x60, "alpha1": 0x70,
    "alpha2": 0x74, "beta1": 0x78, "beta2": 0x7C, "x": 0x80, "r2": 0x30C,
}  # fmt: skip
_OFFSET_PLACE = 0x308  # int32


def jpeg_segments(data: bytes, marker: int) -> list[bytes]:
    """The contents of a JPEG's segments of one kind before its picture, 0xE1 for APP1. ITU-T T.81, B.1."""
    found, at = [], 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        if data[at + 1] == marker:
            found.append(data[at + 4 : at + 2 + length])
        at += 2 + max(2, length)
    return found


def block_of_jpeg(data: bytes) -> bytes | None:
    """FLIR's block of a JPEG, put together; None for a JPEG of anybody else."""
    parts = [part for part in jpeg_segments(data, 0xE1) if part.startswith(_APP1_HEAD)]
    # after the head: number of this segment, number of the last one
    return b"".join(part[8:] for part in sorted(parts, key=lambda part: part[6])) if parts else None


def block_starts(data: bytes) -> list[int]:
    """Where the blocks of an .fff or .seq file begin."""
    starts, at = [], data.find(b"FFF\0")
    while at >= 0:
        if at + 64 <= len(data) and _directory(data, at) is not None:
            starts.append(at)
        at = data.find(b"FFF\0", at + 4)
    return starts


def counts_of_block(block: bytes, name: Path) -> NDArray[np.uint16]:
    """(H, W) uint16 counts by `SCALE` of one block.

    Raises:
        SourceError: a record is missing or cut short.
        SourceFormatError: the plane is compressed in a way that is not read here.
    """
    records = _records(block)
    plane, info = records.get(_RAW_DATA), records.get(_CAMERA_INFO)
    if plane is None or info is None:
        missing = "the sensor's plane" if plane is None else "the camera's constants"
        raise SourceError(f"{name}: FLIR's record of {missing} is missing or cut short")
    kelvin = _constants(info, name).kelvin(_plane(plane, name))
    return np.clip(np.rint(kelvin * SCALE.per_kelvin), 0, 65535).astype(np.uint16)


def _directory(data: bytes, start: int) -> tuple[str, int, int] | None:
    """Byte order, place and number of a block's records; None where this is no block."""
    for order in ("<", ">"):  # both occur; the version, 100 to 199, tells
        version, place, number = struct.unpack_from(order + "3I", data, start + 0x14)
        if 100 <= version < 200 and number <= 1000:
            return order, place, number
    return None


def _records(block: bytes) -> dict[int, bytes]:
    """Type -> content of the first record of each type that is whole."""
    found: dict[int, bytes] = {}
    directory = _directory(block, 0) if len(block) >= 64 and block.startswith(b"FFF\0") else None
    if directory is None:
        return found
    order, place, number = directory
    for at in range(place, min(place + 32 * number, len(block) - 31), 32):
        kind = int(struct.unpack_from(order + "H", block, at)[0])
        start, length = struct.unpack_from(order + "2I", block, at + 12)
        if length and start + length <= len(block):
            found.setdefault(kind, block[start : start + length])
    return found


def _constants(info: bytes, name: Path) -> FlirConstants:
    order = ">" if len(info) > 1 and info[0] == 0 else "<"  # the record begins with a small number
    if len(info) < 0x310:
        raise SourceError(f"{name}: FLIR's record of the camera is cut short")
    values = {key: float(struct.unpack_from(order + "f", info, at)[0]) for key, at in _PLACES.items()}
    values["o"] = float(struct.unpack_from(order + "i", info, _OFFSET_PLACE)[0])
    if values["humidity"] > 2:  # some cameras write percent
        values["humidity"] /= 100
    for key in ("emissivity", "window_transmission"):
        values[key] = values[key] if 0 < values[key] <= 1 else 1.0
    if not all(np.isfinite(values[field.name]) for field in fields(FlirConstants)) or not (
        values["r1"] > 0 and values["b"] > 0 and values["r2"] > 0
    ):
        raise SourceError(f"{name}: FLIR's constants of the camera make no sense")
    return FlirConstants(**values)


def _plane(record: bytes, name: Path) -> NDArray[np.uint16]:
    """(H, W) uint16 raw values."""
    order = ">" if len(record) > 1 and record[0] == 0 else "<"
    _, width, height = struct.unpack_from(order + "3H", record, 0)
    data = record[_RAW_HEADER_BYTES:]
    if data.startswith(b"\x89PNG"):
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        if decoded is None or decoded.dtype != np.uint16 or decoded.shape != (height, width):
            raise SourceError(f"{name}: FLIR's 16-bit plane is damaged")
        return np.asarray(
            decoded.byteswap(), np.uint16
        )  # FLIR's cameras write the low byte first, against the standard
    if data.startswith(b"\xff\xd8\xff"):
        raise SourceFormatError(
            f"{name}: FLIR's plane is compressed as JPEG-LS (.csq), which is not read here:"
            " export it as .seq or as 16-bit TIFF with FLIR's software"
        )
    if len(data) < 2 * width * height or not width * height:
        raise SourceError(f"{name}: FLIR's 16-bit plane is cut short")
    return np.frombuffer(data, order + "u2", width * height).reshape(height, width).astype(np.uint16)
