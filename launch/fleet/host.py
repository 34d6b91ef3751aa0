"""The cameras of one machine: a process in which they come and go while the others run."""

from __future__ import annotations

import logging
import threading
from typing import Any

from irchroma.engines.network.sharing import SharedPool
from irchroma.launch.fleet.config import read_camera
from irchroma.launch.fleet.reports import Line, LogTail
from irchroma.launch.fleet.shared_files import local
from irchroma.launch.run.engines import Shared
from irchroma.launch.run.feeds import CameraFeed
from irchroma.launch.run.process import set_up, tune_process
from irchroma.launch.run.settings.options import require
from irchroma.launch.run.settings.passwords import revealed

log = logging.getLogger(__name__)

_END_S = 20.0
_OLD = ", the old one goes on"


class CameraHost:
    """Runs cameras with one pool of networks; its methods may be called by several threads.

    Args:
        node: the machine's name, for outputs that hold it.
    """

    def __init__(self, node: str) -> None:
        tune_process()
        set_up("json", logging.INFO)
        self._tail = LogTail()
        self._tail.attach()
        self._node = node
        self._pool = SharedPool(beside=True)
        self._feeds: dict[str, CameraFeed] = {}
        self._texts: dict[str, str] = {}
        self._refused: dict[str, str] = {}
        self._lock = threading.Lock()
        self._changes = threading.Lock()  # one camera is begun or ended at a time, figures are told meanwhile

    def begin(self, camera: str, text: str) -> None:
        """Start a camera from its configuration, or start it anew where that has changed or it has ended.

        What cannot be used is told, and of a camera that runs the old configuration goes on.
        """
        with self._changes:
            self._begin(camera, text)

    def _begin(self, camera: str, text: str) -> None:
        with self._lock:
            running = self._feeds.get(camera)
            ended = running is None or running.join(0)
            if not ended and self._texts[camera] == text:
                return
            self._refused.pop(camera, None)
            self._pool.cameras = len(self._feeds) + (running is None)
        try:
            config = revealed(read_camera(local(text), self._node))
            require(config)
            feed = CameraFeed(config, Shared(camera, self._pool, 1))
        except Exception as error:  # noqa: BLE001 (told to whoever looks after all machines)
            why = str(error) or type(error).__name__
            if ended:
                self._refused[camera] = why
            log.error("%s: its configuration cannot be used%s: %s", camera, _OLD * (not ended), why)
            return
        if running is not None and not ended:
            log.info("%s: begins anew, as its configuration has changed", camera)
            running.stop()
            running.join(_END_S)
        with self._lock:
            self._feeds[camera], self._texts[camera] = feed, text
        feed.start()

    def end(self, camera: str) -> None:
        """Stop a camera in good order; nothing where it does not run."""
        with self._changes, self._lock:
            feed = self._feeds.pop(camera, None)
            self._refused.pop(camera, None)
            self._pool.cameras = max(1, len(self._feeds))
        if feed is not None:
            feed.stop()
            feed.join(_END_S)

    def figures(self) -> dict[str, dict[str, Any]]:
        """Camera -> its statistics, and `failure`: why it does not run, None where it does."""
        with self._lock:
            feeds, refused = dict(self._feeds), dict(self._refused)
        told = {name: {**feed.stats(), "failure": feed.failure} for name, feed in feeds.items()}
        return told | {
            name: {"state": "failed", "frames": 0, "failure": why} for name, why in refused.items()
        }

    def lines(self, after: int) -> tuple[int, list[Line]]:
        """See `LogTail.after`."""
        return self._tail.after(after)

    def close(self) -> None:
        """End all cameras, at once."""
        self._tail.detach()
        with self._changes, self._lock:
            feeds = list(self._feeds.values())
            self._feeds.clear()
        for feed in feeds:
            feed.stop()
        for feed in feeds:
            feed.join(_END_S)
