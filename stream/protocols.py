"""The loop's interfaces, what it asks of source, colorizer, composer and sink, and what it hands on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from irchroma.stream.frame import Frame, Sound
from irchroma.stream.picture.picture import Picture

Pixels = NDArray[Any] | Picture
"""What sinks take: a picture in whatever form it was made, or uint8 or uint16 pixels."""


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """What a source says of its video once it is open.

    Attributes:
        size: (H, W) in pixels of the first frame; later frames may differ.
        rate: frames per second, 0 where unknown or variable.
        live: true where frames that are not taken in time must be dropped rather than queued.
        frame_count: expected number of frames, None where unknown.
        duration_ns: expected length in nanoseconds, None where unknown.
        description: one line for logs, without credentials.
        counts: true where frames hold 16-bit sensor counts.
        sound: true where sound comes with the frames.
        device: index of the CUDA device on which pictures of it lie; None for those of the host.
        pixel_aspect: width of a pixel to its height, as players are to show it; 1 but for old recorders.
        endless: true where it is known to have no end, though every frame of it waits to be taken.
        once: true where what has ended cannot come again though it is live, such as a pipe.
    """

    size: tuple[int, int]
    rate: Fraction
    live: bool
    frame_count: int | None = None
    duration_ns: int | None = None
    description: str = ""
    counts: bool = False
    sound: bool = False
    device: int | None = None
    pixel_aspect: Fraction = Fraction(1)
    endless: bool = False
    once: bool = False


DEFAULT_PERIOD_NS = 40_000_000


def period_of(info: VideoInfo) -> int:
    """Nanoseconds from frame to frame."""
    return int(1e9 / info.rate) if info.rate else DEFAULT_PERIOD_NS


class FrameSource(Protocol):
    """Gives frames in order. Opened, read and closed by one thread."""

    def open(self) -> VideoInfo:
        """Start and wait for the first frame. Raises SourceError with one clear line. May be called
        again after `close` (that is how a lost source is reconnected)."""

    def read(self, timeout_s: float) -> Frame | None:
        """The next frame; None at the orderly end of the video.

        A live source gives the newest frame and counts the others in `drops`. Raises `SourceLost`
        when nothing came within `timeout_s` or the connection broke, SourceError on other failures.
        """

    @property
    def drops(self) -> int:
        """Frames dropped by this source since it was made."""

    def close(self) -> None:
        """Stop and let go of everything; may be called twice and in any state."""


class Colored(Protocol):
    """One colored picture out of a colorizer.

    It may say beside `rgb` in which form it was made, which then goes to encoders without R'G'B' ever
    being made (`rgb` is asked only where somebody needs it): `planes`, (Y', Cb, Cr) as in
    `irchroma.stream.picture.picture.Planes` (I420, BT.709 matrix, limited range), or `palette`, (index,
    table) as in `Palette`, `device`, as `OnDevice` there; None for a picture that is not of that form. Arrays
    are the caller's to keep.
    """

    @property
    def rgb(self) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 R'G'B' (sRGB/BT.709 primaries), full range; the caller's to keep."""

    @property
    def confidence(self) -> NDArray[np.uint8] | None:
        """(h, w) uint8, 255 = sure of this pixel's color, at any size; None where it has no meaning."""


class Colorizer(Protocol):
    """The thing that colors frames. `submit` and `collect` are all the asynchrony there is.

    One thread calls `submit` and another `collect`, never with more than `depth` frames in flight. A run
    waits for them only so long. An engine that shares something with others may have a method `abandon`, for
    any thread to call when it hangs: what hangs is then not given to anybody else. One that colors
    within `submit`, by nothing that could hang, has an attribute `prompt`: it gets no threads of its own. One
    that can let its color come by degrees has a method `fade_in`, called where pictures without color go
    before.
    """

    @property
    def name(self) -> str:
        """Short, for the on-screen display: `palette ironbow`, `nir fast, openvino bf16`."""

    @property
    def synthetic(self) -> bool:
        """True where color is a network's guess, which the picture then says of itself."""

    @property
    def depth(self) -> int:
        """How many frames may be in flight between `submit` and `collect`, 1 or more."""

    def submit(
        self,
        luma: NDArray[np.uint8],
        pts_ns: int,
        *,
        counts: NDArray[np.uint16] | None = None,
        held: bool = False,
    ) -> None:
        """Take one frame. Blocks only for the CPU's own work.

        Args:
            luma: (H, W) uint8 Y', full range, tone mapped; shared, never written to by anybody. Its
                size may change from frame to frame.
            pts_ns: presentation time in nanoseconds; the temporal stage lives by it.
            counts: (H, W) uint16, the sensor's own values where the source has them.
            held: the camera says that it repeats a picture (FFC).
        """

    def collect(self) -> Colored:
        """The oldest frame in flight, once it is done; blocks until then. Raises the engine's error.

        A ValueError over the first frame says that what is asked makes no sense for this source.
        """

    def reset(self) -> None:
        """Forget the past (a seek, another camera); drops what is in flight."""

    def close(self) -> None:
        """Let go of everything; may be called twice."""


@dataclass(slots=True)
class Job:
    """One frame in work: the loop begins it, the composing thread completes it for the composer.

    Attributes:
        frame: as it came.
        luma: (H, W) uint8, tone mapped.
        camera_rgb: (H, W, 3) uint8, the camera's own color, which is passed through; None where it has none.
        duration_ns: of the picture.
        repaired: (H, W) uint8, 255 where the luma was mended, less where it is doubted; None: nowhere.
        ticket: the loop's own, of the engine; None where it was not asked.
        submitted_ns: when the engine was asked, monotonic.
        colored: the engine's answer; None where the frame goes out as it came.
        reason: why there is no color though there should be; None otherwise.
        engine: the engine's name.
        synthetic: true where the color is a network's guess.
        rate_hz: frames a second going out.
    """

    frame: Frame
    luma: NDArray[np.uint8]
    camera_rgb: NDArray[np.uint8] | None = None
    duration_ns: int = 0
    repaired: NDArray[np.uint8] | None = None
    ticket: Any = None
    submitted_ns: int = 0
    colored: Colored | None = None
    reason: str | None = None
    engine: str = ""
    synthetic: bool = False
    rate_hz: float = 0.0


class Composer(Protocol):
    """Makes the viewer's picture."""

    def compose(self, job: Job) -> Picture:
        """For one frame."""

    def no_signal(self, silent_s: float, reason: str) -> Picture:
        """A card for a source that has been silent for `silent_s` seconds."""


class FrameRepair(Protocol):
    """Mends what is wrong in a camera's pictures before the tone map. Called by the loop's thread."""

    def apply(
        self,
        pixels: NDArray[Any],
        pts_ns: int,
        held: bool = False,
        damaged_from: float | None = None,
        drawn_anew: bool = False,
    ) -> tuple[NDArray[Any], NDArray[np.uint8] | None]:
        """The mended picture and (H, W) uint8, 255 where it was mended, less where it is doubted.

        The picture given, and None, where nothing is wrong; it is never written to.

        Args:
            pixels: (H, W) uint8 luma or uint16 counts.
            pts_ns: presentation time in nanoseconds.
            held: the camera says that it repeats a picture.
            damaged_from, drawn_anew: see `Frame`.
        """

    def reset(self) -> None:
        """Forget the past (a gap, another camera)."""

    def close(self) -> None:
        """Let go of everything; may be called twice."""


class FrameMask(Protocol):
    """Takes out of a camera's pictures what nobody is to see. One thread calls."""

    def apply(self, frame: Frame) -> Frame:
        """The frame without it; the frame itself where there is nothing to take out."""


class FrameWatch(Protocol):
    """Sees what a camera gives, beside what becomes of it. Called by the loop's thread; must be quick."""

    def look(self, frame: Frame, in_color: bool) -> None:
        """One frame, its sensor corrected, and whether the camera is in color."""

    def close(self) -> None:
        """The run is over; finish."""


class SoundTaker(Protocol):
    """Gets what sounds with a live source's frames. Called by the reader's thread; must be quick."""

    def put(self, pieces: Sequence[Sound]) -> None:
        """What came with a frame."""

    def close(self) -> None:
        """The run is over."""


class FrameSink(Protocol):
    """Takes finished pictures. Called from one thread; must not block on a live run.

    A run waits for every call only so long; a sink whose `close` may need more, as a file's does, has an
    attribute `end_s`, seconds. One that can come up before there is a picture, as a page can, has a method
    `prepare`, which is called once before the source is opened. One whose end is judged by the whole run has
    a method `follow`, which is given the sink that failed and in whose place it was made.
    """

    def open(self, info: VideoInfo, size: tuple[int, int]) -> None:
        """Start, for pictures of `size` (H, W) at `info.rate`. Raises SinkError with one clear line."""

    def write(self, pixels: Pixels, pts_ns: int, duration_ns: int, /) -> None:
        """Take one picture; shared, so never written to.

        A run gives a `Picture`; an array of R'G'B' or luma, full range, is taken as one. Counts (uint16)
        come only to a sink that was opened to keep the raw track.

        Raises SinkError when the sink can take no more (disk full, receiver gone).
        """

    @property
    def drops(self) -> int:
        """Frames this sink left out because it could not keep up (live only)."""

    def close(self) -> None:
        """Finish (files are playable afterwards) and let go; may be called twice."""
