"""Watches a run: progress on a terminal, drops in the log, flicker of its color, statistics at the end."""

from __future__ import annotations

import json
import logging
import math
import time
from dataclasses import asdict
from datetime import datetime, timezone
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from irchroma.engines.gpu.load import gpu_loads
from irchroma.engines.measures.flicker import LiveFlicker, steps_of
from irchroma.engines.processor import usable_cores
from irchroma.launch.progress import Progress
from irchroma.launch.run.monitoring.events import EventHook
from irchroma.launch.run.monitoring.health import Health
from irchroma.launch.run.outputs import write_statistics
from irchroma.launch.run.settings.options import RunConfig
from irchroma.stream.errors import StreamError
from irchroma.stream.loop.loop import Loop
from irchroma.stream.picture.picture import Picture
from irchroma.stream.protocols import Colored, Composer, FrameRepair, Job, VideoInfo
from irchroma.stream.remarks import Remarks
from irchroma.stream.sinks.open_sink import public

if TYPE_CHECKING:
    from irchroma.launch.run.automatic import Governor

log = logging.getLogger(__name__)

_GAVE_WAY = "frames gave way to newer ones: this machine could not keep up with all of them"
_LOOK_EVERY, _LOOK_EVERY_ON_DEVICE = 11, 31
"""Two frames in a row of so many are looked at for flicker; those on a device are copied to the host for it.
Primes: a network that runs at every second to fourth frame is seen at each of its own frames in turn."""
_SETTLE_LOOKS = 5
_BELIEVED, _DOUBT_EVERY, _MOST_DOUBTS = 0.15, 15, 5
_NIR = ("nir", "reference nir")
_LONGEST_QUIET_S = 60.0  # about frames that are dropped all the time


