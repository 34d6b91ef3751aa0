"""Corrects a sensor's faults in every frame, before the tone map: uniformity, bad pixels, stripes, drift.

`Camera` does so by a camera's profile: it unpacks its frames, too, before anything else sees them.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.stream.errors import StreamOptionError
from irchroma.stream.frame import Frame
from irchroma.stream.remarks import remark
from irchroma.stream.sensor.bad_pixels import BadPixelReplacement
from irchroma.stream.sensor.drift import PixelDrift
from irchroma.stream.sensor.layout import CameraUnpacker
from irchroma.stream.sensor.profile import CameraProfile
from irchroma.stream.sensor.stripes import StripeTracker


class Camera:
    """Turns delivered frames into pictures. Used by one thread."""

    def __init__(self, profile: CameraProfile) -> None:
        self.profile = profile
        self.unpacker = CameraUnpacker(profile)
        self._correction = Correction(profile)

    @property
    def unpacks(self) -> bool:
        """Whether the picture is only a part of what is delivered."""
        return self.profile.layout != "plain"

    def apply(self, frame: Frame) -> Frame:
        """The frame's picture, unpacked and corrected; the frame itself where there is nothing to do."""
        frame = self.unpacker.unpack(frame)
        pixels = self._correction.apply(frame.pixels, frame.pts_ns)
        return frame if pixels is frame.pixels else replace(frame, pixels=pixels)


Pixels = NDArray[np.uint8] | NDArray[np.uint16]

LOOK_EVERY = 3
"""Stripes drift slowly: columns and rows are looked at in turn, in every third frame."""


class Correction:
    """Corrects frame after frame of one camera. Used by one thread.

    Color pictures, and pictures of another size than the profile's (a camera that switches between day and
    night), pass through as they are.
    """

    def __init__(self, profile: CameraProfile) -> None:
        """Prepare for the profile's maps.

        Raises:
            StreamOptionError: the profile has areas to fill in but no size.
        """
        self.profile = profile
        faults = profile.faults
        maps = [one for one in (faults.bad_pixels, faults.offset, faults.gain) if one is not None]
        self._size = profile.size or (maps[0].shape if maps else None)
        self._replacement: BadPixelReplacement | None = None
        if faults.missing and self._size is None:
            raise StreamOptionError("areas to fill in need the camera's size in its profile")
        if self._size is not None and (faults.bad_pixels is not None or faults.missing):
            bad = np.zeros(self._size, bool) if faults.bad_pixels is None else faults.bad_pixels > 0
            for x, y, width, height in faults.missing:
                bad[y : y + height, x : x + width] = True
            self._replacement = BadPixelReplacement(bad)
        self._stripes: StripeTracker | None = None
        self._drift: PixelDrift | None = None
        self._number = 0
        self._offset: NDArray[np.float32] | None = faults.offset
        self._bias: NDArray[np.float32] | NDArray[np.int16] | None = None

    def apply(self, pixels: Pixels, pts_ns: int = 0) -> Pixels:
        """The corrected picture, new; or the one given where there is nothing to correct.

        Args:
            pixels: (H, W) uint8 luma or uint16 counts, as the sensor gave them; not written to.
            pts_ns: time of the frame; not used yet.
        """
        faults = self.profile.faults
        if not faults.any:
            return pixels
        if pixels.ndim != 2:
            remark("pictures in color are not corrected by the camera's profile")
            return pixels
        if self._size is not None and pixels.shape != self._size:
            remark(
                f"pictures of {pixels.shape[1]}x{pixels.shape[0]} are not corrected: the camera's profile is"
                f" of {self._size[1]}x{self._size[0]}"
            )
            return pixels
        corrected = self._uniform(pixels)
        if self._replacement is not None:
            self._replacement.apply(corrected)
        if faults.stripes > 0 and self._number % LOOK_EVERY == 0:
            self._look(corrected)
        if faults.drift > 0:
            self._follow(corrected)
        self._number += 1
        return corrected

    def _uniform(self, pixels: Pixels) -> Pixels:
        """Gain, offset and stripes; always a new array."""
        if self._bias is None and self._offset is not None:
            self._bias = _rounded(self._offset, self.profile.faults.gain is not None)
        depth = cv2.CV_16U if pixels.dtype == np.uint16 else cv2.CV_8U
        gain = self.profile.faults.gain
        if gain is not None:
            about = np.float32(self.profile.faults.gain_about)
            signal = cv2.multiply(cv2.subtract(pixels, float(about), dtype=cv2.CV_32F), gain)
            bias = about if self._bias is None else self._bias + about
            rounded = cv2.add(signal, bias, dtype=depth)
            return np.asarray(rounded)
        if self._bias is None:
            return pixels.copy()
        return np.asarray(cv2.add(pixels, self._bias, dtype=depth))

    def _look(self, corrected: Pixels) -> None:
        """Track the stripes on what the other corrections and the present stripes have left."""
        if self._stripes is None or self._stripes.size != corrected.shape:
            self._stripes = StripeTracker(corrected.shape, self.profile.faults.stripes)
        self._stripes.look(corrected, self._number // LOOK_EVERY % 2)
        self._add_up()

    def _follow(self, corrected: Pixels) -> None:
        """Track single pixels on what all corrections have left."""
        if self._drift is None or self._drift.offset.shape != corrected.shape:
            self._drift = PixelDrift((corrected.shape[0], corrected.shape[1]), self.profile.faults.drift)
        if self._drift.look(corrected):
            self._add_up()

    def _add_up(self) -> None:
        """All offsets in one."""
        parts = [] if self.profile.faults.offset is None else [self.profile.faults.offset]
        if self._stripes is not None:
            parts.append(self._stripes.columns[None] + self._stripes.rows[:, None])
        if self._drift is not None:
            parts.append(self._drift.correction)
        self._offset = np.asarray(sum(parts), np.float32) if parts else None
        self._bias = None


def _rounded(offset: NDArray[np.float32], fine: bool) -> NDArray[np.float32] | NDArray[np.int16]:
    """Offsets to whole counts, which add several times as fast, unless a gain needs float anyway."""
    return offset if fine else np.clip(np.rint(offset), -32768, 32767).astype(np.int16)
