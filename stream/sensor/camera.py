"""A camera by its profile: unpacks its frames and corrects its sensor, before anything else sees them."""

from __future__ import annotations

from dataclasses import replace

from irchroma.stream.frame import Frame
from irchroma.stream.sensor.correction import Correction
from irchroma.stream.sensor.layout import CameraUnpacker
from irchroma.stream.sensor.profile import CameraProfile


class Camera:
    """Turns delivered frames into pictures. Used by one thread."""

    def __init__(self, profile: CameraProfile) -> None:
        self.profile = profile
        self.unpacker = CameraUnpacker(profile)
        self._correction = Correction(profile)

    def apply(self, frame: Frame) -> Frame:
        """The frame's picture, unpacked and corrected; the frame itself where there is nothing to do."""
        frame = self.unpacker.unpack(frame)
        pixels = self._correction.apply(frame.pixels, frame.pts_ns)
        return frame if pixels is frame.pixels else replace(frame, pixels=pixels)
