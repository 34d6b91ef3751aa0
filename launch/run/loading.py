"""What a run loads beside the opening of its source, so that its frames wait for no library.

One that is loaded between two frames holds the interpreter's lock, for a second where it comes from disk. The
network that colored the same source the last time is read and compiled then, too.
"""

from __future__ import annotations

import hashlib
import json
import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from irchroma.engines import catalog
from irchroma.engines.cache import write_atomically
from irchroma.engines.network import preload
from irchroma.engines.network.network import NetworkOptions
from irchroma.engines.processor import usable_cores
from irchroma.launch.run.process import LOADS
from irchroma.launch.run.settings.options import RunConfig
from irchroma.stream.gstreamer import door
from irchroma.stream.sinks.encoding.encoders import encode_once
from irchroma.stream.sinks.encoding.launches import x264_launch
from irchroma.stream.sinks.encoding.task import ASSUMED_RATE, EncoderTask
from irchroma.stream.sinks.open_sink import public

log = logging.getLogger(__name__)

_OWN_SINKS = ("null", "window")


def load_ahead(config: RunConfig) -> list[threading.Thread]:
    """Begin to load what networks run on and what encodes; returns the threads that do at once."""
    parts: list[Callable[[], object]] = []
    neural = config.engine == "auto" or catalog.parse(config.engine).neural
    if neural and config.neural.network.runtime in ("auto", "openvino") and find_spec("openvino"):
        parts.append(partial(_openvino, config))
    if any(place not in _OWN_SINKS for place in config.to):
        parts.append(_gstreamer)
    # No daemons: a process that ends within an import of threads in C++ is aborted.
    threads = [threading.Thread(target=_quietly, args=(part,), name=LOADS) for part in parts]
    threads.append(threading.Thread(target=_quietly, args=(partial(_numpy, threads[:]),), name=LOADS))
    for thread in threads:
        thread.start()
    return threads


def remember(config: RunConfig, path: Path, options: NetworkOptions, shape: tuple[int, ...]) -> None:
    """Have the next `load_ahead` of such a run open this network, see `ahead.open_ahead`."""
    place = _place(config)
    if place is None:
        return
    kept = {"runtime": options.runtime, "threads": options.threads, "exact": options.exact}
    text = json.dumps({"network": str(path), "options": kept, "shape": shape})
    try:
        if not place.is_file() or place.read_text("utf-8") != text:
            write_atomically(place, [text.encode()])
    except OSError as error:
        log.info("the network of this source is not remembered: %s", error)


def remembers(config: RunConfig) -> bool:
    """Whether the next `load_ahead` of such a run has a network to open."""
    place = _place(config)
    return place is not None and place.is_file()


def _openvino(config: RunConfig) -> None:
    from irchroma.engines.network import openvino_runtime

    openvino_runtime.load_plugin()
    place = _place(config)
    if place is None or not place.is_file():
        return
    told = json.loads(place.read_text("utf-8"))
    options = replace(config.neural.network, **told["options"])
    preload.open_ahead(Path(told["network"]), options, tuple(int(number) for number in told["shape"]))


def _numpy(others: list[threading.Thread]) -> None:
    """What numpy's medians load when one is first asked for, 45 ms between two frames, and a tone map's
    waves, 5 ms; a start needs neither."""
    for thread in others:
        thread.join()
    for name in ("numpy.ma", "numpy.fft"):
        import_module(name)


def _place(config: RunConfig) -> Path | None:
    """Where it is remembered which network colors this source; None where nothing is kept."""
    cache, neural = config.neural.network.cache, config.neural
    if cache is None:
        return None
    network = replace(neural.network, cache=None)
    about = (public(config.source), config.engine, config.fixed, neural.weights, network)
    key = hashlib.sha256(repr((*about, usable_cores())).encode()).hexdigest()[:16]
    return cache.parent / f"network-{key}.json"


def _gstreamer() -> None:
    if all([door.has_element(name) for name in _ELEMENTS]):  # which loads it
        task = EncoderTask("h264", _SMALL, ASSUMED_RATE, live=True)
        encode_once(x264_launch("x264enc", task), _SMALL)


_ELEMENTS = ("appsrc", "x264enc", "h264parse", "mp4mux", "filesink")
"""Most sinks are made of these; where others are taken, little is lost."""
_SMALL = (64, 64)
"""(H, W) of the picture that x264 is begun with. A run's first one took 100 ms otherwise: at 1280x512 22 to
45 ms of CPU time, and 11 where a small one had been coded before."""


def _quietly(part: Callable[[], object]) -> None:
    try:
        part()
    except Exception as error:  # noqa: BLE001 (whoever needs it will say so)
        log.debug("loading ahead: %r", error)
