"""A folder of color pictures with an index, in which those are found that suit an infrared frame.

    FOLDER/street-1f0c9a7b.jpg ...    the pictures, as anybody may look at them
    FOLDER/thumbnails/KEY.jpg ...     small ones, for a page
    FOLDER/index.json                 what is known of each: where it came from, its features, its brightness

A picture is known by its content: what is added twice is there once. A picture that somebody deletes from
the folder is no longer found, and leaves the index with the next change.
"""

from __future__ import annotations

import datetime
import fcntl
import hashlib
import logging
import os
import re
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.engines.cache import write_atomically
from irchroma.engines.errors import EngineError, EngineOptionError
from irchroma.engines.reference.pictures import PICTURES, Reference, is_gray, read_picture
from irchroma.engines.retrieval import features
from irchroma.engines.retrieval.index import INDEX, Entry, entry_of, index_text, read_index
from irchroma.engines.retrieval.neighbors import Neighbors

log = logging.getLogger(__name__)

THUMBNAILS = "thumbnails"
THUMBNAIL_PX = 192
JPEG_QUALITY = 92
SHORTLIST = 24
"""Of the nearest by content that are then compared by brightness too."""
LEVELS_ALIKE = 2.0
"""Mean difference in gray levels, at 16 x 12 pixels, up to which a picture is one that is there already."""


@dataclass(frozen=True, slots=True)
class Match:
    """A picture that suits a frame.

    Attributes:
        entry: of the library.
        score: how much, at most 1; what is alike has `features.ALIKE` and more.
    """

    entry: Entry
    score: float


