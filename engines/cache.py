"""The user's folder for what took long to make, and files that are there whole or not at all.

Where that folder cannot be written (a container whose files came with its image), what is in it is used all
the same, and what is not there and has to be a file goes with the process that made it.
"""

from __future__ import annotations

import atexit
import fcntl
import functools
import hashlib
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from irchroma.engines.errors import EngineUnavailable

log = logging.getLogger(__name__)

_LOOK_S = 0.02
_LONGEST_NAME_BYTES = 255  # NAME_MAX of Linux


def cache_home() -> Path | None:
    """Where that folder is, whether or not it is there or can be written; None for a user without a home."""
    try:
        home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    except RuntimeError as error:
        log.info("compiled models are not kept: %s", error)
        return None
    return Path(home) / "irchroma" / "compiled"


def cache_folder() -> Path | None:
    """The user's folder for compiled models, under XDG_CACHE_HOME where set; None if it cannot be written."""
    folder = cache_home()
    if folder is None:
        return None
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        log.info("compiled models are not kept: %s: %s", folder, (error.strerror or str(error)).lower())
        return None
    if not os.access(folder, os.W_OK | os.X_OK):
        log.info("compiled models are not kept: %s cannot be written", folder)
        return None
    return folder


def readable(path: Path) -> bool:
    """Whether a file is there and can be read: not where a folder on its way is another user's, of which
    `Path.is_file` is an error."""
    try:
        with path.open("rb"):
            return path.is_file()
    except OSError:
        return False


def where_kept(name: str, usable: Callable[[Path], bool] = readable) -> Path:
    """Where a file that must be a file is, or where it is to go: then its folder is there and can be written.

    Args:
        name: of the file, with folders below the user's.
        usable: whether that one can be used, or has to be made; also asked of what is not there.

    Raises:
        EngineUnavailable: it is nowhere, and there is no place for it.
    """
    for folder in (_made_by_process(), cache_home()):  # in place of what is of no use in the latter
        if folder is not None and usable(folder / name):
            return folder / name
    place = (cache_folder() or _folder_of_process()) / name
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EngineUnavailable(f"{place.parent}: {(error.strerror or str(error)).lower()}") from error
    return place


def _made_by_process() -> Path | None:
    return _folder_of_process() if _folder_of_process.cache_info().currsize else None


@functools.cache
def _folder_of_process() -> Path:
    try:
        made = Path(tempfile.mkdtemp(prefix="irchroma-"))
    except OSError as error:
        raise EngineUnavailable("no folder can be written: set XDG_CACHE_HOME to one that can") from error
    log.warning(
        "what takes long to make is made anew at each start: set XDG_CACHE_HOME to a folder to keep it"
    )
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return made


@contextmanager
def alone_in(
    folder: str | None, what: str, within_s: float = 20.0, ends: Callable[[], bool] = lambda: False
) -> Iterator[bool]:
    """Keep other processes from making the same in a folder meanwhile.

    Args:
        folder: of what is kept; None where nothing is.
        what: is made.
        within_s: how long is waited for another that makes it; the system lets go of it where that one dies.
        ends: asked while it is waited: whether this is given up at once, as the program ends.

    Yields:
        Whether this one is alone; True too where nothing can be locked, as in what cannot be written.
    """
    if folder is None:
        yield True
        return
    name = f"{hashlib.sha256(what.encode()).hexdigest()[:16]}.lock"
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        held = os.open(Path(folder, name), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        yield True
        return
    alone = False
    try:
        alone = _locked(held, within_s, ends)
        yield alone
    finally:
        if alone:
            with suppress(OSError):
                fcntl.flock(held, fcntl.LOCK_UN)  # a process forked meanwhile has the file open, too
        os.close(held)


def _locked(held: int, within_s: float, ends: Callable[[], bool]) -> bool:
    until_s = time.monotonic() + within_s
    while True:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until_s or ends():
                return False
            time.sleep(_LOOK_S)
        except OSError:  # a file system that locks nothing
            return True
        else:
            return True


def digest_of(path: Path) -> str:
    """SHA-256 of a file in hexadecimal, reckoned once until another takes its place or it is written again.

    For what stays as it is, as weights do. That a disk has changed bytes shows in `digest_on_disk` alone.

    Raises:
        OSError: it cannot be read.
    """
    about = path.stat()  # the date of a change cannot be set, that of writing can: copystat does
    return _digest_of(path, about.st_dev, about.st_ino, about.st_ctime_ns, about.st_mtime_ns, about.st_size)


@functools.cache  # 15 ms for a float network and its twin, four times a start
def _digest_of(path: Path, *_: int) -> str:
    return digest_on_disk(path)


def digest_on_disk(path: Path) -> str:
    """SHA-256 of a file in hexadecimal, of what is read now.

    Raises:
        OSError: it cannot be read.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(1 << 20):
            digest.update(part)
    return digest.hexdigest()


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """A name beside a file's place, to write to; what is there in the end takes the place, or nothing does.

    The name has the file's ending, which some libraries go by.
    """
    stem, rest = path.stem, f".{os.getpid()}.partial{path.suffix}"
    while stem and len(os.fsencode(f".{stem}{rest}")) > _LONGEST_NAME_BYTES:
        stem = stem[:-1]
    partial = path.with_name(f".{stem}{rest}")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_atomically(path: Path, parts: Sequence[bytes]) -> None:
    """Write a file beside its place, then move it there: readers see the old or the new one whole."""
    with replaced(path) as partial, partial.open("wb") as file:
        for part in parts:
            file.write(part)
        file.flush()
        os.fsync(file.fileno())
