"""Sources, engines and sinks that fail, hang, come late or give garbage at random, from a seed."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irchroma.stream.errors import SinkError, SourceError, SourceLost
from irchroma.stream.frame import Frame
from irchroma.stream.protocols import Pixels, VideoInfo

SIZE = (96, 128)
RATE_HZ = 20
QUIET_S = 1.5  # at the beginning: a run that cannot begin is refused, not mended
LONGEST_HANG_S = 3.0


@dataclass
class Faults:
    """When one camera's parts do what.

    Attributes:
        random: says what goes wrong, in the order of the calls.
        counts: what went wrong so far.
        ending: nothing more goes wrong, and what hangs returns.
    """

    random: random.Random
    counts: Counter[str] = field(default_factory=Counter)
    ending: threading.Event = field(default_factory=threading.Event)
    began_s: float = field(default_factory=time.monotonic)

    def at(self, place: str, share: float, kinds: dict[str, Callable[[], Any]]) -> Any:
        """In a share of the calls one of the kinds, which raises, waits or gives what comes instead."""
        if time.monotonic() - self.began_s < QUIET_S or self.random.random() >= share:
            return None
        kind = self.random.choice(sorted(kinds))
        self.counts[f"{place} {kind}"] += 1
        return kinds[kind]()

    def hang(self) -> None:
        """Longer than anybody waits, not for ever: what comes back too late must do no harm."""
        self.ending.wait(self.random.uniform(1.0, LONGEST_HANG_S))

    def late(self) -> None:
        """A little longer than usual."""
        self.ending.wait(self.random.uniform(0.05, 0.3))


def throw(error: Exception) -> Callable[[], None]:
    """A fault that raises it."""

    def fault() -> None:
        raise error

    return fault


class ChaoticCamera:
    """A live source."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._number = 0
        self.drops = 0

    def open(self) -> VideoInfo:
        """Sometimes no camera."""
        kinds = {"fails": throw(SourceError("no camera")), "breaks": throw(RuntimeError("driver"))}
        self._faults.at("source open", 0.3, {**kinds, "hangs": self._faults.hang})
        return VideoInfo(SIZE, Fraction(RATE_HZ), live=True, description="chaos")

    def read(self, timeout_s: float) -> Frame | None:
        """A frame at its time, and what cameras do instead."""
        faults = self._faults
        faults.ending.wait(1 / RATE_HZ)
        self._number += 1
        garbage = faults.at(
            "source read",
            0.02,
            {
                "is lost": throw(SourceLost("cable pulled")),
                "breaks": throw(ZeroDivisionError("driver")),
                "ends": lambda: "end",
                "hangs": faults.hang,
                "is late": faults.late,
                "other size": lambda: np.full((48, 64), 90, np.uint8),
                "no pixels": lambda: np.zeros((0, 5), np.uint8),
                "one pixel": lambda: np.zeros((1, 1), np.uint8),
                "counts": lambda: np.full(SIZE, 9000, np.uint16),
                "color": lambda: np.zeros((*SIZE, 3), np.uint8),
            },
        )
        if isinstance(garbage, str):
            return None
        luma = np.full(SIZE, self._number * 3 % 256, np.uint8)
        luma[:, self._number % SIZE[1]] = 255
        jump = faults.at("source time", 0.01, {"back": lambda: -90_000_000_000, "on": lambda: 90_000_000_000})
        pts_ns = self._number * 1_000_000_000 // RATE_HZ + (jump or 0)
        return Frame(luma if garbage is None else garbage, pts_ns)

    def close(self) -> None:
        """Sometimes it cannot even do that."""
        self._faults.at("source close", 0.3, {"breaks": throw(OSError("gone")), "hangs": self._faults.hang})


class Colored:
    """One picture, made when asked."""

    confidence = None

    def __init__(self, rgb: Callable[[], Any]) -> None:
        self._rgb = rgb

    @property
    def rgb(self) -> Any:
        """Whatever it is."""
        return self._rgb()


class ChaoticEngine:
    """A colorizer."""

    name, synthetic, depth = "chaos", True, 2

    def __init__(self, faults: Faults) -> None:
        faults.at(
            "engine make",
            0.4,
            {"fails": throw(RuntimeError("no memory")), "hangs": faults.hang, "": faults.late},
        )
        self._faults = faults
        self._given: deque[NDArray[np.uint8]] = deque()

    def submit(
        self,
        luma: NDArray[np.uint8],
        pts_ns: int,
        *,
        counts: NDArray[np.uint16] | None = None,
        held: bool = False,
    ) -> None:
        """Take a frame."""
        faults = self._faults
        kinds = {"fails": throw(RuntimeError("device lost")), "hangs": faults.hang, "is late": faults.late}
        faults.at("engine submit", 0.01, kinds)
        self._given.append(luma)

    def collect(self) -> Any:
        """Its color, or what engines give instead."""
        faults = self._faults
        luma = self._given.popleft()
        rgb = np.repeat(luma[..., None], 3, axis=2)
        garbage = faults.at(
            "engine collect",
            0.02,
            {
                "fails": throw(MemoryError()),
                "hangs": faults.hang,
                "is late": faults.late,
                "nothing": lambda: Colored(lambda: None),
                "other size": lambda: Colored(lambda: rgb[::2]),
                "floats": lambda: Colored(lambda: rgb.astype(np.float32)),
                "breaks when asked": lambda: Colored(throw(OSError("memory gone"))),
            },
        )
        return Colored(lambda: rgb) if garbage is None else garbage

    def reset(self) -> None:
        """Forget."""
        self._faults.at("engine reset", 0.1, {"fails": throw(RuntimeError("device lost"))})
        self._given.clear()

    def close(self) -> None:
        """Sometimes for long."""
        self._faults.at("engine close", 0.4, {"fails": throw(OSError("gone")), "hangs": self._faults.hang})


class ChaoticSink:
    """A live sink."""

    def __init__(self, faults: Faults) -> None:
        self._faults, self.drops = faults, 0

    def open(self, info: VideoInfo, size: tuple[int, int]) -> None:
        """Sometimes its port is taken."""
        faults = self._faults
        faults.at("sink open", 0.4, {"fails": throw(SinkError("port taken")), "hangs": faults.hang})

    def write(self, pixels: Pixels, pts_ns: int, duration_ns: int) -> None:
        """Sometimes its receiver is gone."""
        faults = self._faults
        kinds = {"fails": throw(SinkError("receiver gone")), "breaks": throw(KeyError("x"))}
        faults.at("sink write", 0.02, {**kinds, "hangs": faults.hang, "is late": faults.late})

    def close(self) -> None:
        """Sometimes not."""
        faults = self._faults
        faults.at("sink close", 0.4, {"fails": throw(SinkError("not closed")), "hangs": faults.hang})
