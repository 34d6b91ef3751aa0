"""One camera among several in a process: its loop and thread, and how it waits, fails and ends by itself.

`run_cameras` starts them, watches over them, and ends them together.
"""

from __future__ import annotations

import json
import logging
import shutil
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from irchroma.engines import catalog
from irchroma.engines.errors import EngineError
from irchroma.engines.network.sharing import SharedPool
from irchroma.engines.processor import usable_cores
from irchroma.launch.config import ConfigError
from irchroma.launch.progress import Progress
from irchroma.launch.run.cameras import CameraRun, CamerasConfig
from irchroma.launch.run.control.rereading import Reread, reread_all
from irchroma.launch.run.engines import Shared
from irchroma.launch.run.monitoring.monitor import Monitor
from irchroma.launch.run.monitoring.notices import ServiceNotices, idle_since
from irchroma.launch.run.outputs import require_folders, source_file, write_statistics
from irchroma.launch.run.process import stop_on_signals
from irchroma.launch.run.settings.options import RunConfig
from irchroma.launch.run.settings.passwords import revealed
from irchroma.launch.run.wiring import build_loop
from irchroma.stream.errors import SinkError, SourceError, StreamError
from irchroma.stream.loop.loop import Loop
from irchroma.stream.loop.threads import feed_name, feed_thread
from irchroma.stream.remarks import run_remarks

if TYPE_CHECKING:
    from irchroma.launch.run.automatic import Governor

log = logging.getLogger(__name__)

_FIRST_RETRY_S, _LONGEST_RETRY_S = 1.0, 10.0


