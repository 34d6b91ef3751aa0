"""Writes files as FLIR's cameras do, after ExifTool's description of them."""

import struct

import cv2
import numpy as np

R1, B, F, O, R2 = 17096.453, 1428.0, 1.0, -342, 0.046642166  # noqa: E741 (of a T640, as FLIR names them)

_ENTRIES = 16  # cameras leave room in the directory


def raw_of(kelvin: np.ndarray) -> np.ndarray:
    """What the sensor gives for a black body nearby."""
    return np.rint(R1 / (R2 * (np.exp(B / kelvin) - F)) - O).astype(np.uint16)


def block(
    raw: np.ndarray, kind: str = "raw", big_endian: bool = False, more: dict[int, float] | None = None
) -> bytes:
    """An FFF block of one plane, `raw`, `png` or `csq`; `more`: place in the camera's record -> value."""
    height, width = raw.shape
    data = {
        "raw": lambda: raw.astype("<u2").tobytes(),
        "png": lambda: cv2.imencode(".png", raw.byteswap())[1].tobytes(),
        "csq": lambda: b"\xff\xd8\xff\xf7" + bytes(99),
    }[kind]()
    plane = struct.pack("<3H", 2, width, height) + bytes(26) + data
    info = bytearray(0x400)
    struct.pack_into("<H", info, 0, 2)
    for place, value in {
        0x20: 1.0, 0x24: 0.0, 0x28: 293.15, 0x2C: 293.15, 0x30: 293.15, 0x34: 1.0, 0x3C: 0.5,
        0x58: R1, 0x5C: B, 0x60: F, 0x70: 0.006569, 0x74: 0.01262, 0x78: -0.002276, 0x7C: -0.00667,
        0x80: 1.9, 0x30C: R2, **(more or {}),
    }.items():  # fmt: skip
        struct.pack_into("<f", info, place, value)
    struct.pack_into("<i", info, 0x308, O)
    order, start = ">" if big_endian else "<", 64 + _ENTRIES * 32
    head = b"FFF\0" + b"test".ljust(16, b"\0") + struct.pack(order + "3I", 101, 64, _ENTRIES)
    records = b"".join(
        struct.pack(order + "2H4I", kind_of, 1, 100, number, at, length).ljust(32, b"\0")
        for number, (kind_of, at, length) in enumerate(
            ((1, start, len(plane)), (0x20, start + len(plane), len(info)))
        )
    )
    return head.ljust(64, b"\0") + records.ljust(_ENTRIES * 32, b"\0") + plane + bytes(info)


def radiometric_jpeg(one: bytes, shown: np.ndarray) -> bytes:
    """The block cut into APP1 segments of a picture in false color."""
    jpeg = cv2.imencode(".jpg", shown)[1].tobytes()
    parts = [one[at : at + 65000] for at in range(0, len(one), 65000)]
    segments = b"".join(
        b"\xff\xe1" + (len(part) + 10).to_bytes(2, "big")
        + b"FLIR\0\x01" + bytes([number, len(parts) - 1]) + part
        for number, part in enumerate(parts)
    )  # fmt: skip
    return jpeg[:2] + segments + jpeg[2:]