class Monitor:
    """Watches a run: progress on a terminal, drops in the log, statistics at the end.

    Args:
        config: of the run.
        quiet: draw nothing.
        governor: told of every frame; None for none.
        camera: its name among several.

    Attributes:
        loop: the run, as soon as there is one.
        health: live, lost ... and since when.
    """

    def __init__(
        self, config: RunConfig, quiet: bool, governor: Governor | None = None, camera: str = ""
    ) -> None:
        self._config, self._quiet, self._governor = config, quiet, governor
        self._start_s: float | None = None  # of the first frame
        self._drops_said_s = time.monotonic()
        self._drops_said: dict[str, int] = {}
        self._drops_wait_s = 1.0
        self._progress: Progress | None = None
        self.loop: Loop | None = None
        self.remarks = Remarks()
        self._hook = EventHook(config.on_event) if config.on_event else None
        about = (
            {"camera": camera, "source": public(config.source)}
            if camera
            else {"source": public(config.source)}
        )
        self.health = Health(lambda: self.loop, self._hook.tell if self._hook is not None else None, about)

    def on_frame(self, loop: Loop) -> None:
        """After each frame: draw, and say now and then what was dropped."""
        if self._governor is not None:
            self._governor.on_frame(loop)
        info = loop.reader.info
        if info is None:
            return
        if self._start_s is None:
            self._start_s = time.monotonic()
        if self._progress is None:
            self._progress = Progress(_expected_frames(info), tell=partial(log.info, "%s"))
        if not self._quiet:
            self._progress.update(_passed(loop), f"{self.frames_per_second():.0f} fps")
        self._say_drops(loop, time.monotonic())

    def _say_drops(self, loop: Loop, now_s: float) -> None:
        """At first after a second, then at intervals that double up to a minute while it goes on."""
        since_s = now_s - self._drops_said_s
        if since_s < self._drops_wait_s:
            return
        drops = {f"at {writer.label}": writer.drops for writer in loop.writers}
        drops = {"before coloring": loop.reader.drops, **drops}
        more = {where: count - self._drops_said.get(where, 0) for where, count in drops.items()}
        if max(more.values()) > 0:
            told = ", ".join(f"{count} {where}" for where, count in more.items() if count > 0)
            log.info("frames dropped in the last %.0f s: %s", since_s, told)
            self._drops_wait_s = min(2 * self._drops_wait_s, _LONGEST_QUIET_S)
        else:
            self._drops_wait_s = 1.0
        self._drops_said, self._drops_said_s = drops, now_s

    def share_done(self) -> float | None:
        """How much of a file is done, 0 to 1; None where it has no known end."""
        info = self.loop.reader.info if self.loop is not None else None
        total = _expected_frames(info) if info is not None else None
        return min(1.0, _passed(self.loop) / total) if self.loop is not None and total else None

    def frames_per_second(self) -> float:
        """Over the whole run so far."""
        return self.loop.frames / max(self._elapsed_s(), 1e-3) if self.loop is not None else 0.0

    def _elapsed_s(self) -> float:
        return 0.0 if self._start_s is None else time.monotonic() - self._start_s

    def status(self) -> str:
        """`live`, or `lost: the source is silent`."""
        now = self.health.look()
        return now.state if now.reason is None else f"{now.state}: {now.reason}"

    def stats(self) -> dict[str, Any]:
        """Counts and latencies so far; times in milliseconds.

        `passed_before_start` are frames that the camera had sent before any were taken: neither among the
        `frames` nor among what was `dropped_before_processing`.
        """
        loop = self.loop
        if loop is None:
            return {**self.health.figures(), "frames": 0, "remarks": self.remarks.listed()}
        elapsed_s = self._elapsed_s()
        return {
            **self.health.figures(),
            "source": loop.reader.info.description if loop.reader.info else None,
            "engine": loop.guarded.name if loop.guarded else None,
            "engine_failures": loop.guarded.failures if loop.guarded else 0,
            "frames": loop.frames,
            "seconds": round(elapsed_s, 3),
            "frames_per_second": round(loop.frames / elapsed_s, 2) if elapsed_s > 0 else 0.0,
            "dropped_before_processing": loop.reader.drops,
            "passed_before_start": loop.reader.passed,
            "flicker": loop.composer.value if isinstance(loop.composer, FlickerWatch) else None,
            "repair": _repaired(loop.repair),
            "cpu_s": round(time.process_time(), 2),
            "cores": usable_cores(),
            **({"gpus": [asdict(one) for one in gpus]} if (gpus := gpu_loads()) else {}),
            "reconnections": loop.reader.reconnections,
            "camera_time": _camera_time(loop.reader.camera_time),
            "remarks": self.remarks.listed(),
            "auto": self._governor.summary() if self._governor is not None else None,
            "stages": {name: meter.summary() for name, meter in loop.stages.items()},
            "sinks": {
                writer.label: {
                    "state": writer.state,
                    "reopened": writer.reopened,
                    "written": writer.written,
                    "dropped": writer.drops,
                    "capture_to_encoder": writer.total.summary(),
                    "encode": writer.encode.summary(),
                }
                for writer in loop.writers
            },
            "raw": {"written": loop.raw.writer.written, "dropped": loop.raw.writer.drops}
            if loop.raw is not None
            else None,
        }

    def require_clean(self) -> None:
        """StreamError where what was to be kept is lost, or `strict` is asked for and not all was as asked.

        That a live source's newest frame is shown rather than each of them is what was asked: those that gave
        way are counted and do not fail it. What a recording or the raw track lacks does.
        """
        if lost := self.remarks.lost():
            raise StreamError(f"the run is over, but not all was kept: {lost}")
        live = self.loop is not None and self.loop.reader.info is not None and self.loop.reader.info.live
        remarks = [one for one in self.remarks.listed() if not (live and one["text"] == _GAVE_WAY)]
        if self._config.strict and remarks:
            told = "; ".join(f"{one['text']} ({one['count']})" for one in remarks)
            raise StreamError(f"--strict: the run is over, but not all is as asked: {told}")

    def _note_losses(self, loop: Loop) -> None:
        """What the run's parts count by themselves."""
        begun = not loop.writers or any(writer.opened for writer in loop.writers)  # else nobody took any
        for text, count in (
            (_GAVE_WAY, loop.reader.drops if begun else 0),
            ("the source was lost and found again", loop.reader.reconnections),
            (
                "the engine failed, frames went out without color",
                loop.guarded.failures if loop.guarded else 0,
            ),
            *(
                (f"{w.label} left pictures out: it could not keep up, or was not there", w.drops)
                for w in loop.writers
            ),
            ("frames are missing in the raw track", loop.raw.writer.drops if loop.raw else 0),
        ):
            if count:
                self.remarks.add(text, count)

    def finish(self, failure: str | None = None) -> None:
        """Clean line, summary in the log, JSON where it was asked for.

        Args:
            failure: why the run was given up; None where it was not.
        """
        self.health.stop(failure or self.remarks.lost() or None)
        if self._hook is not None:
            self._hook.close()
        if self._progress is not None:
            self._progress.close()
        if self.loop is not None and self.loop.frames:
            self._note_losses(self.loop)
            self._say_figures(self.stats())
        elif failure is None and (why := self.health.look().reason):
            self.remarks.add(why)
        if self._config.output.stats is not None:
            write_statistics(self._config.output.stats, json.dumps(self.stats(), indent=2) + "\n")

    @staticmethod
    def _say_figures(stats: dict[str, Any]) -> None:
        log.info(
            "%d frames in %.1f s, %.1f fps", stats["frames"], stats["seconds"], stats["frames_per_second"]
        )
        for name, summary in stats["stages"].items():
            log.info("%s", summary_line(name, summary))
        for label, sink in stats["sinks"].items():
            log.info("%s", summary_line(f"encode {label}", sink["encode"]))
        if stats["flicker"] is not None:
            log.info("flicker of still pixels: %.4f a*b* a frame", stats["flicker"])


