"""The newest picture as JPEG, for any number of viewers that take it at their own pace."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.stream.picture.picture import Picture

_QUALITY = 85
MOST_VIEWERS = 32
_LEAST_S = 0.1


def with_square_pixels(picture: NDArray[np.uint8], aspect: Fraction) -> NDArray[np.uint8]:
    """The picture stretched to square pixels; itself where its pixels are square.

    Args:
        picture: (H, W) luma or (H, W, 3) R'G'B'.
        aspect: width of a pixel to its height.
    """
    if aspect == 1:
        return picture
    height, width = picture.shape[:2]
    size = (round(width * aspect), height) if aspect > 1 else (width, round(height / aspect))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_LINEAR), np.uint8)


class LivePicture:
    """The newest picture, as JPEG for whoever waits for it. Any thread.

    JPEG has its own size, made larger one way where pixels are no squares: nothing that shows images would.

    Attributes:
        pixel_aspect: width of a pixel to its height.
        viewers: how many follow it.
        ended: there will be no other.
    """

    def __init__(self) -> None:
        self._changed = threading.Lock()
        self._compress = threading.Lock()
        self._picture: Picture | None = None
        self._jpeg: tuple[int, bytes] = (0, b"")
        self._number = 0
        self.pixel_aspect = Fraction(1)
        self.ended = False
        self._times: deque[float] = deque(maxlen=60)
        self._watchers: set[Callable[[], object]] = set()
        self.viewers = 0

    def put(self, picture: Picture) -> None:
        """Take a picture; kept, not written to."""
        with self._changed:
            self._picture = picture
            self._number += 1
            self._times.append(time.monotonic())
            watchers = list(self._watchers)
        for wake in watchers:
            wake()

    def end(self) -> None:
        """Let everyone who watches go."""
        with self._changed:
            self.ended = True
            watchers = list(self._watchers)
        for wake in watchers:
            wake()

    @contextmanager
    def watched(self, wake: Callable[[], object]) -> Iterator[None]:
        """Call `wake` after each new picture and at the end, from whichever thread it comes."""
        with self._changed:
            self._watchers.add(wake)
        try:
            yield
        finally:
            with self._changed:
                self._watchers.discard(wake)

    @property
    def watched_now(self) -> bool:
        """Whether anybody waits for pictures, one that takes a single one included."""
        return bool(self._watchers)

    def newer(self, than: int) -> tuple[int, bytes] | None:
        """Number and JPEG of the newest picture where it is newer; None where not, and at the end."""
        with self._changed:
            if self.ended or self._number <= than or self._picture is None:
                return None
            number, picture = self._number, self._picture
        with self._compress:
            # Whoever comes first compresses for all of them.
            if self._jpeg[0] < number:
                array = with_square_pixels(picture.luma_or_rgb, self.pixel_aspect)
                shown = cv2.cvtColor(array, cv2.COLOR_RGB2BGR) if array.ndim == 3 else array
                _, data = cv2.imencode(".jpg", shown, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
                self._jpeg = (number, data.tobytes())
            return self._jpeg

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the newest picture; zeros before the first."""
        with self._changed:
            picture = self._picture
        return (0, 0) if picture is None else picture.size

    def rate_hz(self) -> float:
        """Pictures a second over the last ones; 0 when none came for 2 s.

        The first ones may come at once, which is no rate of thousands: they count as a tenth of a second.
        """
        with self._changed:
            times = list(self._times)
        if len(times) < 2 or time.monotonic() - times[-1] > 2:
            return 0.0
        return (len(times) - 1) / max(_LEAST_S, times[-1] - times[0])

    def join(self) -> None:
        """Count one more viewer; more than `MOST_VIEWERS` should not be let in."""
        with self._changed:
            self.viewers += 1

    def leave(self) -> None:
        """Count one viewer less."""
        with self._changed:
            self.viewers -= 1
