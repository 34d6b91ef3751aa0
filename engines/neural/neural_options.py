"""What a neural colorizer is asked for, and what it gives for a frame."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from irchroma.engines import catalog
from irchroma.engines.errors import EngineOptionError
from irchroma.engines.network.network import NetworkOptions
from irchroma.engines.recolor.recoloring import RecolorOptions
from irchroma.engines.recolor.work_picture import STRIDE_PX
from irchroma.engines.temporal.temporal_options import TemporalOptions


@dataclass(frozen=True, slots=True)
class NeuralOptions:
    """What a neural colorizer does.

    Attributes:
        engine: `nir` or `thermal`.
        size: `fast` or `best`.
        work_size_px: long side of the picture that the network sees; 0 for the size's own. Smaller
            pictures are seen as they are.
        steady: keep the color steady in time; off for pictures that do not follow one another.
        weights: an ONNX file of the user's own instead of the network that ships; one that was calibrated
            says its size itself.
        reference: color pictures of this very scene, which steer the color; None for none.
        recolor: mode, chroma limit and filters.
        temporal: how the color is kept steady, and how often the network runs.
        network: runtime, threads, cache.
    """

    engine: str = "nir"
    size: str = "fast"
    work_size_px: int = 0
    steady: bool = True
    weights: Path | None = None
    reference: Path | None = None
    recolor: RecolorOptions = field(default_factory=RecolorOptions)
    temporal: TemporalOptions = field(default_factory=TemporalOptions)
    network: NetworkOptions = field(default_factory=NetworkOptions)

    def __post_init__(self) -> None:
        if self.engine not in catalog.BANDS:
            raise EngineOptionError(f"unknown engine {self.engine!r}: use {' or '.join(catalog.BANDS)}")
        if self.size not in catalog.SIZES:
            raise EngineOptionError(f"unknown size {self.size!r}: use {' or '.join(catalog.SIZES)}")
        if self.work_size_px and self.work_size_px < STRIDE_PX:
            raise EngineOptionError(f"work size {self.work_size_px} is below {STRIDE_PX} pixels")


@dataclass(frozen=True, slots=True)
class NeuralPicture:
    """A colored frame.

    Attributes:
        rgb: (H, W, 3) uint8 R'G'B', full range; the caller's to keep.
        confidence: (h, w) uint8 at work size, 255 = sure.
    """

    rgb: NDArray[np.uint8]
    confidence: NDArray[np.uint8] | None
