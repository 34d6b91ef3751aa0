"""What a calibrated network file says about itself, read without any runtime or the `onnx` package.

The record lies in the ONNX file's `metadata_props`, one entry whose key is RECORD_KEY and whose value is
JSON. Only the outermost fields of the protocol buffer are walked, so a file of many megabytes costs
nothing.

Reference: Protocol Buffers encoding, https://protobuf.dev/programming-guides/encoding; onnx.proto3,
`ModelProto.metadata_props = 14`, `StringStringEntryProto.key = 1, value = 2`.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from irchroma.engines import catalog
from irchroma.engines.errors import EngineOptionError, EngineUnavailable

RECORD_KEY = "irchroma.network"
TRAINED_KEY = "irchroma.trained"
"""`nir:fast` of a network that was trained as that."""
ANSWER_KEY = "irchroma.answer"
"""What an 8-bit network answers to the picture of `verification`, in exact arithmetic; in base 64."""
_METADATA_FIELD = 14
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_LARGEST_RECORD_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class NetworkRecord:
    """Where a network file comes from.

    Attributes:
        engine: `nir` or `thermal`.
        size: `fast` or `best`.
        precision: `int8` or `fp8`; `tuned` of a float network that was tuned to a camera.
        source_sha256: of the float network that it was made from, in hexadecimal.
        kept: groups of layers that stayed in higher precision.
        frames: infrared frames that its ranges were measured on.
        work_size_px: long side of those frames.
        base_sha256: of the float network's weights but those of its confidence, which may be calibrated anew
            (`quantization.renew`).
    """

    engine: str
    size: str
    precision: str
    source_sha256: str
    kept: tuple[str, ...] = ()
    frames: int = 0
    work_size_px: int = 0
    base_sha256: str = ""

    def as_json(self) -> str:
        """The metadata entry's value."""
        return json.dumps(asdict(self))


def read_record(path: Path) -> NetworkRecord | None:
    """The record of a network file; None where it has none (the networks that ship).

    Raises:
        EngineUnavailable: the file cannot be read, is no ONNX file, or its record is damaged.
    """
    text = _entry(path, RECORD_KEY)
    if text is None:
        return None
    try:
        values = json.loads(text)
        return NetworkRecord(**values | {"kept": tuple(values["kept"])})
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(path) from error


def made_for(path: Path) -> tuple[str, str] | None:
    """Engine and size that a network file is of; None where neither it nor its place says so.

    Raises:
        EngineUnavailable: as `read_record`.
    """
    record = read_record(path)
    if record is not None:
        return record.engine, record.size
    trained = _entry(path, TRAINED_KEY)
    if trained is not None:
        engine, _, size = trained.decode(errors="replace").partition(":")
        return engine, size
    shipped = path.resolve().parent == catalog.WEIGHTS.resolve()
    engine, _, size = path.stem.rpartition("_")
    return (engine, size) if shipped and engine in catalog.BANDS else None


def own_size(path: Path) -> str | None:
    """The size that a network file is of, of those that ship (`catalog.SIZES`); None of others.

    Raises:
        EngineUnavailable: as `read_record`.
    """
    made = made_for(path)
    return made[1] if made is not None and made[1] in catalog.SIZES else None


def read_answer(path: Path) -> bytes | None:
    """What the network answers to the picture of `verification`; None where the file does not say.

    Raises:
        EngineUnavailable: as `read_record`.
    """
    text = _entry(path, ANSWER_KEY)
    try:
        return None if text is None else base64.b64decode(text, validate=True)
    except ValueError as error:
        raise _damaged(path) from error


def _entry(path: Path, key: str) -> bytes | None:
    try:
        with path.open("rb") as file:
            for entry in _metadata(file):
                pair = dict(_texts(entry))
                if pair.get(1) == key.encode():
                    return pair[2]
    except OSError as error:
        raise EngineUnavailable(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise _damaged(path) from error
    return None


def _damaged(path: Path) -> EngineUnavailable:
    return EngineUnavailable(f"{path}: expected an ONNX network, found something else or a damaged file")


def with_record(model: Any, record: NetworkRecord) -> Any:
    """An ONNX model, changed in place, with a record in place of the one it had."""
    others = [(entry.key, entry.value) for entry in model.metadata_props if entry.key != RECORD_KEY]
    del model.metadata_props[:]
    for key, value in (*others, (RECORD_KEY, record.as_json())):
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    return model


def require_match(path: Path, engine: str, size: str | None = None) -> NetworkRecord | None:
    """The record of `path`, which is held against what the user named; None where it has none.

    Args:
        path: the network file.
        engine: `nir` or `thermal`.
        size: where the user named one, as in `nir:best`.

    Raises:
        EngineOptionError: it was made for something else.
        EngineUnavailable: as `read_record`.
    """
    made = made_for(path)
    if made is not None and (made[0] != engine or (size is not None and made[1] != size)):
        asked = engine if size is None else f"{engine}:{size}"
        raise EngineOptionError(
            f"{path} is a network for {made[0]}:{made[1]}, asked for is {asked}: use --engine {made[0]}"
            f"{f':{made[1]}' if made[1] in catalog.SIZES else ''}, or another network"
        )
    return read_record(path)


def _metadata(file: BinaryIO) -> Iterator[bytes]:
    end = os.fstat(file.fileno()).st_size
    if end == 0:
        raise ValueError("empty")
    while file.tell() < end:
        tag = _varint(file)
        field, kind = tag >> 3, tag & 7
        if field == 0:
            raise ValueError("field 0")
        if kind == _VARINT:
            _varint(file)
        elif kind == _BYTES:
            length = _varint(file)
            if file.tell() + length > end:
                raise ValueError("cut short")
            if field == _METADATA_FIELD and length <= _LARGEST_RECORD_BYTES:
                yield file.read(length)
            else:
                file.seek(length, os.SEEK_CUR)
        elif kind in (_FIXED64, _FIXED32):
            file.seek(8 if kind == _FIXED64 else 4, os.SEEK_CUR)
        else:
            raise ValueError(f"wire type {kind}")


def _varint(file: BinaryIO) -> int:
    value = 0
    for shift in range(0, 64, 7):
        byte = file.read(1)[0]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value
    raise ValueError("number too long")


def _texts(entry: bytes) -> Iterator[tuple[int, bytes]]:
    """(field, bytes) of a message whose fields are short texts."""
    at = 0
    while at < len(entry):
        tag, length, shift = entry[at], 0, 0
        at += 1
        while True:
            byte = entry[at]
            at += 1
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        yield tag >> 3, entry[at : at + length]
        at += length
