"""Finds the cameras of this machine and asks them what they offer."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from irchroma.stream.errors import SourceError
from irchroma.stream.gstreamer.door import modules


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
    return tuple(caps.get_structure(i).to_string() for i in range(caps.get_size())) if caps else ()
