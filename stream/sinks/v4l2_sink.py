"""Feeds a V4L2 loopback device, so that other programs see the colored video as a camera."""

from __future__ import annotations

import os
import stat
from fractions import Fraction
from pathlib import Path

from irchroma.stream.errors import SinkError
from irchroma.stream.protocols import VideoInfo
from irchroma.stream.sinks.pipeline_sink import PipelineSink, Tail

_VIDEO = 81  # Linux' major number of video devices: Documentation/admin-guide/devices.txt


class V4l2Sink(PipelineSink):
    """One loopback device, in YUY2, which most programs expect of a camera.

    Args:
        device: `/dev/videoN`, made by the kernel module v4l2loopback.
    """

    def __init__(self, device: Path) -> None:
        super().__init__(str(device), waits=False, end_s=0)
        self._device = device

    def open(self, info: VideoInfo, size: tuple[int, int]) -> None:
        """See `FrameSink.open`. SinkError for a device that is absent or that takes no video."""
        try:
            told = self._device.stat()
        except OSError as error:
            raise SinkError(
                f"{self._device}: there is no such device: load the kernel module,"
                f" modprobe v4l2loopback video_nr={self._device.name.removeprefix('video')}"
            ) from error
        if not stat.S_ISCHR(told.st_mode) or os.major(told.st_rdev) != _VIDEO:
            raise SinkError(
                f"{self._device}: is not a video device, expected /dev/videoN of v4l2loopback"
                " (null takes pictures and keeps none)"
            )
        if not os.access(self._device, os.W_OK):
            raise SinkError(f"{self._device}: permission denied: add the user to the group video")
        super().open(info, size)

    def _tail(self, rate: Fraction, size: tuple[int, int]) -> Tail:
        return Tail(
            "videoconvert ! video/x-raw,format=YUY2 ! v4l2sink name=device sync=false",
            {"device": {"device": str(self._device)}},
        )
