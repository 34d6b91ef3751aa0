"""The viewer's picture: the chosen view, readings on it, and what is said when there is no color."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.stream.errors import StreamError
from irchroma.stream.picture.picture import Halves, Picture
from irchroma.stream.protocols import Job
from irchroma.stream.sensor.telemetry import CameraTelemetry
from irchroma.stream.view.cards import error_banner, no_signal_card
from irchroma.stream.view.osd import ColorScale, Osd, OsdOptions, Readings, read_spot
from irchroma.stream.view.views import ViewOptions, compose

_FIRST_SIZE = (480, 640)  # of a card before the first frame
_SCALE_EVERY_S = 0.25


class ViewComposer:
    """The `Composer` of every picture of a run; used by the loop's composing thread.

    Attributes:
        name: the camera's, where there are several: on the card of one that gives no signal.
        view: what the picture shows; any thread may put another one there.
        celsius_of: what so many counts are in degrees; None: by the camera's scale, where there is one.
        scale_of: says which color stands for which value, None where none does; asked a few times a second.
        is_timed: says whether readings have that time of a frame; None for always.
        latency_ms: from a frame's arrival until its picture is ready, smoothed over some 20 frames.

    Args:
        view: what the picture shows at first.
        osd: which readings are drawn on it.
        gain, offset: of the camera's scale, celsius = counts * gain + offset; None where unknown.
    """

    def __init__(
        self,
        view: ViewOptions | None = None,
        osd: OsdOptions | None = None,
        gain: float | None = None,
        offset: float = 0.0,
    ) -> None:
        self.view, self._gain, self._offset = view or ViewOptions(), gain, offset
        self.latency_ms, self.name = 0.0, ""
        self.celsius_of: Callable[[float], float] | None = None
        self.scale_of: Callable[[], ColorScale | None] | None = None
        self.is_timed: Callable[[], bool] | None = None
        self._scale: ColorScale | None = None
        self._scale_s = -math.inf
        self._osd = Osd(osd or OsdOptions())
        self._last: Picture | None = None

    def use(self, osd: OsdOptions) -> None:
        """Other readings from the next picture on. Any thread."""
        self._osd = Osd(osd)

    def compose(self, job: Job) -> Picture:
        picture = self._last = self._composed(job)
        picture.halves = self._halves(job)
        now_ms = (time.monotonic_ns() - job.frame.arrival_ns) / 1e6
        self.latency_ms += (now_ms - self.latency_ms) * (0.05 if self.latency_ms else 1.0)
        return picture

    def _composed(self, job: Job) -> Picture:
        view, colored = self.view, job.colored
        synthetic = job.synthetic and colored is not None
        if colored is not None:
            picture = Picture.of_colored(colored)
            if picture.shape != (*job.luma.shape, 3) or picture.dtype != np.uint8:
                raise StreamError(
                    f"{job.engine} gave a picture of {picture.shape} {picture.dtype}"
                    f" for a frame of {job.luma.shape}: expected its color, uint8"
                )
            as_made = picture.is_planar or (picture.palette is not None and not synthetic)
            if as_made and view.view == "color" and not self._osd.options.show:
                return self._osd.mark(picture, synthetic)
            rgb = colored.rgb
        elif job.camera_rgb is not None:
            rgb = job.camera_rgb
        else:
            rgb = np.asarray(cv2.cvtColor(job.luma, cv2.COLOR_GRAY2RGB), np.uint8)
        confidence = colored.confidence if colored is not None else None
        if job.repaired is not None and view.view == "confidence":
            confidence = _unsure_where(job.repaired, confidence)
        shown = compose(job.luma, rgb, view, confidence)
        if self._osd.options.show or synthetic:
            shown = self._osd.draw(shown, self._readings(job, synthetic), job.frame.pts_ns, view)
        return Picture(shown if job.reason is None else error_banner(shown, job.reason))

    def _halves(self, job: Job) -> Halves:
        """What a viewer needs for a view of their own; nothing of it is made before it is asked for."""
        colored, luma, repaired = job.colored, job.luma, job.repaired
        camera_rgb, synthetic, osd = job.camera_rgb, job.synthetic and job.colored is not None, self._osd

        def color() -> Picture:
            if colored is not None:
                return osd.mark(Picture.of_colored(colored), synthetic)
            return Picture(luma if camera_rgb is None else camera_rgb)

        def confidence() -> Picture:
            if colored is None:
                return color()
            sure = colored.confidence
            if repaired is not None:
                sure = _unsure_where(repaired, sure)
            return Picture(compose(luma, colored.rgb, ViewOptions("confidence"), sure))

        return Halves(luma, color, confidence)

    def no_signal(self, silent_s: float, reason: str) -> Picture:
        if self._last is None:
            return Picture(no_signal_card(_FIRST_SIZE, None, silent_s, reason, self.name))
        return Picture(no_signal_card(self._last.size, self._last.rgb, silent_s, reason, self.name))

    def _readings(self, job: Job, synthetic: bool) -> Readings:
        show = self._osd.options.show
        spot = None
        if "spot" in show:
            warm = self.celsius_of
            spot = read_spot(job.frame.pixels, gain=self._gain, offset=self._offset, celsius_of=warm)
        now_s = time.monotonic()
        timed = "latency" in show and (self.is_timed is None or self.is_timed())
        if "scale" in show and self.scale_of is not None and now_s - self._scale_s > _SCALE_EVERY_S:
            self._scale, self._scale_s = self.scale_of(), now_s
        return Readings(
            rate_hz=job.rate_hz,
            latency_ms=(time.monotonic_ns() - job.frame.arrival_ns) / 1e6 if timed else None,
            engine=job.engine,
            time=time.strftime("%Y-%m-%d %H:%M:%S") if "time" in show else None,
            spot=spot,
            camera=_camera_says(job) if "camera" in show else None,
            synthetic=synthetic,
            scale=self._scale,
        )


def _unsure_where(repaired: NDArray[np.uint8], confidence: NDArray[np.uint8] | None) -> NDArray[np.uint8]:
    """(H, W) uint8 confidence, 0 where the picture was mended; elsewhere 255 where none is known."""
    if confidence is None:
        return np.asarray(cv2.bitwise_not(repaired), np.uint8)
    size = (repaired.shape[1], repaired.shape[0])
    full = cv2.resize(confidence, size, interpolation=cv2.INTER_LINEAR)
    return np.asarray(cv2.bitwise_and(full, cv2.bitwise_not(repaired)), np.uint8)


def _camera_says(job: Job) -> str | None:
    """The frame's telemetry in a few words, or that the camera repeats its picture; None otherwise."""
    telemetry = job.frame.extra.get("telemetry")
    if isinstance(telemetry, CameraTelemetry):
        return telemetry.summary or None
    return "shutter closed" if job.frame.held else None
