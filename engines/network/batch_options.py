"""How frames of several cameras share calls of one network."""

from __future__ import annotations

from dataclasses import dataclass

from irchroma.engines.errors import EngineOptionError

_LONGEST_WAIT_MS = 1000.0


@dataclass(frozen=True, slots=True)
class BatchOptions:
    """How frames of several cameras share calls of one network.

    Attributes:
        wait_ms: how long a frame may wait for other cameras' frames, milliseconds; 0 = never.
        frames: most frames of one call; 0 for what pays: 1 on a CPU, where a frame in a batch costs what it
            costs alone, and 8 on a GPU, which one small frame leaves half empty.
    """

    wait_ms: float = 3.0
    frames: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.wait_ms <= _LONGEST_WAIT_MS:
            raise EngineOptionError(
                f"batch wait must be from 0 to {_LONGEST_WAIT_MS:g} ms, got {self.wait_ms:g}"
            )
        if self.frames < 0:
            raise EngineOptionError(f"frames of a batch must be 1 or more, or 0 for auto, got {self.frames}")
