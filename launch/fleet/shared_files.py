"""Files of cameras (references, profiles, masks, weights) in one place for all machines, by their content.

In a camera's configuration `shared:gate/day.jpg` stands for a file, or a folder, below `[fleet] files`: a
folder that every machine has, or a bucket (`s3://site/irchroma`; fsspec, whose packages for each kind of
store and whose credentials are the machine's own). The supervisor writes the SHA-256 of the content in, so
that a camera whose files have changed has another configuration and begins anew, and no other does; its
machine fetches what it has not got yet, and refuses what is not of that content.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from irchroma.engines.cache import cache_folder
from irchroma.launch.arguments import secret_places
from irchroma.launch.config import ConfigError
from irchroma.stream.errors import StreamError

log = logging.getLogger(__name__)

_NAMED = re.compile(r'"shared:((?:[^"\\]|\\.)+)"')
_STAMPED = re.compile(r'"shared-([0-9a-f]{64}):((?:[^"\\]|\\.)+)"')
_PART_BYTES = 1 << 20


class SharedFiles:
    """What the names in cameras' configurations stand for; one thread.

    Args:
        place: `[fleet] files`.

    Raises:
        ConfigError: it holds a password, or nothing of its kind can be read here.
    """

    def __init__(self, place: str) -> None:
        if any(place[part] for part in secret_places(place)):
            raise ConfigError("fleet.files: holds a password: machines have credentials of their own")
        self._place = place.rstrip("/")
        self._seen: dict[str, tuple[str, str]] = {}  # name -> what the store says of it, its content

    def stamped(self, text: str) -> str:
        """A camera's configuration with the content of its files written in.

        A store that does not answer leaves what was known.

        Raises:
            ConfigError: there is no such file, or no `[fleet] files`.
        """
        if not _NAMED.search(text):
            return text
        if not self._place:
            raise ConfigError("shared: files need [fleet] files: the folder or bucket in which they lie")

        def stamp(match: re.Match[str]) -> str:
            name = json.loads(f'"{match[1]}"')
            return json.dumps(f"shared-{self._content(name)}:{self._place}/{name}")

        return _NAMED.sub(stamp, text)

    def _content(self, name: str) -> str:
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise ConfigError(f"shared:{name}: expected a name below {self._place}")
        known = self._seen.get(name)
        try:
            system, root = opened(f"{self._place}/{name}")
            system.invalidate_cache()
            mark = json.dumps(sorted((path, str(system.ukey(path))) for path in _files(system, root)))
            if known is None or known[0] != mark:
                known = self._seen[name] = (mark, content_of(system, root))
        except OSError as error:
            reason = _reason(error)
            if known is None:
                raise ConfigError(f"shared:{name}: {self._place}/{name}: {reason}") from error
            log.warning("shared:%s: %s; what is known of it stays", name, reason)
        return known[1]


def local(text: str) -> str:
    """A configuration with names of files of this machine, which are fetched where they are not here yet.

    Raises:
        ConfigError: one cannot be had, or is another by now.
    """

    def fetch(match: re.Match[str]) -> str:
        return json.dumps(str(_fetched(match[1], json.loads(f'"{match[2]}"'))))

    return _STAMPED.sub(fetch, text)


def _fetched(content: str, address: str) -> Path:
    kept = cache_folder()
    if kept is None:
        raise ConfigError(f"{address}: no folder to keep it in: XDG_CACHE_HOME cannot be written")
    folder = kept.parent / "shared" / content
    target = folder / PurePosixPath(address).name
    if target.exists():
        return target
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        new = Path(scratch) / target.name
        try:
            system, root = opened(address)
            for path in _files(system, root):
                inner = path[len(root) :].lstrip("/")
                place = new / inner if inner else new
                place.parent.mkdir(parents=True, exist_ok=True)
                with system.open(path, "rb") as source, place.open("wb") as copy:
                    shutil.copyfileobj(source, copy, _PART_BYTES)
            found = content_of(*opened(str(new)))
        except OSError as error:
            raise ConfigError(f"{address}: cannot be fetched ({_reason(error)})") from error
        if found != content:
            raise ConfigError(f"{address}: has just changed, its new content comes with the next look")
        if not target.exists():
            new.rename(target)
    log.info("%s is here: %s", address, content[:12])
    return target


def _reason(error: OSError) -> str:
    """For people; stores' packages leave out what the system would say."""
    if isinstance(error, FileNotFoundError) and not error.strerror:
        return "no such file or directory"
    return (error.strerror or str(error) or type(error).__name__).lower()


def opened(address: str) -> tuple[Any, str]:
    """fsspec's file system of an address, and its own name for the place.

    Raises:
        StreamError: fsspec, or what it needs for this kind of store, is not installed.
    """
    try:
        import fsspec

        system, path = fsspec.core.url_to_fs(address)
    except (ImportError, ValueError) as error:
        raise StreamError(
            f"{address}: {error}: pip install 'irchroma[fleet]' and its store's package"
        ) from error
    return system, str(path).rstrip("/")


def _files(system: Any, root: str) -> Iterator[str]:
    """The files under a folder, or the one file, in the order of their names."""
    system.info(root)  # FileNotFoundError
    found = sorted(system.find(root)) if system.isdir(root) else [root]
    if not found:
        raise FileNotFoundError(2, "an empty folder", root)
    yield from found


def content_of(system: Any, root: str) -> str:
    """SHA-256 of a file; of a folder, of its files' names and theirs."""
    digests = []
    for path in _files(system, root):
        digest = hashlib.sha256()
        with system.open(path, "rb") as file:
            while part := file.read(_PART_BYTES):
                digest.update(part)
        digests.append((path[len(root) :].lstrip("/"), digest.hexdigest()))
    if digests[0][0] == "":
        return digests[0][1]
    return hashlib.sha256(json.dumps(digests).encode()).hexdigest()
