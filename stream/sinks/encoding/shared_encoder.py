"""One encoder for all sinks that want the same pictures with the same settings."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from irchroma.stream.errors import StreamError
from irchroma.stream.gstreamer import door
from irchroma.stream.gstreamer.cuda_memory import FEATURE, CudaSource
from irchroma.stream.gstreamer.pipeline import Pipeline
from irchroma.stream.gstreamer.sample import Unit, unit_of
from irchroma.stream.picture.picture import OnDevice, Picture
from irchroma.stream.protocols import Pixels
from irchroma.stream.running_time import awake_s, waited
from irchroma.stream.sinks.encoding.encoders import choose_encoder
from irchroma.stream.sinks.encoding.i420_packer import Yuv420Packer, appsrc_of, caps_text
from irchroma.stream.sinks.encoding.task import Codec, EncoderTask

DEPTH = 3
"""Pictures that may wait in front of an encoder."""

ROOM_S = 0.002
"""Between looks at a full queue; the encoder has DEPTH pictures to go on with."""

_KEYFRAME_AGAIN_S = 0.2
PARSERS: dict[Codec, str] = {"h264": "h264parse", "h265": "h265parse", "vp8": "identity", "vp9": "identity"}
"""What makes coded video fit for whatever follows, by its codec."""

# Parameter sets once in front of every keyframe, one picture a buffer, all its slices in it.
_WHOLE = " config-interval=-1 ! video/x-{},stream-format=byte-stream,alignment=au"


Take = Callable[[Unit], None]


class SharedEncoder:
    """Encodes while anybody takes. Members may come and go at any time, and each offers every picture.

    A picture that one member has offered is not encoded again for the others: pictures are told apart by
    their times. A member that comes later gets its first unit with the next keyframe.

    Args:
        task: what is encoded, and how.
    """

    def __init__(self, task: EncoderTask) -> None:
        self.task = task
        self._feeding, self._changed = threading.Lock(), threading.Condition()
        self._delivering = threading.Lock()
        self._pipeline: Pipeline | None = None
        self._packer = Yuv420Packer(task.size)
        self._device: _DeviceWay | None = None
        self._members: dict[Take, bool] = {}  # whether it waits for a keyframe
        self._finishing: set[Take] = set()
        self._last_ns = self._done_ns = -1
        self._durations: dict[int, int] = {}
        self._keyframes_ns: set[int] = set()
        self._asked_s = 0.0

    def join(self, take: Take) -> None:
        """Give every unit from the next keyframe on to `take`, on the encoder's thread.

        Raises:
            StreamError: no encoder works here.
        """
        with self._feeding:
            if self._pipeline is None:
                self._build()
            with self._changed:
                self._members[take] = True
            self._asked_s = 0.0
        self.ask_keyframe()

    def _build(self) -> None:
        encoder = choose_encoder(self.task)
        head = appsrc_of(self.task.size, self.task.rate, self.task.pixel_aspect)
        codec = self.task.codec
        parser = PARSERS[codec] + (_WHOLE.format(codec) if codec in ("h264", "h265") else "")
        last = "fakesink name=coded sync=false async=false"
        pipeline = Pipeline(f"{head} ! {encoder.launch} ! {parser} ! {last}")
        device = _DeviceWay(self.task) if encoder.on_device else None
        pipeline.start(built=device.share if device is not None else None)
        pad = pipeline.element("coded").get_static_pad("sink")
        pad.add_probe(door.modules()["Gst"].PadProbeType.BUFFER, self._coded)
        pipeline.check()
        self._pipeline, self._device = pipeline, device
        self._durations.clear()
        self._last_ns = self._done_ns = -1

    def offer(self, picture: Pixels, pts_ns: int, duration_ns: int, waits: bool) -> bool:
        """Encode a picture unless it has been already.

        Args:
            picture, pts_ns, duration_ns: as for a sink.
            waits: wait for room where the encoder is behind, or leave the picture out.

        Returns:
            False where it was left out.

        Raises:
            StreamError: the encoder failed; whoever joins again begins with a new one.
        """
        with self._feeding:
            pipeline = self._pipeline
            if pipeline is None:
                raise StreamError("the encoder has stopped")
            try:
                pipeline.check()
                if pts_ns <= self._last_ns:
                    return True
                if not self._has_room(pipeline, waits):
                    return False
                self._push(pipeline, picture, pts_ns, duration_ns)
            except door.GstFailure:
                self._stop()
                raise
            self._last_ns = pts_ns
            return True

    def _push(self, pipeline: Pipeline, picture: Pixels, pts_ns: int, duration_ns: int) -> None:
        """From the device where it lies there and the encoder takes it so; else by way of the host."""
        there = picture.device if isinstance(picture, Picture) else None
        way = self._device
        if way is not None and there is not None and way.takes(there):
            self._mark_keyframe(pipeline, pts_ns)
            self._durations[pts_ns] = duration_ns
            way.push(pipeline, there, pts_ns, duration_ns)
            return
        data = self._packer.pack(picture)
        self._mark_keyframe(pipeline, pts_ns)
        self._durations[pts_ns] = duration_ns
        if way is not None:
            way.use_host(pipeline)
        pipeline.push("pictures", data, pts_ns, duration_ns)

    def _mark_keyframe(self, pipeline: Pipeline, pts_ns: int) -> None:
        """In front of the picture itself: x264enc (1.22) takes a wish for a later time for its next one."""
        due = {wanted for wanted in self._keyframes_ns if wanted <= pts_ns}
        if due:
            self._keyframes_ns -= due
            none, video = door.modules()["Gst"].CLOCK_TIME_NONE, door.modules()["GstVideo"]
            event = video.video_event_new_downstream_force_key_unit(none, none, none, True, 0)
            pipeline.element("pictures").send_event(event)

    def _has_room(self, pipeline: Pipeline, waits: bool) -> bool:
        """Not appsrc's own `block`: it never wakes up again when an element behind it has failed."""
        pictures = pipeline.element("pictures")
        while pictures.get_property("current-level-buffers") >= DEPTH:
            if not waits:
                return False
            time.sleep(ROOM_S)
            pipeline.check()
        return True

    def _coded(self, pad: Any, probe: Any) -> Any:
        """Runs on the encoder's thread, once a picture."""
        library = door.modules()["Gst"]
        unit = unit_of(pad, probe.get_buffer())
        pts_ns, key = unit.pts_ns, unit.key
        # Parsers forget durations where no rate is known, and none of these encoders reorders.
        unit = replace(unit, duration_ns=self._durations.pop(pts_ns, -1), dts_ns=pts_ns)
        with self._changed:
            takes = [take for take, waits in self._members.items() if key or not waits]
            for take in takes:
                self._members[take] = False
            waiting = not all(take in takes for take in self._members)
        with self._delivering:
            for take in takes:
                if take in self._members:
                    take(unit)
        with self._changed:
            self._done_ns = pts_ns
            self._changed.notify_all()
        if waiting:
            self.ask_keyframe()
        return library.PadProbeReturn.OK

    def ask_keyframe(self) -> None:
        """Make the next picture a keyframe, unless that was asked for a moment ago. Any thread."""
        pipeline = self._pipeline
        if pipeline is None or time.monotonic() - self._asked_s < _KEYFRAME_AGAIN_S:
            return
        if self._done_ns < 0:  # the first is one, and x264enc (1.22) would heed no wish after one so early
            return
        self._asked_s = time.monotonic()
        none = door.modules()["Gst"].CLOCK_TIME_NONE
        self.send_upstream(door.modules()["GstVideo"].video_event_new_upstream_force_key_unit(none, True, 0))

    def keyframe_at(self, pts_ns: int) -> None:
        """Make the first picture of that time or later a keyframe; to be asked before it is offered."""
        with self._feeding:
            self._keyframes_ns.add(pts_ns)

    def send_upstream(self, event: Any) -> None:
        """Pass a `Gst.Event` of somebody behind, such as a wish for a keyframe at a time, to the encoder."""
        pipeline = self._pipeline
        if pipeline is not None:
            pipeline.element("coded").get_static_pad("sink").push_event(event)

    def finish(self, take: Take, last_ns: int, wait_s: float) -> None:
        """Wait until the member has been given all up to the picture of `last_ns`, then let it go.

        Raises:
            StreamError: the encoder failed on the way.
            TimeoutError: it was not done within `wait_s`.
        """
        deadline_s = awake_s() + wait_s
        with self._changed:
            if take not in self._members:
                return
            self._finishing.add(take)
            alone = len(self._finishing) == len(self._members)
            self._changed.notify_all()
        try:
            if not alone:
                with self._changed:
                    waited(partial(self._changed.wait_for, lambda: self._is_done(last_ns)), wait_s)
            with self._feeding:
                if self._pipeline is not None and self._done_ns < last_ns:
                    self._pipeline.end("pictures", max(0.1, deadline_s - awake_s()))
                    self._stop()
        finally:
            self.leave(take)

    def _is_done(self, last_ns: int) -> bool:
        return self._done_ns >= last_ns or len(self._finishing) == len(self._members)

    def leave(self, take: Take) -> None:
        """Give a member nothing more; the encoder ends with its last one."""
        with self._changed:
            self._members.pop(take, None)
        with self._delivering:  # what it is being given now, it may still use
            pass
        with self._changed:
            self._finishing.discard(take)
            empty = not self._members
            self._changed.notify_all()
        if empty:
            with self._feeding:
                if not self._members:
                    self._stop()

    def _stop(self) -> None:
        pipeline, self._pipeline = self._pipeline, None
        if pipeline is not None:
            pipeline.stop()
        device, self._device = self._device, None
        if device is not None:
            device.close()


