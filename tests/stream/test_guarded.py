"""Engines that fail, and the run that does not."""

import time
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from irchroma.stream.guarded import GuardedColorizer


class Painted(NamedTuple):
    rgb: NDArray[np.uint8]
    confidence: NDArray[np.uint8] | None = None


class FragileColorizer:
    """Colors frames until its `lives` are used up; a real, if short-lived, colorizer."""

    name, synthetic, depth = "fragile", True, 1

    def __init__(self, lives: int, fails_in: str = "collect") -> None:
        self.lives, self.fails_in, self.closed = lives, fails_in, False
        self._luma: list[NDArray[np.uint8]] = []

    def _live_on(self, where: str) -> None:
        if where == self.fails_in:
            self.lives -= 1
            if self.lives < 0:
                raise RuntimeError("device lost")

    def submit(
        self, luma: NDArray[np.uint8], pts_ns: int, *, counts: object = None, held: bool = False
    ) -> None:
        self._live_on("submit")
        self._luma.append(luma)

    def collect(self) -> Painted:
        self._live_on("collect")
        return Painted(np.repeat(self._luma.pop(0)[..., None], 3, axis=2))

    def reset(self) -> None:
        self._luma.clear()

    def close(self) -> None:
        self.closed = True


LUMA = np.full((4, 4), 9, np.uint8)


def test_a_failing_engine_gives_no_color_and_says_why() -> None:
    for where in ("submit", "collect"):
        engine = FragileColorizer(1, where)
        guarded = GuardedColorizer(lambda engine=engine: engine)
        ticket = guarded.submit(LUMA, 0, None, False)
        assert ticket is not None
        assert guarded.collect(ticket) is not None
        ticket = guarded.submit(LUMA, 1, None, False)
        assert ticket is None or guarded.collect(ticket) is None
        assert guarded.reason == "device lost"
        assert guarded.submit(LUMA, 2, None, False) is None
        assert engine.closed
        guarded.close()


def test_the_engine_is_made_anew_and_color_comes_back() -> None:
    made: list[FragileColorizer] = []

    def make() -> FragileColorizer:
        made.append(FragileColorizer(1 if not made else 1000))
        return made[-1]

    guarded = GuardedColorizer(make)
    deadline = time.monotonic() + 10
    outcomes = []
    while time.monotonic() < deadline and not (len(outcomes) > 2 and outcomes[-1]):
        ticket = guarded.submit(LUMA, 0, None, False)
        outcomes.append(ticket is not None and guarded.collect(ticket) is not None)
    assert outcomes[0]
    assert not outcomes[1]
    assert outcomes[-1]
    assert len(made) == 2
    assert guarded.reason is None
    assert guarded.failures == 1
    guarded.close()
    assert made[1].closed
