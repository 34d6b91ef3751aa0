"""`irchroma run` of several cameras: starts them, watches over them, ends them together."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
from types import FrameType
from typing import Any

from irchroma.engines.errors import EngineError
from irchroma.engines.gpu.pool import DevicePool
from irchroma.engines.network.sharing import NetworkPool
from irchroma.launch.config import ConfigError
from irchroma.launch.run.cameras import CamerasConfig
from irchroma.launch.run.feeds import CameraFeed
from irchroma.launch.run.monitor import Progress
from irchroma.launch.run.outputs import write_statistics
from irchroma.launch.run.wiring import Shared
from irchroma.stream.errors import StreamError

log = logging.getLogger(__name__)

_LOOK_S = 0.2
_CLOCK_COLUMNS = 12  # a line that wraps could not be drawn over


class CamerasRun:
    """Several cameras in one process, with one pool of networks.

    Args:
        config: what `load_cameras` gave.

    Raises:
        ConfigError: a camera's configuration makes no sense; nothing has been started then.
    """

    def __init__(self, config: CamerasConfig) -> None:
        self._config = config
        count = len(config.cameras)
        shares = config.sharing.networks
        self._pool = NetworkPool(config.sharing.batch(), cameras=count) if shares else None
        self._devices = DevicePool(config.sharing.batch()) if shares and count > 1 else None
        self.feeds: list[CameraFeed] = []
        for camera in config.cameras:
            shared = Shared(camera.name, self._pool, self._devices, _threads_each(count))
            try:
                self.feeds.append(CameraFeed(camera, shared))
            except (StreamError, EngineError, ValueError) as error:
                raise ConfigError(f"cameras.{camera.name}: {error}") from error

    def run(self, progress: CamerasProgress | None = None) -> int:
        """Run until every camera has ended or `stop` was called; 0 when none was given up."""
        for feed in self.feeds:
            feed.start()
        try:
            while not all([feed.join(_LOOK_S / len(self.feeds)) for feed in self.feeds]):
                if progress is not None:
                    progress.update(self.feeds)
        finally:
            self.stop()
            for feed in self.feeds:
                feed.join()
            if progress is not None:
                progress.close()
        self._finish()
        return 1 if any(feed.failure is not None for feed in self.feeds) else 0

    def stop(self) -> None:
        """End all cameras in good order; may be called from a signal handler and more than once."""
        for feed in self.feeds:
            feed.stop()

    def stats(self) -> dict[str, Any]:
        """Of every camera, and of the networks that they share."""
        return {
            "cameras": {feed.name: feed.stats() for feed in self.feeds},
            "networks": [
                figures
                for pool in (self._pool, self._devices)
                if pool is not None
                for figures in pool.figures()
            ],
        }

    def _finish(self) -> None:
        failed = [feed.name for feed in self.feeds if feed.failure is not None]
        frames = sum(feed.stats()["frames"] for feed in self.feeds)
        log.info("%d cameras, %d frames", len(self.feeds), frames)
        if failed:
            log.error("%d of %d cameras failed: %s", len(failed), len(self.feeds), ", ".join(failed))
        if self._config.stats is not None:
            write_statistics(self._config.stats, json.dumps(self.stats(), indent=2) + "\n")


class CamerasProgress:
    """One line for all cameras on a terminal: `gate 45 % 30 fps   yard waiting`."""

    def __init__(self) -> None:
        self._line = Progress(None)

    def update(self, feeds: list[CameraFeed]) -> None:
        """Draw, at most five times a second."""
        line = "   ".join(self.part(feed) for feed in feeds)
        room = shutil.get_terminal_size().columns - _CLOCK_COLUMNS
        self._line.update(0, line if len(line) <= room else line[: max(0, room - 3)] + "...")

    @staticmethod
    def part(feed: CameraFeed) -> str:
        """One camera's part of the line."""
        state = feed.state()
        if state not in ("running", "ended"):
            return f"{feed.name} {state}"
        share = feed.monitor.share_done()
        done = "" if share is None else f" {share:.0%}"
        return f"{feed.name}{done} {feed.monitor.frames_per_second():.0f} fps"

    def close(self) -> None:
        """Leave the line clean."""
        self._line.close()


def run_cameras(config: CamerasConfig, quiet: bool) -> int:
    """Run them all; SIGINT and SIGTERM finish every file, a second signal ends the process at once."""
    cameras = CamerasRun(config)
    seen: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        if seen:
            os._exit(128 + number)
        seen.append(number)
        cameras.stop()

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    return cameras.run(None if quiet else CamerasProgress())


def _threads_each(cameras: int) -> int:
    """CPU threads for a camera's encoder, and for its network where it shares none."""
    return max(1, len(os.sched_getaffinity(0)) // cameras)
