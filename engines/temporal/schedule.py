"""When the network is asked for color, and when the last color moved along is good enough."""

from __future__ import annotations

from typing import Literal

NEW_SHARE, FAST_PX = 0.003, 0.5
"""Share of the picture that is new, and motion, from which `auto` asks the network at once."""
BUSY = 0.8
"""Share of the time between frames above which a network is too slow to be asked for every little thing:
`auto` then bears five times as much."""
PATIENCE = 5.0
MOST_FRAMES = 8
"""Frames that one answer of the network stands for at most."""
LONGEST_SKIP_S = 0.14
"""With `auto`, the longest time without a network's color."""


class ColorSchedule:
    """Every n-th frame, or (`auto`) as seldom as the scene's motion and the network's speed allow.

    Every n-th counts from the first frame of the video, whatever was asked for beside: whoever begins at
    another n-th frame asks for the same ones.

    `settle_s` is the time after the start of a scene, seconds, in which `auto` asks for every frame. `every`
    may be changed between frames.

    Attributes:
        frames: that an answer to the newest frame stands for: those since the last one that was asked for.
    """

    def __init__(self, every: int | Literal["auto"], settle_s: float) -> None:
        self.every = every
        self._settle_s = settle_s
        self._cost_s = 0.0
        self.restart()

    def restart(self) -> None:
        """A new scene, whose first frame is colored."""
        self.frames = 1
        self._skipped_frames = 0
        self._skipped_s = 0.0
        self._scene_s = 0.0
        self._interval_s = 0.0

    def note_cost(self, cost_s: float) -> None:
        """What the network took for a frame, seconds; the slow first calls are soon forgotten."""
        share = 1.0 if self._cost_s == 0.0 else 0.5 if cost_s < self._cost_s else 0.1
        self._cost_s += share * (cost_s - self._cost_s)

    def needs_color(self, number: int, elapsed_s: float, new: float, speed_px: float, urgent: bool) -> bool:
        """Whether this frame goes to the network; called once for each that is no repetition.

        Args:
            number: of the frame in its video, from 0.
            elapsed_s: seconds since the frame before.
            new: share of the picture that has no past.
            speed_px: root mean square motion.
            urgent: true where the past can be trusted little (a gain jump, the end of a freeze).
        """
        self._skipped_frames += 1
        self.frames = min(self._skipped_frames, MOST_FRAMES)
        self._skipped_s += elapsed_s
        self._scene_s += elapsed_s
        self._interval_s += (0.1 if self._interval_s else 1.0) * (elapsed_s - self._interval_s)
        if self.every == "auto":
            busy = self._cost_s > BUSY * self._interval_s
            patience = PATIENCE if busy else 1.0
            settling = self._scene_s < self._settle_s and not busy
            moving = new > NEW_SHARE * patience or speed_px > FAST_PX * patience
            needs = urgent or settling or moving or self._skipped_s >= LONGEST_SKIP_S
        else:
            needs = urgent or number % self.every == 0 or self._skipped_frames >= self.every
        if needs:
            self._skipped_frames, self._skipped_s = 0, 0.0
        return needs
