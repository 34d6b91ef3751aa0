"""A file or folder that is written to: by one run alone, and still where its name says."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import time
from pathlib import Path

from irchroma.stream.errors import SinkError
from irchroma.stream.remarks import remark

log = logging.getLogger(__name__)

_LOOK_S = 1.0


def hold(place: Path, label: str, advice: str) -> int:
    """Take a file or folder that is there for one sink alone.

    Args:
        place: the file or folder.
        label: the sink's, for the error.
        advice: what to do where another has it.

    Returns:
        A descriptor: the place is held until it is closed, by the system where the process dies.

    Raises:
        SinkError: another run has it.
        OSError: it cannot be opened.
    """
    held = os.open(place, os.O_RDONLY if place.is_dir() else os.O_WRONLY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(held)
        raise SinkError(f"{label}: another run writes there: {advice}") from None
    except OSError:  # a file system that cannot lock, as some over a network
        log.info("%s: the file system locks nothing, so a second run would not be noticed", label)
    return held


class Place:
    """Whether a file that is written to is still what its name stands for.

    What is written to one that was deleted, or whose disk was taken from its place, is lost without an error.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path, self._descriptor = path, descriptor
        self._looked_s = time.monotonic()
        self._said = False
        self._told_apart = True
        self._told_apart = self.kept  # there may be file systems that give a file another number each time

    @property
    def kept(self) -> bool:
        """True too where that cannot be known, as on a network that is away: writing to it will tell."""
        try:
            same = os.path.samestat(self._path.stat(), os.fstat(self._descriptor))
            return same or not self._told_apart
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:
            return True

    def look(self, pictures: int) -> None:
        """Look once a second, whenever it is called.

        Args:
            pictures: that have been written to it.

        Raises:
            SinkError: as `gone`.
        """
        now_s = time.monotonic()
        if now_s - self._looked_s >= _LOOK_S:
            self._looked_s = now_s
            if not self.kept:
                raise self.gone(pictures)

    def gone(self, pictures: int) -> SinkError:
        """The error, whose `errno` is ENOENT; the first time it is a remark of the run, too."""
        if self._deleted:
            text, key = "was deleted while it was recorded: the pictures in it are lost", "recording deleted"
        else:
            text, key = (
                "is no longer there while it is recorded: moved, or its disk taken away",
                "recording moved",
            )
        error = SinkError(f"{self._path}: {text}")
        error.errno, error.told = errno.ENOENT, True
        if not self._said:
            self._said = True
            if not remark(str(error), pictures, key, lost=self._deleted):
                log.warning("%s", error)  # another file of the run
        return error

    @property
    def _deleted(self) -> bool:
        try:
            return not os.fstat(self._descriptor).st_nlink
        except OSError:  # a network that is away, or knows it no more
            return False
