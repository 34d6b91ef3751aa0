"""Networks that are there before they are asked for: read and compiled while a run's source opens."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path

from irchroma.engines.network.network import Network, NetworkOptions, open_network

_Key = tuple[Path, NetworkOptions]
_lock = threading.Lock()
_kept: dict[_Key, Future[Network]] = {}


def open_ahead(path: Path, options: NetworkOptions, shape: tuple[int, ...]) -> None:
    """Have a network ready for `open_kept`, compiled where its runtime compiles; blocks until it is.

    Nothing is calculated: the threads that a runtime starts for that get the priority of the thread that
    makes the first call.

    Args:
        path: its file.
        options: exactly those that it will be asked for with.
        shape: (N, 1, H, W) of what it will see first.

    Raises:
        EngineError: as `open_network`; whoever asks then opens it anew.
    """
    key, future = (path.resolve(), options), Future[Network]()
    with _lock:
        if key in _kept:
            return
        _kept[key] = future
    try:
        network = open_network(path, options)
        compile_for: Callable[[tuple[int, ...]], None] | None = getattr(network, "compile_for", None)
        try:
            if compile_for is not None:
                compile_for(shape)
        except BaseException:
            network.close()
            raise
    except BaseException as error:
        with _lock:
            if _kept.get(key) is future:
                del _kept[key]
        future.set_exception(error)
        raise
    future.set_result(network)


def open_kept(path: Path, options: NetworkOptions) -> Network:
    """The network that was opened ahead, the caller's from now on, once it is ready; or a new one.

    Raises:
        EngineError: as `open_network`.
    """
    with _lock:
        future = _kept.pop((path.resolve(), options), None)
    if future is not None:
        with suppress(Exception):  # what lasts is said where it is opened once more
            return future.result()
    return open_network(path, options)


def keep(path: Path, options: NetworkOptions, network: Network) -> None:
    """Leave an open network to whoever asks for the same one next; `let_go` closes it where nobody does."""
    key, future = (path.resolve(), options), Future[Network]()
    future.set_result(network)
    with _lock:
        there = _kept.setdefault(key, future)
    if there is not future:
        network.close()


def let_go() -> None:
    """Close what nobody has asked for, now or as soon as it is open."""
    with _lock:
        unused = list(_kept.values())
        _kept.clear()
    for future in unused:
        future.add_done_callback(_close)


def _close(future: Future[Network]) -> None:
    if future.exception() is None:
        future.result().close()