def _repaired(repair: FrameRepair | None) -> dict[str, Any] | None:
    if repair is None:
        return None
    from irchroma.launch.run.repairing import (
        RunRepair,
    )  # which is there then, and loads what no other run needs

    return repair.summary() if isinstance(repair, RunRepair) else None


def _passed(loop: Loop) -> int:
    """Frames of the source that are over, those of a live one that were never taken too."""
    return loop.frames + loop.reader.drops + loop.reader.passed


def _expected_frames(info: VideoInfo) -> float | None:
    total = info.frame_count or (info.duration_ns and info.rate and info.duration_ns * info.rate / 10**9)
    return float(total) if total else None


def _camera_time(newest: tuple[int, int] | None) -> dict[str, Any] | None:
    """When the camera says that it took the newest frame, and how much later that came here."""
    if newest is None:
        return None
    taken = datetime.fromtimestamp(newest[0] // 10**6 / 1000, timezone.utc)
    late_ms = round((newest[1] - newest[0]) / 1e6)
    return {"taken": taken.isoformat(timespec="milliseconds"), "came_after_ms": late_ms}


def summary_line(name: str, summary: dict[str, float]) -> str:
    """`compose: avg 1.20 p50 1.10 p95 1.90 p99 2.30 max 4.00 ms`."""
    parts = " ".join(
        f"{key.removesuffix('_ms')} {summary[key]:.2f}" for key in summary if key.endswith("_ms")
    )
    return f"{name}: {parts} ms"


class FlickerWatch:
    """A `Composer` that measures how much a network's color flickers where the input stands still.

    A composer that looks at each colored frame before another composer draws on it. A palette's color is the
    luma's and is not looked at.
    """

    def __init__(self, composer: Composer) -> None:
        self._composer = composer
        self._live = LiveFlicker(_SETTLE_LOOKS)
        self._size: tuple[int, int] | None = None
        self._passed = -1

    def prepare(self) -> None:
        """Have OpenCV make its color tables now, a tenth of a second, not on the first colored frame."""
        LiveFlicker().add(np.zeros((16, 16, 3), np.uint8), np.zeros((16, 16), np.uint8))

    def compose(self, job: Job) -> Picture:
        if job.colored is not None and job.synthetic:
            if job.frame.gap or job.luma.shape != self._size:
                self._live, self._size = LiveFlicker(_SETTLE_LOOKS), (job.luma.shape[0], job.luma.shape[1])
                self._passed = -1
            self._look(job.colored, job.luma)
        return self._composer.compose(job)

    def _look(self, colored: Colored, luma: NDArray[np.uint8]) -> None:
        picture = Picture.of_colored(colored)
        every = _LOOK_EVERY if picture.device is None else _LOOK_EVERY_ON_DEVICE
        self._passed = (self._passed + 1) % every
        if self._passed > 1:
            return
        if self._passed == 0:
            self._live.forget()
        rows, columns = steps_of(luma)
        part = picture.sampled(rows, columns)
        self._live.add_sampled(part, luma[::rows, ::columns])

    def no_signal(self, silent_s: float, reason: str) -> Picture:
        return self._composer.no_signal(silent_s, reason)

    @property
    def value(self) -> float | None:
        """Mean |change of a* or b*| a frame of still pixels, over the last seconds; None if unknown."""
        return None if math.isnan(self._live.value) else round(self._live.value, 5)


class BandDoubt:
    """A `Composer` that doubts 8-bit video which was taken for near infrared, as nobody said what it is.

    The network tells strangers. On average it believes less than 0.15 of a picture of 39 of 41 and 22 of 22
    thermal ones from cars, and of none of 150 near-infrared ones out of doors, but of 5 of 6 of rooms too: so
    this is a hint. By night, beneath lamps, a thermal camera's are mostly not told so.
    """

    def __init__(self, composer: Composer, thermal: str = "thermal") -> None:
        """`thermal`: the engine that thermal video had to be given."""
        self._composer, self._thermal = composer, thermal
        self._frames = self._doubts = 0

    def compose(self, job: Job) -> Picture:
        colored = job.colored
        if self._doubts < _MOST_DOUBTS and colored is not None and job.engine.startswith(_NIR):
            if self._frames % _DOUBT_EVERY == 0:
                self._look(colored)
            self._frames += 1
        return self._composer.compose(job)

    def _look(self, colored: Colored) -> None:
        confidence = colored.confidence
        if confidence is None or confidence.mean() >= _BELIEVED * 255:
            self._doubts = _MOST_DOUBTS  # near infrared it is
            return
        self._doubts += 1
        if self._doubts == _MOST_DOUBTS:
            log.warning(
                "hardly any of the color is believed: the engine knows near infrared outdoors, which 8-bit"
                " video is taken for, and neither rooms nor overexposed pictures; if this is thermal,"
                " say --engine %s",
                self._thermal,
            )

    def no_signal(self, silent_s: float, reason: str) -> Picture:
        return self._composer.no_signal(silent_s, reason)
