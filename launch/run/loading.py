"""What a run loads beside the opening of its source, so that its frames wait for no library.

One that is loaded between two frames holds the interpreter's lock, for a second where it comes from disk.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from importlib.util import find_spec

from irchroma.engines import catalog
from irchroma.launch.run.options import RunConfig
from irchroma.stream.gstreamer import door

log = logging.getLogger(__name__)

_OWN_SINKS = ("null", "window")


def load_ahead(config: RunConfig) -> list[threading.Thread]:
    """Begin to load what networks run on and what encodes; returns the threads that do at once."""
    parts: list[Callable[[], object]] = []
    neural = config.engine == "auto" or catalog.parse(config.engine).neural
    if neural and config.neural.network.runtime in ("auto", "openvino") and find_spec("openvino"):
        parts.append(_openvino)
    if any(place not in _OWN_SINKS for place in config.to):
        parts.append(_gstreamer)
    # No daemons: a process that ends within an import of threads in C++ is aborted.
    threads = [threading.Thread(target=_quietly, args=(part,), name="load ahead") for part in parts]
    for thread in threads:
        thread.start()
    return threads


def _openvino() -> None:
    from irchroma.engines.network import openvino_runtime

    openvino_runtime.load_plugin()


def _gstreamer() -> None:
    for name in _ELEMENTS:
        door.has_element(name)  # which loads it


_ELEMENTS = ("appsrc", "x264enc", "h264parse", "mp4mux", "filesink")
"""Most sinks are made of these; where others are taken, little is lost."""


def _quietly(part: Callable[[], object]) -> None:
    try:
        part()
    except Exception as error:  # noqa: BLE001 (whoever needs it will say so)
        log.debug("loading ahead: %r", error)
