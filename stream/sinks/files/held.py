"""One writer for a file or folder: two runs that write to one place would spoil what both make."""

from __future__ import annotations

import fcntl
import logging
import os
from pathlib import Path

from irchroma.stream.errors import SinkError

log = logging.getLogger(__name__)


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
