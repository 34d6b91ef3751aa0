"""A FrameSource over any GStreamer pipeline that ends in an appsink; files and cameras fill in the rest."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from irchroma.stream.errors import SourceError, SourceLost, StreamError, StreamOptionError
from irchroma.stream.frame import Frame, Sound
from irchroma.stream.gstreamer.door import EndOfStream, GstFailure
from irchroma.stream.gstreamer.pipeline import Pipeline
from irchroma.stream.gstreamer.sample import Sample, Unit, give_units, pcm_of
from irchroma.stream.protocols import VideoInfo
from irchroma.stream.remarks import remark
from irchroma.stream.sources.decoding import Decoding
from irchroma.stream.sources.frame_times import FrameTimes
from irchroma.stream.sources.pictures.picture_file import MEGAPIXELS
from irchroma.stream.sources.video_format import accepted_caps, sample_to_pixels, sample_to_words, upright

_WAITING = 60  # frames; 2 s at 30 Hz


Pixels = NDArray[np.uint8] | NDArray[np.uint16]


@dataclass(frozen=True, slots=True)
class PictureOptions:
    """How pictures are taken out of the video.

    Attributes:
        color: `auto` gives pictures in color as they are, so that a camera's daytime can be passed
            through; `ignore` always takes the luma.
        luma_range: `full` or `limited` overrides what the video says of its range, `auto` believes it.
        words: each pixel of packed 4:2:2 is one 16-bit word of the sensor (counts in the lower half of a YUYV
            frame); set by a camera profile that says so.
        max_megapixels: how large a decoded picture may be, million pixels; larger ones are refused.
        every_frame: a camera's frames wait some seconds, none gives way to the newest; for `--keep-raw`.
        tell_damage: `Frame.damaged_from` is wanted, for which one thread decodes; for `--repair auto`.
    """

    color: Literal["auto", "ignore"] = "auto"
    luma_range: Literal["auto", "full", "limited"] = "auto"
    words: bool = False
    max_megapixels: float = MEGAPIXELS
    every_frame: bool = False
    tell_damage: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.max_megapixels < math.inf:
            raise StreamOptionError(
                f"max_megapixels: expected more than 0 million pixels, got {self.max_megapixels:g}"
            )

    @property
    def full_range(self) -> bool | None:
        """True, False, or None for what the video says."""
        return None if self.luma_range == "auto" else self.luma_range == "full"


@dataclass(frozen=True, slots=True)
class SourcePlan:
    """One way to get at the video.

    Attributes:
        launch: the pipeline up to raw video, in `gst-launch-1.0` syntax, without values from the user.
        properties, signals: as in `Pipeline`.
        corrections: as in `Pipeline`.
        live: newest frame wins, none is waited for.
        description: one line for logs, without credentials.
        coded: the element that gives coded pictures, where no `Decoding` watches them; empty for none.
        begin_ns: of a file: from the last key frame before there.
        convert: let formats outside `layouts.LAYOUTS` through by a conversion. Counts are all in
            there, so they are never touched.
    """

    launch: str
    properties: dict[str, dict[str, Any]] = field(default_factory=dict)
    signals: dict[str, dict[str, Callable[..., Any]]] = field(default_factory=dict)
    corrections: dict[str, dict[int, bytes]] = field(default_factory=dict)
    live: bool = False
    begin_ns: int = 0
    description: str = ""
    coded: str = ""
    convert: bool = True


class GstSource(ABC):
    """Gives the frames of a pipeline, in order, with its pts.

    A live one keeps only the newest frame and counts what it left out. A change of size or format
    inside the video is marked with `gap` and goes on.
    """

    open_timeout_s = 10.0
    """How long the first frame may take, seconds."""
    read_at_least_s = 0.0
    """What `read` waits at least, seconds."""

    def __init__(self, pictures: PictureOptions | None = None) -> None:
        self._pictures = pictures or PictureOptions()
        self._pipeline: Pipeline | None = None
        self._live = False
        self._waiting_room = 1
        self._times = FrameTimes()
        self._waiting: deque[Sample] = deque()
        self._end: SourceError | EndOfStream | None = None
        self._seen: tuple[Any, ...] | None = None
        self._turn = ""
        self._decoding: Decoding | None = None
        self._lost_said = 0
        self._take: Callable[[Unit, bool], None] | None = None
        self._sound_sink: Any = None  # an appsink of S16LE stereo at `SOUND_HZ`, where the subclass has one
        self._count = self._pulled = self._drops = self._drops_before = 0

    @abstractmethod
    def plan(self) -> SourcePlan:
        """The pipeline to start; called by every `open`. Raises SourceError where that is hopeless."""

    @abstractmethod
    def explain(self, failure: GstFailure | None) -> SourceError:
        """The one clear line for a failure; None: the first frame did not come in time."""

    def ended(self, frames: int, pts_ns: int) -> None:
        """Called at the orderly end; raises SourceError when that end is not what it seems."""
        if not frames:
            raise SourceError("there is no frame in it")

    def describe(self, info: VideoInfo) -> VideoInfo:
        """May add to what is known of the video."""
        return info

    def pixels(self, sample: Sample) -> Pixels:
        """The picture of a sample."""
        if self._pictures.words:
            return sample_to_words(sample)
        auto = self._pictures.color == "auto"
        return sample_to_pixels(sample, color=auto, full_range=self._pictures.full_range)

    @property
    def even_times(self) -> bool:
        """Whether frames follow each other at the video's rate, whatever times some of them carry."""
        return False

    def taken_ns(self, _pts_ns: int) -> int:
        """See `Frame.taken_ns`, of a sample of that running time."""
        return 0

    @property
    def drops(self) -> int:
        """Frames dropped by this source since it was made."""
        return self._drops_before + self._drops

    def give_units(self, take: Callable[[Unit, bool], None]) -> None:
        """From the next `open` on, give every coded picture before it is decoded.

        Args:
            take: gets it, and whether it is the first since `open`, on one of GStreamer's threads; it may
                block a file, and must be quick with what is live.
        """
        self._take = take

    def open(self) -> VideoInfo:
        """Start and wait for the first frame; see `FrameSource.open`."""
        self.close()
        plan = self.plan()
        self._live = plan.live
        self._waiting_room = _WAITING if self._pictures.every_frame else 1
        keep = f"max-buffers={self._waiting_room} drop=true" if plan.live else "max-buffers=4"
        convert = "videoconvert ! " if plan.convert else ""
        try:  # what `plan` has opened is let go of, whatever fails from here on
            self._pipeline = Pipeline(
                f"{plan.launch} ! {convert}appsink name=frames sync=false {keep}",
                {**plan.properties, "frames": {"caps": accepted_caps()}},
                plan.signals,
                plan.corrections,
            )
            self._pipeline.start(plan.begin_ns > 0, built=partial(self._attach, plan.coded))
            if plan.begin_ns:
                self._pipeline.seek(plan.begin_ns, self.open_timeout_s)
            return self._first_look(plan)
        except GstFailure as failure:
            self.close()
            raise self._refusal() or self.explain(failure) from failure
        except BaseException:
            self.close()
            raise

    def _attach(self, coded: str, pipeline: Pipeline) -> None:
        if coded and self._take is not None:
            give_units(pipeline.element(coded).get_static_pad("src"), self._take, self.taken_ns)

    def _first_look(self, plan: SourcePlan) -> VideoInfo:
        """Wait for the first frame; of a file for three, as some containers misstate their rate."""
        if self._pipeline is None:
            raise StreamError("read before the source was opened")
        for number in range(1 if plan.live else 3):
            try:
                sample = self._pipeline.pull("frames", self.open_timeout_s)
            except EndOfStream as end:
                self._end = end
                break
            except GstFailure as failure:
                if number == 0:
                    raise
                self._end = self.explain(failure)
                break
            if sample is None:
                if number == 0:
                    raise self._refusal() or self.explain(None)
                break
            self._waiting.append(sample)
        if not self._waiting:
            self.ended(0, 0)
        first = self._waiting[0]
        self._turn = self._pipeline.orientation("frames")
        self._times = FrameTimes.from_first(list(self._waiting), self.even_times)
        rate = self._times.rate
        picture = upright(self.pixels(first), self._turn)
        height, width = picture.shape[:2]
        duration_ns = None if plan.live else self._pipeline.duration_ns()
        info = VideoInfo(
            size=(height, width),
            rate=rate,
            live=plan.live,
            frame_count=round(duration_ns * rate / 10**9) if duration_ns and rate else None,
            duration_ns=duration_ns,
            description=f"{plan.description}: {first.caps.format} {width}x{height}"
            + (f" at {float(rate):.3g} Hz" if rate else ""),
            counts=picture.dtype == np.uint16,
            sound=self.sounds(),
            pixel_aspect=first.caps.pixel_aspect_turned(self._turn),
        )
        return self.describe(info)

    def read(self, timeout_s: float) -> Frame | None:
        """The next frame; see `FrameSource.read`."""
        if self._pipeline is None:
            raise SourceError("the source is not open")
        sample = (
            self._waiting.popleft() if self._waiting else self._pull(max(timeout_s, self.read_at_least_s))
        )
        if sample is None:
            self.ended(self._count, max(0, self._times.last_ns))
            return None
        return self._frame_of(sample)

    def _refusal(self) -> SourceError | None:
        return self._decoding.refusal if self._decoding is not None else None

    def _pull(self, timeout_s: float) -> Sample | None:
        if self._pipeline is None:
            raise StreamError("read before the source was opened")
        try:
            if self._end is not None:
                raise self._end
            sample = self._pipeline.pull("frames", timeout_s)
        except EndOfStream as end:
            self._end = end
            if self._live:
                raise SourceLost("the camera ended the stream") from None
            return None
        except GstFailure as failure:
            error = self._refusal() or self.explain(failure)
            if self._live and not isinstance(error, SourceLost):
                error = SourceLost(str(error))
            self._end = error
            raise error from failure
        if sample is None:
            raise SourceLost(f"no frame for {timeout_s:.3g} s")
        return sample

    def _frame_of(self, sample: Sample) -> Frame:
        self._pulled += 1
        if self._live and self._pipeline is not None:
            # Exact whenever a frame was just taken from a full queue, which is when frames are dropped.
            missing = self._pipeline.arrived("frames") - self._pulled - (self._waiting_room - 1)
            self._drops = max(self._drops, missing)
        seen = (sample.caps.size, sample.caps.format)
        gap = self._seen is not None and seen != self._seen
        self._seen = seen
        self._tell_losses()
        said = (None, False) if self._decoding is None else self._decoding.said_of(sample.buffer_ns)
        frame = Frame(
            upright(self.pixels(sample), self._turn),
            self._times.pts_ns(sample),
            self._times.duration_ns(sample),
            self._count + self._drops if self._live else self._count,
            gap=gap,
            damaged_from=said[0],
            drawn_anew=said[1],
            taken_ns=self.taken_ns(sample.pts_ns),
            sound=tuple(self._sound()),
        )
        self._count += 1
        return frame

    def sounds(self) -> bool:
        """Whether there is sound beside the pictures, which comes or will come."""
        return False

    def _sound(self) -> Iterator[Sound]:
        """What has come meanwhile."""
        sink = self._sound_sink
        while sink is not None and (sample := sink.emit("try-pull-sample", 0)) is not None:
            samples, pts_ns = pcm_of(sample)
            if pts_ns >= 0:
                yield Sound(samples, pts_ns)

    def _tell_losses(self) -> None:
        """Of a live source, where there is no end at which to say it."""
        if self._live and self._decoding is not None and self._decoding.lost_so_far > self._lost_said:
            lost, self._lost_said = self._decoding.lost_so_far - self._lost_said, self._decoding.lost_so_far
            remark("damaged pictures of the source could not be decoded", lost)

    def _watched(self, decoding: Decoding) -> Decoding:
        """Let go of the decoder that was watched before, and watch another."""
        if self._decoding is not None:
            self._decoding.close()
        self._decoding, self._lost_said = decoding, 0
        decoding.take = self._take
        return decoding

    def close(self) -> None:
        """Stop and let go; see `FrameSource.close`."""
        if self._pipeline is not None:
            self._pipeline.stop()
        if self._decoding is not None:
            self._decoding.close()
        self._pipeline = self._end = self._seen = self._sound_sink = None
        self._waiting.clear()
        self._times = FrameTimes()
        self._drops_before += self._drops
        self._drops = self._count = self._pulled = 0
        self._turn = ""