class CameraFeed:
    """Runs one camera on a thread of its own; nothing that happens to it reaches the others.

    A camera that gives no first frame is tried again where its configuration says `wait_at_start`; one
    that has run is found again by its loop, as in a run of its own.

    Attributes:
        name: the camera's.
        monitor: counts and latencies.
        failure: why the camera was given up; None while it was not.
        waiting: why there is no first frame yet; None otherwise.
    """

    def __init__(
        self, config: CameraRun, shared: Shared, again: Callable[[], CamerasConfig] | None = None
    ) -> None:
        """Build everything that can be built before the camera is asked.

        Args:
            config: of the camera.
            shared: what it has in common with the others.
            again: reads the configuration of all once more.

        Raises:
            ConfigError, SinkError, ValueError: the configuration makes no sense.
        """
        self.name, self._config, self._shared = config.name, config, shared
        self._governor = _governor_of(config, shared)
        self.monitor = Monitor(config, quiet=True, governor=self._governor, camera=config.name)
        self.reread: Reread | None = None
        if again is not None:
            self.reread = Reread(config, lambda: _of_name(again(), config.name))
        self.failure: str | None = None
        self.waiting: str | None = None
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        token = feed_name.set(self.name)
        remarks_token = run_remarks.set(self.monitor.remarks)
        try:
            self._thread = feed_thread(self._work, "run")
            self._loop = self._first_loop()
        finally:
            feed_name.reset(token)
            run_remarks.reset(remarks_token)

    def start(self) -> None:
        """Begin; returns at once."""
        self.monitor.health.start()
        self._thread.start()

    def stop(self) -> None:
        """End in good order; may be called from a signal handler and more than once."""
        self._stopping.set()
        loop = self._loop
        if loop is not None:
            loop.stop()

    def join(self, timeout_s: float | None = None) -> bool:
        """Wait for the end; False when it has not come within the time."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def stats(self) -> dict[str, Any]:
        """As of a single run."""
        return self.monitor.stats()

    def state(self) -> str:
        """See `irchroma.launch.run.monitoring.health.State`."""
        return self.monitor.health.look().state

    def lacking(self) -> str:
        """What a run that is over since it was stopped lacks of a source that ends; empty for nothing."""
        loop = self.monitor.loop
        if loop is not None and loop.reader.info is not None:
            return loop.cut_short()
        file = source_file(self._config.source)
        ends = file is not None and (file.is_file() or file.is_dir())
        return "stopped before the end: it was not begun" if ends else ""

    def missed(self) -> str:
        """Of a camera that was waited for until the end, in vain: that it was, and why; else empty."""
        if self.failure is not None or self._frames() or self.lacking():
            return ""
        return self.monitor.health.look().reason or ""

    def _first_loop(self) -> Loop | None:
        try:
            return self._build()
        except (ValueError, SinkError):
            raise  # the configuration's own fault, and no camera's
        except SourceError:  # such as a file that is not there; it is asked for again when the run begins
            return None

    def _build(self) -> Loop:
        # After a reload, too, a camera that is tried again begins as it has been told.
        told = self.reread.control if self.reread is not None else None
        config = told.config if told is not None else self._config
        loop = build_loop(
            config, stats=self.stats, shared=self._shared, reread=self.reread, governor=self._governor
        )
        self.monitor.loop = loop
        return loop

    def _work(self) -> None:
        delay_s = _FIRST_RETRY_S
        try:
            while not self._stopping.is_set():
                error = self._run_once()
                if error is None or not self._may_retry(error):
                    break
                if self.waiting is None:
                    log.warning("%s; trying again", error)
                self._wait_for(str(error))
                self._loop = None
                self._stopping.wait(delay_s)
                delay_s = min(2 * delay_s, _LONGEST_RETRY_S)
        finally:
            self.monitor.finish(self.failure)
            self._require_clean()

    def _require_clean(self) -> None:
        try:
            self.monitor.require_clean()
        except StreamError as error:
            if self.failure is None:
                self._give_up(str(error))

    def _run_once(self) -> Exception | None:
        """Run until the end; the error where it was a bad one."""
        try:
            if self._loop is None:
                self._loop = self._build()
            if self._stopping.is_set():  # told to stop while it was built
                self._loop.stop()
            self._loop.run(self._on_frame)
        except (StreamError, EngineError, ConfigError, OSError) as error:
            if self._stopping.is_set() and not self._frames():
                return None  # was still waiting for its camera when the end came
            if not self._may_retry(error):
                self._give_up(str(error))
            return error
        except Exception as error:  # the thread's last stand: the others go on
            log.exception("the camera's run broke")
            self._give_up(f"unexpected {type(error).__name__}: {error}")
            return error
        return None

    def _on_frame(self, loop: Loop) -> None:
        self._wait_for(None)
        self.monitor.on_frame(loop)

    def _wait_for(self, reason: str | None) -> None:
        self.waiting = self.monitor.health.waiting = reason

    def _frames(self) -> int:
        return self._loop.frames if self._loop is not None else 0

    def _may_retry(self, error: Exception) -> bool:
        """Only before the first frame: nothing that was recorded is ever written over."""
        wanted = self._config.reconnect.wait_at_start and not self._frames() and self.failure is None
        return wanted and not isinstance(error, ValueError)

    def _give_up(self, reason: str) -> None:
        self.failure = reason
        log.error("given up: %s", reason)


def _governor_of(config: CameraRun, shared: Shared) -> Governor | None:
    """What keeps a live camera within its time by networks that it shares; None where it has none."""
    neural = config.engine == "auto" or catalog.parse(config.engine).neural
    if config.fixed or config.auto or not neural or shared.networks is None:
        return None
    from irchroma.launch.run.automatic import Governor  # nothing that palettes need

    return Governor(config.auto_latency_ms, "settings of the configuration")


_LOOK_S = 0.2
_CLOCK_COLUMNS = 12  # a line that wraps could not be drawn over


class CamerasRun:
    """Several cameras in one process, with one pool of networks.

    Args:
        config: what `load_cameras` gave.
        again: reads it once more; None where there is nothing to read.

    Raises:
        ConfigError: a camera's configuration makes no sense; nothing has been started then.
    """

    def __init__(self, config: CamerasConfig, again: Callable[[], CamerasConfig] | None = None) -> None:
        self._config = config
        count = len(config.cameras)
        shares = config.sharing.networks
        beside = all(camera.beside for camera in config.cameras)
        self._pool = SharedPool(config.sharing.batch(), count, beside) if shares else None
        self.feeds: list[CameraFeed] = []
        for camera in config.cameras:
            shared = Shared(camera.name, self._pool, max(1, usable_cores() // count))
            try:
                require_folders(camera)
                self.feeds.append(CameraFeed(camera, shared, again))
            except (StreamError, EngineError, ValueError) as error:
                raise ConfigError(f"cameras.{camera.name}: {error}") from error

    def run(self, progress: CamerasProgress | None = None) -> int:
        """Run until every camera has ended or `stop` was called; 0 when none was given up."""
        for feed in self.feeds:
            feed.start()
        notices = ServiceNotices(self._idle_s, self._status)
        notices.start()
        try:
            while not all([feed.join(_LOOK_S / len(self.feeds)) for feed in self.feeds]):
                if progress is not None:
                    progress.update(self.feeds)
        finally:
            notices.stop()
            self.stop()
            for feed in self.feeds:
                feed.join()
            if progress is not None:
                progress.close()
        self._finish()
        return 1 if any(feed.failure is not None for feed in self.feeds) else 0

    def _idle_s(self) -> float | None:
        """Of the camera that turned last: one that hangs must not have the others started anew."""
        turned = [feed.monitor.loop.turned_s for feed in self.feeds if feed.monitor.loop is not None]
        known = [seconds for seconds in turned if seconds is not None]
        return idle_since(max(known)) if known and len(known) == len(self.feeds) else None

    def _status(self) -> str:
        states = [feed.state() for feed in self.feeds]
        return ", ".join(f"{states.count(state)} {state}" for state in sorted(set(states)))

    def stop(self) -> None:
        """End all cameras in good order; may be called from a signal handler and more than once."""
        for feed in self.feeds:
            feed.stop()

    def stats(self) -> dict[str, Any]:
        """Of every camera, and of the networks that they share."""
        return {
            "cameras": {feed.name: feed.stats() for feed in self.feeds},
            "networks": [] if self._pool is None else self._pool.figures(),
        }

    def lacking(self) -> dict[str, str]:
        """By name what cameras lack that were neither given up nor colored to their source's end."""
        texts = {feed.name: feed.lacking() for feed in self.feeds if feed.failure is None}
        return {name: text for name, text in texts.items() if text}

    def _finish(self) -> None:
        failed = [feed.name for feed in self.feeds if feed.failure is not None]
        frames = sum(feed.stats()["frames"] for feed in self.feeds)
        log.info("%d cameras, %d frames", len(self.feeds), frames)
        for feed in self.feeds:
            if why := feed.missed():
                log.error("%s: %s", feed.name, why)
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
        if state not in ("live", "ended"):
            began = feed.monitor.loop is not None and feed.monitor.loop.frames
            return f"{feed.name} {state if began or state == 'failed' else 'waiting'}"
        share = feed.monitor.share_done()
        done = "" if share is None else f" {share:.0%}"
        return f"{feed.name}{done} {feed.monitor.frames_per_second():.0f} fps"

    def close(self) -> None:
        """Leave the line clean."""
        self._line.close()


