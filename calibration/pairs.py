"""Gathers pairs of infrared and color while a camera runs: its filter switches at dusk and dawn, and the same
pixels are seen in color and in infrared seconds apart.

Shortly before and after a switch the exposure settles and the filter moves through the picture, and it is
told a second late: pictures are taken from some seconds before it and some after. They are registered, as
a lens without its filter focuses elsewhere, and laid on each other; what does not lie right is left out.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.calibration.errors import CalibrationError
from irchroma.engines.cache import write_atomically
from irchroma.engines.reference.registration import register, warp
from irchroma.stream.frame import Frame
from irchroma.stream.remarks import remark

log = logging.getLogger(__name__)

EVERY_NS = 500_000_000
"""One picture of so long is kept."""
BEFORE_NS = (2_000_000_000, 6_000_000_000)
"""Of the pictures before a switch those are taken that lie so long before it was told."""
AFTER_NS = (2_000_000_000, 4_000_000_000)
"""Of those after it."""
PAIRS = 3
"""Of one switch at most: the light is the same in all of them."""
APART_NS = 60_000_000_000
"""A camera that cannot decide at dusk gives pairs of one switch a minute."""
LONGEST_PX = 1280
UNCOVERED = 0.03
"""Share of a border that registration may leave without color; it is cut off."""

Picture = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class _Seen:
    pts_ns: int
    picture: Picture


@dataclass(slots=True)
class _Switch:
    """Pictures of before it, while those of after it are waited for."""

    pts_ns: int
    to_color: bool
    before: list[Picture]
    after: list[Picture]


class PairCollector:
    """Watches a camera's frames; writes DIR/ir/NAME.png and DIR/rgb/NAME.png, NAME by the clock.

    `look` is called by one thread and is quick: pictures are registered and written by another.

    Attributes:
        written: pairs written so far.
        refused: pairs whose pictures did not lie on each other.
    """

    def __init__(self, folder: Path) -> None:
        """Make the folders.

        Raises:
            CalibrationError: they cannot be made or written to.
        """
        self.folder = folder
        self.written = self.refused = 0
        try:
            for kind in ("ir", "rgb"):
                (folder / kind).mkdir(parents=True, exist_ok=True)
                probe = folder / kind / ".writable"
                probe.touch()
                probe.unlink()
        except OSError as error:
            raise CalibrationError(f"--collect {folder}: cannot be written ({error.strerror})") from error
        self._kept: deque[_Seen] = deque(maxlen=BEFORE_NS[1] // EVERY_NS + 1)
        self._in_color: bool | None = None
        self._switch: _Switch | None = None
        self._last_ns: int | None = None
        self._changes, self._said_nothing = 0, False
        self._work: queue.SimpleQueue[_Switch | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._register, name="collect", daemon=True)
        self._thread.start()

    def look(self, frame: Frame, in_color: bool) -> None:
        """One frame, and whether the camera is in color; counts, which have no color, are left alone."""
        if frame.is_counts:
            if not self._said_nothing:
                remark("counts have no color: no pairs are gathered of them")
                self._said_nothing = True
            return
        if self._in_color is not None and in_color != self._in_color:
            self._begin(frame.pts_ns, in_color)
        self._in_color = in_color
        if self._kept and 0 <= frame.pts_ns - self._kept[-1].pts_ns < EVERY_NS:
            return
        if self._kept and frame.pts_ns < self._kept[-1].pts_ns:
            self._kept.clear()
            self._switch = None
        picture = _small(frame, in_color)
        self._kept.append(_Seen(frame.pts_ns, picture))
        if self._switch is not None:
            self._go_on(frame.pts_ns, picture)

    def close(self, wait_s: float | None = 30.0, tell: bool = True) -> None:
        """Finish what is being registered, for so long at most (None: all of it); may be called twice.

        Args:
            wait_s: seconds.
            tell: say it where the camera gave nothing; False where the caller does.
        """
        self._work.put(None)
        self._thread.join(wait_s)
        if tell and not self._changes and not self._said_nothing:
            self._said_nothing = True
            log.info("%s: nothing gathered: the camera never changed between infrared and color", self.folder)

    def _begin(self, pts_ns: int, to_color: bool) -> None:
        """The camera has switched."""
        self._changes += 1
        near, far = BEFORE_NS
        before = [seen.picture for seen in self._kept if near <= pts_ns - seen.pts_ns <= far]
        self._kept.clear()
        recent = self._last_ns is not None and 0 <= pts_ns - self._last_ns < APART_NS
        usable = bool(before) and not recent
        self._switch = _Switch(pts_ns, to_color, before[-PAIRS:], []) if usable else None

    def _go_on(self, pts_ns: int, picture: Picture) -> None:
        switch = self._switch
        if switch is None or pts_ns - switch.pts_ns < AFTER_NS[0]:
            return
        switch.after.append(picture)
        if len(switch.after) >= min(PAIRS, len(switch.before)) or pts_ns - switch.pts_ns >= AFTER_NS[1]:
            self._switch, self._last_ns = None, pts_ns
            self._work.put(switch)

    def _register(self) -> None:
        while True:
            switch = self._work.get()
            if switch is None:
                return
            for before, after in zip(switch.before, switch.after, strict=False):
                infrared, color = (before, after) if switch.to_color else (after, before)
                try:
                    self._write(infrared, color)
                except Exception:  # a run goes on whatever becomes of a pair
                    log.exception("a pair could not be written")
            kind = "dawn" if switch.to_color else "dusk"
            log.info("%s: %d pairs in %s, %d did not fit", kind, self.written, self.folder, self.refused)

    def _write(self, infrared: Picture, color: Picture) -> None:
        found = laid_on(infrared, color)
        if found is None:
            self.refused += 1
            return
        now = time.time()
        name = time.strftime("%Y%m%dT%H%M%S", time.gmtime(now)) + f"{int(now % 1 * 1000):03}.png"
        for kind, picture in zip(("ir", "rgb"), found, strict=True):
            data = picture if picture.ndim == 2 else cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
            done, coded = cv2.imencode(".png", data)
            if not done:
                raise CalibrationError(f"{self.folder}: a picture of {picture.shape} could not be coded")
            write_atomically(self.folder / kind / name, [coded.tobytes()])
        self.written += 1


def laid_on(infrared: Picture, color: Picture) -> tuple[Picture, Picture] | None:
    """(h, w) luma and (h, w, 3) R'G'B' that lie on each other; None where they show different scenes.

    Args:
        infrared: (H, W).
        color: (H', W', 3).
    """
    reference: Any = cv2.cvtColor(color, cv2.COLOR_RGB2GRAY)
    alignment = register(infrared, reference, search=False)
    if not alignment.same_scene:
        return None
    height, width = infrared.shape
    rgb = warp(color, alignment.matrix, (height, width))
    rows, columns = round(height * UNCOVERED), round(width * UNCOVERED)
    inside = np.s_[rows : height - rows, columns : width - columns]
    return np.ascontiguousarray(infrared[inside]), np.ascontiguousarray(rgb[inside])


def _small(frame: Frame, in_color: bool) -> Picture:
    """A copy: R'G'B' of a camera that is in color, luma of one that is not."""
    pixels: Any = frame.pixels
    height, width = pixels.shape[:2]
    factor = min(1.0, LONGEST_PX / max(height, width))
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    if in_color and pixels.ndim == 2:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB)
    if not in_color and pixels.ndim == 3:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    if size != (width, height):
        return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
    return np.array(pixels, np.uint8)