class ReferenceLibrary:
    """The library in one folder. Any thread reads; changes of several processes wait for each other."""

    def __init__(self, folder: Path, make: bool = False) -> None:
        """Read the index.

        Args:
            folder: of the library.
            make: begin one where there is none.

        Raises:
            EngineOptionError: there is no library in it, or its index cannot be read.
        """
        self.folder = folder
        if make:
            try:
                (folder / THUMBNAILS).mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise EngineOptionError(f"{folder}: cannot be made ({error.strerror})") from error
        elif not (folder / INDEX).is_file():
            raise EngineOptionError(
                f"there is no library of references in {folder}: make one with"
                f" `irchroma references add PICTURES --library {folder}`"
            )
        self.entries: list[Entry] = []
        self.gone: list[Entry] = []
        """Those whose picture is no longer in the folder."""
        self._lock = threading.Lock()
        self._neighbors: Neighbors | None = None
        self._read_ns = -1
        self.refresh()

    def refresh(self) -> bool:
        """Read the index anew where it has changed since; whether it had."""
        index = self.folder / INDEX
        try:
            changed_ns = index.stat().st_mtime_ns
        except FileNotFoundError:
            return False
        if changed_ns == self._read_ns:
            return False
        listed = read_index(index)
        same = listed["features"] == features.KIND
        found = [entry_of(index, one, same) for one in listed["pictures"]]
        if not same:
            log.info("%s: features of before, computed anew", self.folder)
            found = self._described_anew(found)
        with self._lock:
            self.entries, self.gone = found, []
            self._read_ns = changed_ns
        self.look_for_pictures()
        return True

    def look_for_pictures(self) -> None:
        """Find no longer those whose picture is not in the folder."""
        here = {path.name for path in self.folder.iterdir()}
        with self._lock:
            self.gone += [entry for entry in self.entries if entry.file not in here]
            self.entries = [entry for entry in self.entries if entry.file in here]
            self._neighbors = None

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Within it `add` and `remove` may be called; the index is written at its end, also of an error.

        Raises:
            EngineOptionError: the folder cannot be written.
        """
        try:
            lock = (self.folder / ".lock").open("a")
        except OSError as error:
            raise EngineOptionError(f"{self.folder}: cannot be written ({error.strerror})") from error
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self.refresh()
            try:
                yield
            finally:
                self._write()

    def add(self, reference: Reference) -> Entry | None:
        """Take a picture in; None where it, or one that looks the same, is there. Within `changing`.

        Raises:
            EngineOptionError: it has no color.
            OSError: it cannot be written.
        """
        if is_gray(reference.rgb):
            raise EngineOptionError(f"{reference.name} has no color: a reference is a picture by day")
        key = _key(reference)
        tiny = np.asarray(cv2.resize(reference.rgb, (16, 12), interpolation=cv2.INTER_AREA), np.uint8)
        if self.entries:
            others = np.stack([entry.tiny for entry in self.entries]).astype(np.int16)
            if (np.abs(others - tiny).mean((1, 2, 3)) <= LEVELS_ALIKE).any():
                return None
        whole = bool((reference.trust == 255).all())
        named = Path(reference.name)
        said = named.stem if named.suffix.lower() in PICTURES else reference.name
        stem = re.sub(r"[^A-Za-z0-9_-]+", "-", said).strip("-")[:40] or "picture"
        file = f"{stem}-{key[:8]}{'.jpg' if whole else '.png'}"
        pixels = cv2.cvtColor(reference.rgb, cv2.COLOR_RGB2BGR)
        if not whole:
            pixels = np.dstack([pixels, reference.trust])
        write_atomically(self.folder / file, [_coded(pixels, Path(file).suffix)])
        factor = THUMBNAIL_PX / max(pixels.shape[:2])
        small = cv2.resize(pixels[..., :3], None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        (self.folder / THUMBNAILS).mkdir(exist_ok=True)
        write_atomically(self._thumbnail_path(key), [_coded(small, ".jpg")])
        luma = reference.luma
        now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
        height, width = luma.shape
        entry = Entry(
            key,
            file,
            reference.name,
            reference.still,
            now,
            (height, width),
            features.describe(luma),
            features.brightness(luma),
            tiny,
        )
        with self._lock:
            self.entries = [*self.entries, entry]
            self._neighbors = None
        return entry

    def remove(self, names: Iterable[str]) -> list[Entry]:
        """Take pictures out, files and all, by key (or its first letters) or file name. Within `changing`.

        Raises:
            EngineOptionError: one of the names is not there, or is of several; nothing is removed then.
        """
        chosen = {entry.key: entry for entry in (self.find(name) for name in names)}
        with self._lock:
            self.entries = [entry for entry in self.entries if entry.key not in chosen]
            self.gone = [entry for entry in self.gone if entry.key not in chosen]
            self._neighbors = None
        for entry in chosen.values():
            (self.folder / entry.file).unlink(missing_ok=True)
            self._thumbnail_path(entry.key).unlink(missing_ok=True)
        return list(chosen.values())

    def find(self, name: str) -> Entry:
        """The entry of a key, of the first letters of one, or of a file name.

        Raises:
            EngineOptionError: there is none, or there are several.
        """
        known = [*self.entries, *self.gone]
        found = [entry for entry in known if name in (entry.key, entry.file)]
        found = found or [entry for entry in known if len(name) >= 4 and entry.key.startswith(name)]
        if len(found) != 1:
            why = "several begin like this" if found else "see `irchroma references list`"
            raise EngineOptionError(f"{self.folder}: no picture {name!r} ({why})")
        return found[0]

    def search(self, luma: NDArray[np.uint8], count: int = 5) -> list[Match]:
        """The pictures that suit an infrared frame, the best first: by content, then by brightness too.

        Args:
            luma: (H, W) uint8 Y', tone mapped.
            count: at most so many.

        Raises:
            EngineUnavailable: what finds neighbors is not installed.
        """
        return self.search_like(features.describe(luma), features.brightness(luma), count)

    def search_like(
        self, query: NDArray[np.float32], levels: NDArray[np.float32], count: int = 5
    ) -> list[Match]:
        """The same for a frame that has been described."""
        with self._lock:
            entries = self.entries
            if entries and self._neighbors is None:
                self._neighbors = Neighbors(np.concatenate([entry.vectors for entry in entries]))
            neighbors = self._neighbors
        if neighbors is None:
            return []
        rows = {row for view in query for row in neighbors.nearest(view, max(count, SHORTLIST))}
        near = [entries[number] for number in sorted({row // features.VIEWS for row in rows})]
        matches = [Match(one, features.score(query, levels, one.vectors, one.levels)) for one in near]
        return sorted(matches, key=lambda match: -match.score)[:count]

    def load(self, entry: Entry) -> Reference:
        """The picture itself.

        Raises:
            EngineOptionError: it is gone from the folder, cannot be read, or is too small.
        """
        picture = read_picture(self.folder / entry.file)
        return Reference(picture.rgb, picture.trust, entry.source, entry.still)

    def thumbnail(self, entry: Entry) -> bytes:
        """A small JPEG of it; made anew where somebody has deleted that.

        Raises:
            EngineOptionError: the picture is gone too.
        """
        try:
            return self._thumbnail_path(entry.key).read_bytes()
        except FileNotFoundError:
            rgb = self.load(entry).rgb
            factor = THUMBNAIL_PX / max(rgb.shape[:2])
            small = cv2.resize(rgb, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
            return _coded(cv2.cvtColor(small, cv2.COLOR_RGB2BGR), ".jpg")

    def _thumbnail_path(self, key: str) -> Path:
        return self.folder / THUMBNAILS / f"{key}.jpg"

    def _write(self) -> None:
        write_atomically(self.folder / INDEX, [index_text(self.entries).encode()])
        with self._lock:
            self.gone = []
            self._read_ns = (self.folder / INDEX).stat().st_mtime_ns

    def _described_anew(self, entries: list[Entry]) -> list[Entry]:
        """With the features of this version; a picture that is gone keeps what it has."""
        made = []
        for entry in entries:
            try:
                luma = self.load(entry).luma
            except EngineError:
                made.append(entry)
                continue
            vectors, levels = features.describe(luma), features.brightness(luma)
            made.append(replace(entry, vectors=vectors, levels=levels))
        return made


def default_folder() -> Path:
    """The user's own library, under XDG_DATA_HOME where set."""
    home = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(home) / "irchroma" / "references"


def _key(reference: Reference) -> str:
    content = hashlib.sha256(repr(reference.rgb.shape).encode())
    content.update(reference.rgb.tobytes())
    content.update(reference.trust.tobytes())
    return content.hexdigest()[:16]


def _coded(bgr: NDArray[Any], suffix: str) -> bytes:
    options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY] if suffix == ".jpg" else []
    done, data = cv2.imencode(suffix, bgr, options)
    if not done:
        raise EngineError(f"a picture of {bgr.shape} cannot be coded as {suffix}")
    return data.tobytes()
