"""What a process that works on video asks of its memory allocator and of OpenCV's threads.

And how its log is written to standard error: for people, or one JSON object a line; and its signals.
"""

from __future__ import annotations

import ctypes
import gc
import json
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import copy_context
from types import FrameType

import cv2

from irchroma.engines.network.network import installed
from irchroma.engines.processor import usable_cores
from irchroma.launch.progress import CLEAN, Progress
from irchroma.stream.loop.threads import feed_name
from irchroma.stream.sources.addresses import masked

_SAME_WISH_S = 1.0
_LEFT_S = 1.0  # for what ends anyway, such as whoever deletes a folder of HLS segments
_LOADED_S = 30.0  # for a library that is being loaded, and a network compiled
LOADS = "load ahead"
"""Name of the threads that do so."""
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # malloc.h of glibc
_KEPT_BYTES = 32 << 20  # the largest that glibc takes for M_MMAP_THRESHOLD on 64 bits
_ARENAS = 2
_SWITCH_S = 0.0002
_ALL_LOADED_S = 2.0


def tune_process() -> None:
    """Keep freed pictures for the next frame, and let the pipeline's own threads be the parallel ones.

    glibc gives arrays of more than 128 KiB back to the system each time and clears them when they come
    again: with a network at 640x512 that was 1,800 page faults and 6 ms of system time a frame; 300
    faults are left. It also gives each of the first 16 threads, on two cores, memory of its own to keep
    freed pictures in: with RTSP clients that come and go, each with threads of GStreamer's, a run grew from
    165 to 285 MB in ten minutes; with two such arenas for all threads it stays at 180.

    OpenCV's workers spin while they wait: on two cores, 1,000 forced context switches a frame, 30 with one
    thread, at the same speed.

    Who wants the interpreter's lock asks for it after 5 ms by default, and a frame changes threads six times.
    Asked for after 0.2 ms, four cameras of 640x512 at 30 frames a second on two busy cores had a p99 of 14 to
    36 ms in place of 38 to 193, in runs that took turns, for 9 ms of CPU a frame in place of 11.
    """
    sys.setswitchinterval(_SWITCH_S)
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):  # another C library has its own ways
        pass
    else:
        mallopt(_M_MMAP_THRESHOLD, _KEPT_BYTES)
        mallopt(_M_TRIM_THRESHOLD, 8 * _KEPT_BYTES)
        mallopt(_M_ARENA_MAX, _ARENAS)
    cv2.setNumThreads(max(1, usable_cores() // 4))


@contextmanager
def spared_pauses() -> Iterator[None]:
    """Within the block, Python's collector leaves alone what was there before and what a run loads at first.

    It looks through everything that is alive some seconds after a run's start, and again when a quarter more
    has come: modules above all, 60 ms in which no frame goes on, or 200 with others at work.
    """
    later = threading.Timer(_ALL_LOADED_S, gc.freeze)
    later.daemon = True
    gc.freeze()
    later.start()
    try:
        yield
    finally:
        later.cancel()
        later.join()
        gc.unfreeze()


def settle_threads(runtime: str, threads: int) -> None:
    """The CPU threads that were asked for, where a runtime has them for the whole process only: torch."""
    if runtime == "torch" and installed("torch"):
        from irchroma.engines.network.torch_runtime import use_threads

        use_threads(threads)


def note_camera(record: logging.LogRecord) -> bool:
    """Give the record the name of the camera whose thread logs, where there are several."""
    name = feed_name.get()
    record.camera = name
    record.whose = f"{name}: " if name else ""
    return True


class JsonLines(logging.Formatter):
    """`{"time": ..., "level": ..., "from": ..., "message": ...}`."""

    def format(self, record: logging.LogRecord) -> str:
        """One record, one line."""
        line = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
            + f".{int(record.msecs):03}Z",
            "level": record.levelname.lower(),
            "from": record.name.removeprefix("irchroma."),
            "message": masked(record.getMessage()),
        }
        if camera := getattr(record, "camera", ""):
            line["camera"] = camera
        if record.exc_info:
            line["traceback"] = masked(self.formatException(record.exc_info))
        return json.dumps(line, ensure_ascii=False)


class _TextLines(logging.Formatter):
    """`05:12:13 I gate: source: ...`, whose passwords nobody reads, whoever logs them."""

    def format(self, record: logging.LogRecord) -> str:
        return masked(super().format(record))


class _BesideProgress(logging.StreamHandler):  # type: ignore[type-arg]  # none in Python 3.10
    """Log lines on standard error, where a progress line may be drawn."""

    def format(self, record: logging.LogRecord) -> str:
        return (CLEAN if Progress.stands else "") + super().format(record)


def set_up(style: str, level: int) -> None:
    """Send the program's log lines to standard error.

    Args:
        style: `text` or `json`.
        level: of `logging`.
    """
    line = _BesideProgress(sys.stderr)
    line.setFormatter(
        JsonLines()
        if style == "json"
        else _TextLines("%(asctime)s %(levelname).1s %(whose)s%(message)s", "%H:%M:%S")
    )
    line.addFilter(note_camera)
    root = logging.getLogger("irchroma")
    root.handlers = [line]
    root.setLevel(level)
    root.propagate = False


def stop_on_signals(stop_run: Callable[[], None], reload: Callable[[], None] | None = None) -> list[int]:
    """The first SIGINT or SIGTERM ends the run in good order, a later one at once.

    So does SIGHUP, the end of the terminal. With `reload` it calls that where the terminal is still there.

    One within a second is the same wish: `timeout` signals its child and then its whole group.

    Args:
        stop_run: called on a thread of its own: the main thread may hold what it needs when a signal comes.
        reload: the same.

    Returns:
        A list that gets the number of the signal when it comes.
    """
    seen: list[int] = []
    first_s: list[float] = []

    def stop(number: int, frame: FrameType | None) -> None:
        if first_s:
            if time.monotonic() - first_s[0] > _SAME_WISH_S:
                os._exit(128 + number)
            return
        first_s.append(time.monotonic())
        seen.append(number)
        threading.Thread(target=stop_run, name="stop", daemon=True).start()

    had_terminal = os.isatty(2)

    def hang_up(number: int, frame: FrameType | None) -> None:
        if reload is None or (had_terminal and not os.isatty(2)):
            stop(number, frame)
        else:
            threading.Thread(target=reload, name="reload", daemon=True).start()

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    if reload is not None or signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as by `nohup`
        signal.signal(signal.SIGHUP, hang_up)
    return seen


def interruptible(work: Callable[[], int]) -> int:
    """What `work` returns, done by a thread of its own, for which Ctrl-C and SIGTERM do not wait.

    A call into a library that compiles a network would keep both from being answered for seconds.

    Raises:
        BaseException: whatever `work` has raised.
    """
    done: Future[int] = Future()

    def do() -> None:
        try:
            done.set_result(work())
        except BaseException as error:  # noqa: BLE001 (handed to the thread that waits)
            done.set_exception(error)

    threading.Thread(target=copy_context().run, args=(do,), name="work", daemon=True).start()
    return done.result()


def left_with(code: int) -> int:
    """The process's exit status; ends it at once where a thread still works, which must not be torn down.

    An interpreter that ends takes the ground from under threads: one that comes back from a network's C++
    then aborts the process ("terminate called without an active exception"). For those that load libraries,
    which are no daemons, it would wait for ever.
    """
    daemons = _have_ended(_LEFT_S, lambda thread: thread.daemon)
    if not _have_ended(_LOADED_S, lambda thread: thread.name == LOADS) or not daemons:
        logging.shutdown()
        sys.stdout.flush()
        os._exit(code)
    return code


def _have_ended(limit_s: float, kind: Callable[[threading.Thread], bool]) -> bool:
    """Whether all other threads of a kind end within the time."""
    deadline_s, mine = time.monotonic() + limit_s, threading.current_thread()
    left = [
        thread
        for thread in threading.enumerate()
        # GStreamer's own that have called Python once count as such for ever, and cannot be waited for
        if kind(thread) and thread is not mine and not isinstance(thread, threading._DummyThread)
    ]
    for thread in left:
        thread.join(max(0.0, deadline_s - time.monotonic()))
    return not any(thread.is_alive() for thread in left)