def _of_name(config: CamerasConfig, name: str) -> RunConfig:
    """The camera of that name, its passwords filled in."""
    for camera in config.cameras:
        if camera.name == name:
            return revealed(camera, camera.name)
    raise ConfigError(f"reload: there is no camera {name} any more: restart for that")


def run_cameras(config: CamerasConfig, quiet: bool, again: Callable[[], CamerasConfig] | None = None) -> int:
    """Run them all; SIGINT and SIGTERM finish every file, a second signal ends the process at once.

    SIGHUP has the configuration read again by `again`.
    """
    cameras = CamerasRun(config, again)

    def reload() -> None:
        if again is not None:
            count = len(config.cameras)
            if len(again().cameras) != count:
                log.error("reload: the number of cameras cannot change while they run: restart for that")
                return
        reread_all([feed.reread for feed in cameras.feeds if feed.reread is not None])

    told_to_stop = stop_on_signals(cameras.stop, reload if again is not None else None)
    code = cameras.run(None if quiet else CamerasProgress())
    lacking = cameras.lacking() if told_to_stop else {}
    for name, text in lacking.items():
        log.error("%s: %s", name, text)
    all_given = not lacking and not any(feed.missed() for feed in cameras.feeds)
    return 128 + told_to_stop[0] if told_to_stop and not all_given and not code else code
