"""The user's folder for what took long to make, and files that are there whole or not at all."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

log = logging.getLogger(__name__)

_LONGEST_NAME_BYTES = 255  # NAME_MAX of Linux


def cache_folder() -> Path | None:
    """The user's folder for compiled models, under XDG_CACHE_HOME where set; None if it cannot be written."""
    try:
        home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
        folder = Path(home) / "irchroma" / "compiled"
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError) as error:
        log.info("compiled models are not kept: %s", error)
        return None
    if not os.access(folder, os.W_OK | os.X_OK):
        log.info("compiled models are not kept: %s cannot be written", folder)
        return None
    return folder


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
    """Write a file beside its place, then move it there: a reader sees the old one or the new one."""
    with replaced(path) as partial, partial.open("wb") as file:
        for part in parts:
            file.write(part)
        file.flush()
        os.fsync(file.fileno())
