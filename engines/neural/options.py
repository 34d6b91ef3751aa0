"""What a neural colorizer is asked to do, and what it gives for a frame, whichever device it runs on."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from irchroma.engines import catalog
from irchroma.engines.errors import EngineOptionError
from irchroma.engines.network.network import NetworkOptions
from irchroma.engines.neural.given_picture import checked_strength
from irchroma.engines.recolor.recoloring import RecolorOptions
from irchroma.engines.recolor.work_picture import STRIDE_PX
from irchroma.engines.temporal.stage import TemporalOptions

AHEAD_FRAMES = 12
"""In flight with `ahead`: the network works on one while motion is measured in those after it, of which
each third is the next that it needs. Beside other work on two cores, 25 runs of each in turns, 12 gave 3 %
more frames a second than 6 and took 2 % less CPU time."""


@dataclass(frozen=True, slots=True)
class NeuralOptions:
    """What a neural colorizer does.

    Attributes:
        engine: a network of `catalog.NETWORKS`.
        size: `fast` or `best`; of `reference`, its band.
        work_size_px: long side of what the network sees at most; 0 for the size's own.
        steady: keep the color steady in time; off for pictures that do not follow one another.
        weights: an ONNX file of the user's own; one that was calibrated says its size itself. Of `reference`
            a trained one with its `catalog.picture_side`, or a network in place of its band's `fast`.
        celsius: degrees a count and of count 0, by which `thermal` on the CPU knows people; None for none.
        reference: color pictures of this scene, which steer, and for the engine `reference` of any scene;
            `pictures.AUTO`: see `exchange_references`.
        reference_strength: how much they count, [0, 2]; beyond 1 pictures of other scenes
            count more, and of the scene's own what is held back comes, see `reference.visible_parts`.
        recolor: mode, chroma limit and filters.
        temporal: how the color is kept steady, and how often the network runs.
        network: runtime, threads, cache.
        beside: the network works beside the frames, on the newest one, and none waits for it: for live
            video. Pictures then depend on how fast it is; off, the same frames give the same pictures.
            Without steadying frames wait all the same.
        ahead: frames are given while those before them are worked on, as a file's are: the network looks at
            one while motion is measured in the next ones. Pictures stay the same.
    """

    engine: str = "nir"
    size: str = "fast"
    work_size_px: int = 0
    steady: bool = True
    weights: Path | None = None
    celsius: tuple[float, float] | None = None
    reference: Path | None = None
    reference_strength: float = 1.0
    recolor: RecolorOptions = field(default_factory=RecolorOptions)
    temporal: TemporalOptions = field(default_factory=TemporalOptions)
    network: NetworkOptions = field(default_factory=NetworkOptions)
    beside: bool = False
    ahead: bool = False

    def __post_init__(self) -> None:
        catalog.require_network(self.engine, self.size)
        if self.work_size_px and self.work_size_px < STRIDE_PX:
            raise EngineOptionError(f"work size {self.work_size_px} is below {STRIDE_PX} pixels")
        checked_strength(self.reference_strength)


@dataclass(frozen=True, slots=True)
class NeuralPicture:
    """A colored frame.

    Attributes:
        rgb: (H, W, 3) uint8 R'G'B', full range; the caller's to keep.
        confidence: (h, w) uint8 at work size, 255 = sure.
    """

    rgb: NDArray[np.uint8]
    confidence: NDArray[np.uint8] | None
