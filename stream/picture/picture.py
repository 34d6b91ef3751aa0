"""Pictures that encoders take without R'G'B'; a false-color one kept as luma and table."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, runtime_checkable

import cv2
import numpy as np
from numpy.typing import NDArray


@runtime_checkable
class IndexedColored(Protocol):
    """A `Colored` that may also be read as luma and table."""

    @property
    def index(self) -> NDArray[np.uint8] | None:
        """(H, W) uint8 row of `table` for each pixel; None where `rgb` is more than the table says."""

    @property
    def table(self) -> NDArray[np.uint8]:
        """(256, 1, 3) uint8 R'G'B', full range."""


class StandIn(ABC):
    """Something that stands in for an R'G'B' array, which is made when asked for."""

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int, int]:
        """(H, W, 3), as of the R'G'B' array."""

    @property
    @abstractmethod
    def rgb(self) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 R'G'B', full range."""


@dataclass(frozen=True)
class IndexedPicture(StandIn):
    """A picture of at most 256 colors; stands in for its R'G'B' array, which is made when asked for.

    Attributes:
        index: (H, W) uint8 row of `table` for each pixel; shared, never written to.
        table: (256, 1, 3) uint8 R'G'B', full range.
    """

    index: NDArray[np.uint8]
    table: NDArray[np.uint8]

    @property
    def shape(self) -> tuple[int, int, int]:
        """(H, W, 3), as of the R'G'B' array."""
        return (*self.index.shape, 3)

    @cached_property
    def rgb(self) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 R'G'B', full range."""
        return np.asarray(cv2.applyColorMap(self.index, self.table), np.uint8)
