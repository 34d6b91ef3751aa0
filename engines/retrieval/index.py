"""The index of a library of references: a JSON text of what is known of each picture."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irchroma.engines.errors import EngineOptionError
from irchroma.engines.retrieval import features

INDEX = "index.json"


@dataclass(frozen=True, slots=True)
class Entry:
    """One picture of a library.

    Attributes:
        key: of its content.
        file: its name in the folder.
        source: where it came from.
        still: several pictures have shown that what is on it stands still.
        added: date and time, ISO 8601, UTC.
        size: (H, W) in pixels.
        vectors: (6, 128) float32, see `features.describe`.
        levels: (q,) float32, see `features.brightness`.
        tiny: (12, 16, 3) uint8 R'G'B'.
    """

    key: str
    file: str
    source: str
    still: bool
    added: str
    size: tuple[int, int]
    vectors: NDArray[np.float32]
    levels: NDArray[np.float32]
    tiny: NDArray[np.uint8]


def index_text(entries: Iterable[Entry]) -> str:
    """The text of an index with these entries, as `read_index` reads it."""
    pictures = [
        {
            "key": entry.key,
            "file": entry.file,
            "source": entry.source,
            "still": entry.still,
            "added": entry.added,
            "size": list(entry.size),
            "features": _packed(entry.vectors.astype("<f2")),
            "brightness": [round(float(level), 1) for level in entry.levels],
            "tiny": _packed(entry.tiny),
        }
        for entry in entries
    ]
    return json.dumps({"features": features.KIND, "pictures": pictures}, indent=1) + "\n"


def read_index(path: Path) -> dict[str, Any]:
    """`features`, the kind of all vectors, and `pictures`, a dict for `entry_of` each.

    Raises:
        EngineOptionError: it is no index.
    """
    try:
        listed = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(listed["pictures"], list) or not isinstance(listed["features"], str):
            raise TypeError
    except (ValueError, KeyError, TypeError) as error:
        raise EngineOptionError(
            f"{path} is no index of references: move it away, and add the pictures beside it anew"
        ) from error
    return dict(listed)


def entry_of(index: Path, listed: dict[str, Any], described: bool) -> Entry:
    """One picture as an index lists it; its vectors are 0 unless `described` by this version's features.

    Raises:
        EngineOptionError: it cannot be read.
    """
    try:
        height, width = listed["size"]
        shape = (features.VIEWS, features.DIMENSIONS)
        vectors = np.zeros(shape, np.float32)
        if described:
            packed = np.frombuffer(base64.b64decode(listed["features"]), "<f2")
            vectors = packed.astype(np.float32).reshape(shape)
        return Entry(
            str(listed["key"]),
            Path(str(listed["file"])).name,
            str(listed["source"]),
            bool(listed["still"]),
            str(listed["added"]),
            (int(height), int(width)),
            vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.float32(1e-6)),
            np.array(listed["brightness"], np.float32),
            np.frombuffer(base64.b64decode(listed["tiny"]), np.uint8).reshape(12, 16, 3),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise EngineOptionError(
            f"{index}: an entry cannot be read ({error}): move it away, and add the pictures beside it anew"
        ) from error


def _packed(values: NDArray[Any]) -> str:
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode()