class _DeviceWay:
    """From a device into the encoder's appsrc, which gets pictures of the host in between."""

    def __init__(self, task: EncoderTask) -> None:
        self._source = CudaSource(task.device or 0)
        self._size = task.size
        self._host = caps_text(task.size, task.rate, task.pixel_aspect)
        there = f"video/x-raw({FEATURE}),format=NV12"
        self._there = caps_text(task.size, task.rate, task.pixel_aspect, there)
        self._now = self._host

    def share(self, pipeline: Pipeline) -> None:
        """All elements work in the device's context; before they start."""
        self._source.share(pipeline.whole)

    def takes(self, picture: OnDevice) -> bool:
        """False for another size, or another device, as after one was lost."""
        return picture.size == self._size and picture.context == self._source.context

    def push(self, pipeline: Pipeline, picture: OnDevice, pts_ns: int, duration_ns: int) -> None:
        """Without a copy; the picture is kept until the encoder has done with it."""
        self._use(pipeline, self._there)
        self._source.push(pipeline.element("pictures"), picture, pts_ns, duration_ns, picture)

    def use_host(self, pipeline: Pipeline) -> None:
        """The next one is the host's."""
        self._use(pipeline, self._host)
        self._source.reclaim()

    def _use(self, pipeline: Pipeline, caps: str) -> None:
        if caps != self._now:
            self._now = caps
            pipeline.set("pictures", "caps", caps)

    def close(self) -> None:
        """When the pipeline has stopped."""
        self._source.close()


class EncoderPool:
    """The encoders of one run, one for each task.

    Args:
        streams: whether an output needs low delay. Recordings of a live source then take what is encoded for
            it: twice the work for a file a little smaller is more than a machine that colors can spare.
    """

    def __init__(self, streams: bool = True) -> None:
        self.streams = streams
        self._lock = threading.Lock()
        self._encoders: dict[EncoderTask, SharedEncoder] = {}

    def of(self, task: EncoderTask) -> SharedEncoder:
        """The encoder of that task; made where there is none."""
        with self._lock:
            if task not in self._encoders:
                self._encoders[task] = SharedEncoder(task)
            return self._encoders[task]
