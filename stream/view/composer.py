"""The viewer's picture: the chosen view, readings on it, and what is said when there is no color."""

from __future__ import annotations

import time

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.stream.picture.picture import (
    IndexedColored,
    IndexedPicture,
    PackedColored,
    PackedPicture,
    StandIn,
)
from irchroma.stream.protocols import Finished
from irchroma.stream.sensor.telemetry import CameraTelemetry
from irchroma.stream.view.cards import error_banner, no_signal_card
from irchroma.stream.view.osd import Osd, OsdOptions, Readings, read_spot
from irchroma.stream.view.views import ViewOptions, compose

Rgb = NDArray[np.uint8]

_FIRST_SIZE = (480, 640)  # of a card before the first frame


class ViewComposer:
    """Composes every picture of a run; used by the loop's composing thread.

    Attributes:
        view: what the picture shows; any thread may put another one there.
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
        self.latency_ms = 0.0
        self._osd = Osd(osd or OsdOptions())
        self._last: Rgb | StandIn | None = None

    def compose(self, finished: Finished) -> Rgb | StandIn:
        """See `irchroma.stream.loop.loop.Composer.compose`."""
        colored, view = finished.colored, self.view
        plain = view.view == "color" and not self._osd.options.show and not finished.synthetic
        if plain and isinstance(colored, IndexedColored) and colored.index is not None:
            self._last = IndexedPicture(colored.index, colored.table)
            self._note_latency(finished)
            return self._last
        packed = colored.packed if isinstance(colored, PackedColored) else None
        if packed is not None and view.view == "color" and not self._osd.options.show:
            size = finished.luma.shape[0], finished.luma.shape[1]
            self._last = self._osd.mark(PackedPicture(packed, size), finished.synthetic)
            self._note_latency(finished)
            return self._last
        rgb = finished.camera_rgb if colored is None else colored.rgb
        if rgb is None:
            rgb = np.asarray(cv2.cvtColor(finished.luma, cv2.COLOR_GRAY2RGB), np.uint8)
        picture = compose(finished.luma, rgb, view, colored.confidence if colored is not None else None)
        synthetic = finished.synthetic and colored is not None
        if self._osd.options.show or synthetic:
            picture = self._osd.draw(
                picture, self._readings(finished, synthetic), finished.frame.pts_ns, view
            )
        if finished.reason is not None:
            picture = error_banner(picture, finished.reason)
        self._last = picture
        self._note_latency(finished)
        return picture

    def no_signal(self, silent_s: float, reason: str) -> Rgb:
        """See `irchroma.stream.loop.loop.Composer.no_signal`."""
        last = self._last.rgb if isinstance(self._last, StandIn) else self._last
        size = _FIRST_SIZE if last is None else (last.shape[0], last.shape[1])
        return no_signal_card(size, last, silent_s, reason)

    def _note_latency(self, finished: Finished) -> None:
        now_ms = (time.monotonic_ns() - finished.arrival_ns) / 1e6
        self.latency_ms += (now_ms - self.latency_ms) * (0.05 if self.latency_ms else 1.0)

    def _readings(self, finished: Finished, synthetic: bool) -> Readings:
        show = self._osd.options.show
        spot = None
        if "spot" in show:
            spot = read_spot(finished.frame.pixels, gain=self._gain, offset=self._offset)
        return Readings(
            rate_hz=finished.rate_hz,
            latency_ms=(time.monotonic_ns() - finished.arrival_ns) / 1e6,
            engine=finished.engine,
            time=time.strftime("%Y-%m-%d %H:%M:%S") if "time" in show else None,
            spot=spot,
            camera=_camera_says(finished) if "camera" in show else None,
            synthetic=synthetic,
        )


def _camera_says(finished: Finished) -> str | None:
    """The frame's telemetry in a few words, or that the camera repeats its picture; None otherwise."""
    telemetry = finished.frame.extra.get("telemetry")
    if isinstance(telemetry, CameraTelemetry):
        return telemetry.summary or None
    return "shutter closed" if finished.frame.held else None
