"""A camera's place at a network on a device that others use too, and the memory that it shows to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from irchroma.engines.gpu.device import DeviceArray, DeviceNetwork, Mark
from irchroma.engines.gpu.kernels.source import Launch
from irchroma.engines.gpu.steps.temporal import input_step, output_step, place_of

if TYPE_CHECKING:
    from irchroma.engines.gpu.batching import DeviceBatcher

GoOn = Callable[[Mark | None, Exception | None], None]
"""See `device_batching.DeviceBatcher.ask`."""


@dataclass(slots=True, eq=False)
class BatchedFrame:
    """A camera's memory that a batch reads and writes; one for each of its slots.

    Attributes:
        small: (h, w) uint8, as the network is to see it.
        news: (4, h, w) float32, written: Y', Cb, Cr and confidence.
        fades: chroma fades out in the dark.
        looked: `small` is there once this has been passed.
    """

    small: DeviceArray
    news: DeviceArray
    fades: bool
    looked: Mark
    steps: dict[tuple[int, int], tuple[Launch, Launch]] = field(default_factory=dict)

    def at(self, frames: int, place: int, network: DeviceNetwork) -> tuple[Launch, Launch]:
        """How it gets into that place of a batch of so many frames, and out of it."""
        found = self.steps.get((frames, place))
        if found is None:
            tensors = place_of(network, place)
            found = (
                input_step(self.small, tensors),
                output_step(tensors, self.small, self.news, self.fades),
            )
            self.steps[frames, place] = found
        return found


class BatchSeat:
    """One camera's place at a `DeviceBatcher`.

    Attributes:
        under_way: its frames that have not been answered.
    """

    def __init__(self, batcher: DeviceBatcher) -> None:
        self._batcher = batcher
        self.under_way = 0

    @property
    def name(self) -> str:
        """The network's."""
        return self._batcher.name

    def ask(self, frame: BatchedFrame, go_on: GoOn) -> None:
        """See `DeviceBatcher.ask`."""
        self._batcher.ask(self, frame, go_on)

    def report(self) -> None:
        """The camera's frames fail: whoever comes new gets another network."""
        self._batcher.failed = True

    def withdraw(self) -> None:
        """See `DeviceBatcher.withdraw`."""
        self._batcher.withdraw(self)

    def close(self) -> None:
        """Leave; the others are not disturbed. May be called twice."""
        self._batcher.leave(self)
