"""USB and other V4L2 cameras: counts where the sensor gives them, newest frame wins.

It finds the cameras of this machine, too, and asks them what they offer.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from irchroma.stream.errors import SourceError, SourceLost
from irchroma.stream.gstreamer.door import GstFailure, modules, structure_of
from irchroma.stream.gstreamer.sample import Sample
from irchroma.stream.sources.addresses import broken_format
from irchroma.stream.sources.camera_format import CameraFormat, CameraOptions, choose_format
from irchroma.stream.sources.decoding import Decoding
from irchroma.stream.sources.gst_source import GstSource, PictureOptions, Pixels, SourcePlan


@dataclass(frozen=True, slots=True)
class Device:
    """A capture device: its name for people, its path, and its caps as GStreamer writes them."""

    name: str
    path: str
    caps: tuple[str, ...]


def cameras() -> list[Device]:
    """Video capture devices that GStreamer's device monitor finds."""
    gst = modules()["Gst"]
    monitor = gst.DeviceMonitor.new()
    monitor.add_filter("Video/Source", None)
    if not monitor.start():
        return []
    try:
        found = []
        for device in monitor.get_devices() or []:
            properties = device.get_properties()
            path = ""
            if properties is not None:
                path = properties.get_string("device.path") or properties.get_string("api.v4l2.path") or ""
            found.append(Device(device.get_display_name(), path, _lines(device.get_caps())))
        return found
    finally:
        monitor.stop()


def offered_caps(path: str) -> tuple[str, ...]:
    """The caps of one V4L2 device.

    Raises:
        SourceError: it is absent, in other hands, or no camera; says what to do.
    """
    check_device(path)
    gst = modules()["Gst"]
    element = gst.ElementFactory.make("v4l2src", None)
    if element is None:
        raise SourceError(f"{path}: GStreamer's v4l2src is missing: install gstreamer1.0-plugins-good")
    element.set_property("device", path)
    try:
        if element.set_state(gst.State.READY) == gst.StateChangeReturn.FAILURE:
            raise SourceError(f"{path} is not a camera (not a V4L2 capture device)")
        return _lines(element.get_static_pad("src").query_caps(None))
    finally:
        element.set_state(gst.State.NULL)


def check_device(path: str) -> None:
    """SourceError with the remedy unless the device is there and may be used."""
    device = Path(path)
    if not device.exists():
        others = sorted(str(found) for found in Path("/dev").glob("video*"))
        there = (
            f"there are {', '.join(others)}" if others else "no camera is attached, or its driver is missing"
        )
        raise SourceError(f"{path}: no such device: {there}")
    if not device.is_char_device():
        raise SourceError(f"{path} is not a device")
    if not os.access(path, os.R_OK | os.W_OK):
        raise SourceError(
            f"{path}: permission denied: run sudo usermod -aG video $USER, then log out and in again"
        )


def _lines(caps: Any) -> tuple[str, ...]:
    return tuple(structure_of(caps, i).to_string() for i in range(caps.get_size())) if caps else ()


_DECODERS = {"JPEG": " ! jpegdec", "H264": " ! decodebin name=decode"}


class V4l2Source(GstSource):
    """A camera at `/dev/videoN`.

    Written from GStreamer's and the drivers' documentation: the choice of format is tested with the
    modes that cameras are documented to offer, but no part of this class has met a camera.
    """

    def __init__(
        self, path: str, options: CameraOptions | None = None, pictures: PictureOptions | None = None
    ) -> None:
        super().__init__(pictures)
        self._path, self._options = path, options or CameraOptions()
        self._format: CameraFormat | None = None

    def plan(self) -> SourcePlan:
        try:
            self._format = choose_format(offered_caps(self._path), self._options)
        except SourceError as error:
            raise type(error)(
                error if str(error).startswith(self._path) else f"{self._path}: {error}"
            ) from None
        decoder, signals = _DECODERS.get(self._format.name, ""), {}
        if decoder.endswith("=decode"):
            megapixels, tells = self._pictures.max_megapixels, self._pictures.tell_damage
            decoding = self._watched(Decoding(self._path, megapixels, tell_damage=tells))
            signals["decode"] = decoding.signals
        return SourcePlan(
            launch=f"v4l2src name=camera ! capsfilter name=mode{decoder}",
            properties={"camera": {"device": self._path}, "mode": {"caps": self._format.caps}},
            signals=signals,
            live=True,
            description=f"{self._path}, {self._format}",
            coded="mode" if decoder and not signals else "",
        )

    def pixels(self, sample: Sample) -> Pixels:
        if self._format is not None and self._format.picture_rows and not self._pictures.words:
            return counts_below(sample, self._format.picture_rows)
        return super().pixels(sample)

    def explain(self, failure: GstFailure | None) -> SourceError:
        path = self._path
        if failure is None:
            return SourceLost(f"{path}: no picture within {self.open_timeout_s:g} s")
        if failure.code == "busy" or "busy" in failure.debug.lower():
            return SourceLost(f"{path} is in use by another program (sudo fuser -v {path} names it)")
        if self._count or failure.code == "not-found":
            return SourceLost(f"{path}: the camera is gone ({failure})")
        return broken_format(path, failure) or SourceLost(f"{path}: {failure}")


def counts_below(sample: Sample, picture_rows: int) -> Pixels:
    """The counts of a frame whose upper rows are a picture: (H - picture_rows, W) uint16.

    The two bytes of a YUYV pixel below the picture are one little-endian word.
    """
    (height, width), stride = sample.caps.size, sample.caps.strides[0]
    start = sample.caps.offsets[0] + picture_rows * stride
    rows = height - picture_rows
    if start + rows * stride > sample.data.size + stride - 2 * width:
        raise SourceError(f"expected {rows} rows of counts below the picture, got {sample.data.size} bytes")
    padded = np.zeros(rows * stride, np.uint8)
    below = sample.data[start : start + rows * stride]
    padded[: below.size] = below
    return np.ascontiguousarray(padded.reshape(rows, stride)[:, : 2 * width]).view("<u2").astype(np.uint16)
