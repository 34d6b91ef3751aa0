"""The loop: source -> tone map -> colorizer -> compose -> sinks, in bounded queues, and it never stops."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.stream.errors import SourceError, StreamError
from irchroma.stream.frame import UNKNOWN_NS, Frame
from irchroma.stream.loop.composing import ComposingThread, Silence
from irchroma.stream.loop.guarded import GuardedColorizer, StoppedEarly, lasts
from irchroma.stream.loop.interruptible import Deadlines
from irchroma.stream.loop.latency import LatencyMeter
from irchroma.stream.loop.raw_keeper import RawKeeper
from irchroma.stream.loop.reader import ReconnectOptions, SourceReader
from irchroma.stream.loop.threads import OwnTime, RingClosed
from irchroma.stream.loop.writer import SinkWriter
from irchroma.stream.protocols import (
    Colorizer,
    Composer,
    FrameMask,
    FrameRepair,
    FrameSource,
    FrameWatch,
    Job,
    SoundTaker,
    VideoInfo,
    period_of,
)
from irchroma.stream.remarks import remark
from irchroma.stream.sensor.correction import Camera
from irchroma.stream.tone.daylight import ColorCameraDetector
from irchroma.stream.tone.options import ToneMapOptions
from irchroma.stream.tone.tone_map import ToneMap

log = logging.getLogger(__name__)

_HURRY_S, _SOURCE_END_S = 0.4, 10.0  # for the source to let go
_SHORTEST_REPEAT_NS = 100_000_000  # while there is no signal, 10 pictures a second are enough

_PASSES = "pictures are in color, and pass as they are (--no-color-camera has the engine color them)"


@dataclass(frozen=True, slots=True)
class LoopOptions:
    """How a run behaves.

    Attributes:
        tone_map: counts or luma to displayed luma.
        reconnect: how a live source is watched.
        repeat_s: after a loss the last picture is repeated this long before the "no signal" card.
        color_camera: pass a camera's own color through while it is in color.
        camera: unpacks frames and corrects the sensor, by the camera's profile; None for neither.
        deadlines: how long is waited for the engine.
        watch: sees each frame before it is colored.
        sound: gets what sounds with each frame that arrives.
        ended: called once when the run is over.
        repair: mends each picture before it is tone mapped; raw tracks get what the camera gave.
        mask: takes out of each frame what nobody is to see, before anything else gets it.
        whole_raw: raw tracks get it all the same. A camera whose frames are unpacked first needs that: where
            in them the picture is, only its profile says.
    """

    tone_map: ToneMapOptions = field(default_factory=ToneMapOptions)
    reconnect: ReconnectOptions = field(default_factory=ReconnectOptions)
    repeat_s: float = 2.0
    color_camera: bool = True
    camera: Camera | None = None
    deadlines: Deadlines = field(default_factory=Deadlines)
    watch: FrameWatch | None = None
    sound: SoundTaker | None = None
    ended: Callable[[], None] | None = None
    repair: FrameRepair | None = None
    mask: FrameMask | None = None
    whole_raw: bool = False


class Loop:
    """One run from a source to sinks.

    Three kinds of threads and the caller's: the source's, the composer's, one for each sink; the
    caller's own runs tone map and engine. Everything between them is bounded: on live sources the
    newest frame wins and drops are counted, on files everything waits.

    Attributes:
        stages: `capture` (from arrival until work on it starts), `tone_map`, `color`, `compose`; `repair`
            where there is one.
        frames: frames taken from the source so far.
        bad_frames: of a camera's frames those that nothing could be made of.
        composer: makes the viewer's pictures.
        reader: the source's thread; its `info`, `drops` and `lost_reason` may be read at any time.
        turned_s: when the loop last turned, `time.monotonic`, as it does several times a second whatever its
            camera does; None before the first time.
        repeat_s: for so long a loss is bridged by the last picture, before the card.
        repair: mends the camera's pictures; None where nothing does.
        tone_map: of the frames; the caller's own thread may give it a memory before `run`.
        last_pts_ns: time of the newest frame that was taken; None before the first.
    """

    def __init__(
        self,
        source: FrameSource,
        make_colorizer: Callable[[VideoInfo], Colorizer],
        composer: Composer,
        writers: list[SinkWriter],
        options: LoopOptions,
        raw: RawKeeper | None = None,
        remake_source: Callable[[], FrameSource] | None = None,
    ) -> None:
        """Put the run together; nothing is opened yet.

        Args:
            source: where frames come from.
            make_colorizer: makes the engine, whenever there is none.
            composer: makes the viewer's pictures.
            writers: of the sinks.
            options: how the run behaves.
            raw: keeps the frames as they come, or what they are decoded from.
            remake_source: makes the source once more, where it hangs; None to do without.
        """
        self._stopping = threading.Event()
        self.reader = SourceReader(source, options.reconnect, self._arrived, remake_source)
        self._make_colorizer, self.composer, self._options = make_colorizer, composer, options
        self.writers, self.raw = writers, raw
        self.tone_map = ToneMap(options.tone_map)
        self._detector = ColorCameraDetector()
        self.stages = {name: LatencyMeter() for name in ("capture", "tone_map", "color", "compose")}
        if options.repair is not None:
            self.stages["repair"] = LatencyMeter()
        self._composing = ComposingThread(
            composer, writers, self.stages, options.repeat_s, self.reader.stop, self._stopping
        )
        self.frames = self.bad_frames = 0
        self.turned_s: float | None = None
        self.repeat_s = options.repeat_s
        self.repair = options.repair
        self.guarded: GuardedColorizer | None = None
        self._gives_color = self._in_color = False
        self._last_arrival_ns = 0
        self.last_pts_ns: int | None = None
        self._last_size: tuple[int, int] | None = None

    def run(self, on_frame: Callable[[Loop], None] | None = None) -> None:
        """Run until the source ends or `stop` is called; files are finished when it returns.

        Args:
            on_frame: called after each frame, on the caller's thread; must be quick.

        Raises:
            StreamError: source or every sink failed; what was written until then is finished first.
        """
        with ExitStack() as last_first:  # each of them is done, whatever the one before it raises
            for part in (self._options.watch, self._options.sound):
                if part is not None:
                    last_first.callback(part.close)
            if self._options.ended is not None:
                last_first.callback(self._options.ended)
            if self.repair is not None:
                last_first.callback(self.repair.close)
            last_first.callback(self._close_engine)
            last_first.callback(self._finish_raw)  # which the source's thread feeds
            last_first.callback(self._join_source)
            last_first.callback(self._finish_sinks)
            last_first.callback(self._composing.finish)
            last_first.callback(self.reader.stop)
            try:
                for writer in self.writers:
                    writer.prepare()
                info = self.reader.start(self._stand_by)
                self._composing.prepare()
                make = partial(self._make_colorizer, info)
                self.guarded = GuardedColorizer(make, info.live, self._options.deadlines, self._stopping)
                self._composing.start(info, self.guarded)
                self._work(info, self.guarded, on_frame)
            except StoppedEarly:
                pass
        failure = self._composing.failure or self.reader.failure or self._sink_failure()
        if failure is not None:
            raise failure
        if not self.frames and not self._stopping.is_set():
            raise SourceError(f"{info.description}: no video frames in it")

    @property
    def drops(self) -> int:
        """Frames left out so far: before they were processed, and by sinks."""
        return self.reader.drops + sum(writer.drops for writer in self.writers)

    def cut_short(self) -> str:
        """What a run that is over since it was stopped lacks of a source that ends; empty for nothing.

        That the source has given its last frame is not enough: those that were under way then were hurried.
        """
        info = self.reader.info
        if info is None or info.live or info.endless:
            return ""
        left_out = max((writer.hurried for writer in self._all_writers()), default=0)
        if self.reader.at_end and not self._composing.hurried and not left_out:
            return ""
        colored = self._composing.colored - max((writer.hurried for writer in self.writers), default=0)
        if info.frame_count:
            return f"stopped before the end: {colored} of the source's {info.frame_count} frames were colored"
        return f"stopped before the end: {colored} frame{' was' if colored == 1 else 's were'} colored"

    def silence(self) -> tuple[float, str] | None:
        """Seconds since the last frame of a live source that gives none, and why; else None. Any thread."""
        info = self.reader.info
        if info is None or not info.live or not self.frames:
            return None
        silent_ns = time.monotonic_ns() - self._last_arrival_ns
        lost = self.reader.lost_reason
        if lost is None and silent_ns < 3 * max(period_of(info), _SHORTEST_REPEAT_NS):
            return None
        return silent_ns / 1e9, lost or "the source is silent"

    def stop(self) -> None:
        """End the run in good order; any thread, more than once. Within 3 s, but for files being finished."""
        self._stopping.set()
        self.reader.stop()

    def use(self, tone_map: ToneMapOptions, color_camera: bool, repeat_s: float) -> None:
        """Go on with these options from the next frame on; any thread."""
        if tone_map != self._options.tone_map:
            new = ToneMap(tone_map)
            if self.tone_map.locked:
                new.lock()
            self.tone_map = new
        self._options = replace(
            self._options, tone_map=tone_map, color_camera=color_camera, repeat_s=repeat_s
        )
        self.repeat_s = self._composing.repeat_s = repeat_s

    def _close_engine(self) -> None:
        if self.guarded is not None:
            self.guarded.close()

    def _stand_by(self) -> None:
        for writer in self.writers:
            writer.prepare("stand_by")

    def _join_source(self) -> None:
        limit_s = _HURRY_S if self._stopping.is_set() else _SOURCE_END_S
        if not self.reader.join(limit_s):
            log.warning("the source has not let go within %g s: left behind", limit_s)

    def _finish_sinks(self) -> None:
        since = OwnTime()
        with ExitStack() as all_of_them:
            for writer in self.writers:
                writer.end()
                all_of_them.callback(writer.finish, since)

    def _finish_raw(self) -> None:
        if self.raw is not None:
            self.raw.writer.finish()

    def _all_writers(self) -> list[SinkWriter]:
        return [*self.writers, *([self.raw.writer] if self.raw else [])]

    def _sink_failure(self) -> StreamError | None:
        return next((w.failure for w in self._all_writers() if w.failure is not None), None)

    def _work(
        self, info: VideoInfo, guarded: GuardedColorizer, on_frame: Callable[[Loop], None] | None
    ) -> None:
        period_ns = period_of(info)
        repeat_ns = max(period_ns, _SHORTEST_REPEAT_NS)
        self.reader.begin()
        try:
            while True:
                self.turned_s = time.monotonic()
                frame = self.reader.ring.get(repeat_ns / 1e9 if info.live else 0.5)
                if frame is not None:
                    job = self._begun(frame, guarded, period_ns)
                    if job is None:
                        continue
                    self._composing.jobs.put(job)
                    if on_frame is not None:
                        on_frame(self)
                    continue
                self.reader.watch()
                if info.live and self.frames:
                    self._bridge_silence(repeat_ns)
        except RingClosed:
            pass

    def _begun(self, frame: Frame, guarded: GuardedColorizer, period_ns: int) -> Job | None:
        """The job of a frame; None for one that a camera sent and nothing can be made of."""
        try:
            return self._begin(frame, guarded, period_ns)
        except Exception as error:
            live = self.reader.info is not None and self.reader.info.live
            if not live or isinstance(error, StreamError) or lasts(error):
                raise  # such as an option that this source contradicts, or a runtime that is not here
            self.bad_frames += 1
            if self.bad_frames == 1:
                log.exception("frame %d cannot be used", frame.number)
            remark(f"frames could not be used ({type(error).__name__})")
            return None

    def _begin(self, frame: Frame, guarded: GuardedColorizer, period_ns: int) -> Job:
        self.frames += 1
        self.stages["capture"].add(time.monotonic_ns() - frame.arrival_ns)
        live = self.reader.info is not None and self.reader.info.live
        if live and self.last_pts_ns is not None:  # it may have come while a card was on its way
            frame = replace(frame, pts_ns=max(frame.pts_ns, self.last_pts_ns + 1))
        self._last_arrival_ns, self.last_pts_ns = frame.arrival_ns, frame.pts_ns
        duration_ns = frame.duration_ns if frame.duration_ns != UNKNOWN_NS else period_ns
        if self._options.camera is not None:
            frame = self._options.camera.apply(frame)
            if self._options.mask is not None and self._options.camera.unpacks:
                frame = self._options.mask.apply(frame)
        if frame.gap or (self._last_size is not None and self._last_size != frame.size):
            self._forget_scene(guarded)
        self._last_size = frame.size
        camera_rgb = self._camera_color(frame) if self._options.color_camera else None
        if self._options.watch is not None:
            self._options.watch.look(frame, camera_rgb is not None)
        pixels, repaired = self._repaired(frame, camera_rgb is not None)
        with self.stages["tone_map"].timed():
            luma = pixels
            if camera_rgb is None:
                luma = self.tone_map.apply(pixels, frame.pts_ns, held=frame.held)
        job = Job(frame, luma, camera_rgb, duration_ns, repaired)
        if camera_rgb is None:
            job.submitted_ns = time.monotonic_ns()
            counts = pixels if frame.is_counts else None
            job.ticket = guarded.submit(luma, frame.pts_ns, counts, frame.held)
        return job

    def _forget_scene(self, guarded: GuardedColorizer) -> None:
        """Forget all that is known of the scene: the next frame need not go on from the last."""
        self.tone_map.reset()
        self._detector.reset()
        guarded.reset()
        if self.repair is not None:
            self.repair.reset()

    def _repaired(self, frame: Frame, in_color: bool) -> tuple[NDArray[Any], NDArray[np.uint8] | None]:
        """The frame's luma or counts, what is broken filled in, and the mask of that or None."""
        pixels: NDArray[Any] = frame.pixels
        if frame.is_color:
            pixels = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
        if self.repair is None:
            return pixels, None
        if in_color:
            remark("pictures in the camera's own color are not repaired")
            return pixels, None
        with self.stages["repair"].timed():
            return self.repair.apply(pixels, frame.pts_ns, frame.held, frame.damaged_from, frame.drawn_anew)

    def _camera_color(self, frame: Frame) -> NDArray[np.uint8] | None:
        """The camera's own picture while it is in color; a gray one by day is still the camera's."""
        self._gives_color = self._gives_color or frame.is_color
        if frame.is_counts or not self._gives_color:
            return None
        rgb: NDArray[Any] = frame.pixels if frame.is_color else cv2.cvtColor(frame.pixels, cv2.COLOR_GRAY2RGB)
        in_color = self._detector.update(rgb, frame.pts_ns)
        if in_color != self._in_color:
            self._in_color = in_color
            log.info(_PASSES if in_color else "pictures are gray now: the engine colors them")
        return rgb if in_color else None

    def _bridge_silence(self, repeat_ns: int) -> None:
        silence = self.silence()
        if silence is None:
            return
        pts_ns = self.reader.pts_now_ns()
        if self.last_pts_ns is not None and pts_ns <= self.last_pts_ns:
            return
        self.last_pts_ns = pts_ns
        silent_s, reason = silence
        self._composing.jobs.put(Silence(pts_ns, repeat_ns, reason, silent_s))

    def _arrived(self, frame: Frame) -> Frame:
        """Every frame that arrives is recorded and heard, whatever its color becomes. The reader's thread.

        What it returns is all that anybody else gets.
        """
        if frame.sound and self._options.sound is not None:
            self._options.sound.put(frame.sound)
        info = self.reader.info
        camera, mask = self._options.camera, self._options.mask
        unpacked_first = camera is not None and camera.unpacks
        shown = frame if mask is None or unpacked_first else mask.apply(frame)
        if self.raw is not None and info is not None:
            self.raw.see(frame if self._options.whole_raw else shown, info, self._stopping)
        return shown
