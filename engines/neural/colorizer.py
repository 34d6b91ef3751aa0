"""Colors frames with a trained network: its small color, steadied in time, put on the sensor's detail.

What a neural colorizer is asked for, and what it gives for a frame.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.engines import catalog
from irchroma.engines.errors import EngineError, EngineOptionError
from irchroma.engines.network.network import Network, NetworkOptions, open_network
from irchroma.engines.network.record import require_match
from irchroma.engines.recolor import neutral
from irchroma.engines.recolor.recoloring import Recoloring, RecolorOptions
from irchroma.engines.recolor.work_picture import STRIDE_PX, enlarged, padded, reduced, work_size
from irchroma.engines.reference.steering import ReferenceOptions, ReferenceSteering, Scenery
from irchroma.engines.temporal import gain
from irchroma.engines.temporal.memory import Observation
from irchroma.engines.temporal.stage import TemporalOptions, TemporalStage


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


__all__ = [
    "STRIDE_PX",
    "NeuralColorizer",
    "NeuralOptions",
    "NeuralPicture",
    "padded",
    "submit_together",
    "work_size",
]

Luma = NDArray[np.uint8]
Plane = NDArray[np.float32]


@dataclass(slots=True)
class _Job:
    """A frame on its way: what the temporal stage saw in it, then its small color."""

    luma: Luma
    small: Luma
    seen: Observation | None
    ycc: Plane | None = None
    confidence: Plane | None = None
    scenery: Scenery | None = None
    cost_s: float = 0.0


class NeuralColorizer:
    """A `Colorizer` of one video stream; several may share one network (see `submit_together`).

    `submit` runs the network and the temporal stage, `collect` puts the color on the full-size frame;
    called by two threads they overlap.
    """

    synthetic = True
    depth = 2

    def __init__(
        self,
        options: NeuralOptions | None = None,
        network: Network | None = None,
        opener: Callable[[Path, NetworkOptions], Network] = open_network,
    ) -> None:
        """Load the network, or share one that is open and stays its owner's to close.

        Args:
            options: what is done.
            network: an open one.
            opener: loads the network where none is given; `SharedPool.open` shares it with other cameras.

        Raises:
            EngineUnavailable: weights or runtime are not here.
            EngineOptionError: an option makes no sense.
        """
        self.options = options or NeuralOptions()
        self._precision = ""
        if self.options.weights is not None and self.options.weights.is_file():
            record = require_match(self.options.weights, self.options.engine)
            if record is not None:
                self.options = replace(self.options, size=record.size)
                self._precision = f" {record.precision}"
        path = self.options.weights or catalog.weights_path(self.options.engine, self.options.size)
        self._owned = network is None
        self.network = network or opener(path, self.options.network)
        self._stage = TemporalStage(self.options.temporal) if self.options.steady else None
        self._recoloring = Recoloring(self.options.recolor, catalog.BANDS[self.options.engine].look)
        self._dark_fade = neutral.dark_fade()
        self._steering: ReferenceSteering | None = None
        if self.options.reference is not None:
            reference = ReferenceOptions(self.options.reference, steady=self.options.steady)
            self._steering = ReferenceSteering(reference)
        self._long_side_px = self.options.work_size_px or catalog.WORK_SIZE_PX[self.options.size]
        self._seen_px = self._long_side_px
        self._pending: deque[_Job] = deque()

    @property
    def name(self) -> str:
        """`nir fast, openvino bf16`; `nir fast int8, ...` with a calibrated network."""
        steered = " + reference" if self._steering is not None else ""
        return f"{self.options.engine} {self.options.size}{self._precision}{steered}, {self.network.name}"

    def prepare(self, size: tuple[int, int]) -> None:
        """Compile the network for pictures of `size` (H, W) now, half a second, rather than on the first one.

        Raises:
            EngineError: the network does not work.
        """
        self.network.infer(padded(np.zeros(work_size(size, self._seen_px), np.uint8)))

    def submit(
        self,
        luma: Luma,
        pts_ns: int,
        *,
        counts: NDArray[np.uint16] | None = None,
        held: bool = False,
    ) -> None:
        """Color one frame; see `irchroma.stream.protocols.Colorizer.submit`."""
        submit_together([self], [luma], [pts_ns], [held])

    def collect(self) -> NeuralPicture:
        """The oldest frame in flight."""
        if not self._pending:
            raise EngineError("collect without submit")
        job = self._pending.popleft()
        assert job.ycc is not None
        assert job.confidence is not None
        rgb = self._recoloring.apply(job.luma, job.small, job.ycc, job.confidence)
        if job.scenery is not None and self.options.recolor.mode == "full":
            rgb = job.scenery.put_behind(rgb)
        return NeuralPicture(rgb, cv2.convertScaleAbs(job.confidence, alpha=255.0))

    def retune(self, seen_px: int, color_every: int, network: Network) -> None:
        """Change, between two frames, what colors them; the color goes on from what it is, without a jump.

        Called by the thread that calls `submit`. Work size and memory of the color stay what they are: a
        network that sees less has its color enlarged.

        Args:
            seen_px: long side of the picture that the network sees; the work size is the most.
            color_every: run the network every n-th frame; without steadying, every frame all the same.
            network: that runs from now on; stays its owner's to close.
        """
        if self._owned:
            raise EngineError("a colorizer that is retuned shares its networks")
        self._seen_px, self.network = max(STRIDE_PX, min(seen_px, self._long_side_px)), network
        if self._stage is not None:
            self._stage.ask_every(color_every)

    def reset(self) -> None:
        """Forget the past."""
        self._pending.clear()
        if self._stage is not None:
            self._stage.reset()
        if self._steering is not None:
            self._steering.reset()

    def close(self) -> None:
        """Let go of the network, unless it is shared."""
        self._pending.clear()
        if self._owned:
            self.network.close()

    def _observe(self, luma: Luma, pts_ns: int, held: bool) -> _Job:
        if luma.ndim != 2 or luma.dtype != np.uint8 or 0 in luma.shape:
            raise EngineOptionError(f"expected (H, W) uint8 luma, got {luma.shape} {luma.dtype}")
        height, width = work_size((luma.shape[0], luma.shape[1]), self._long_side_px)
        small = reduced(luma, (height, width))
        if self._stage is None:
            return _Job(luma, small, None)
        if small is luma:
            small = (
                luma.copy()
            )  # the stage compares it with the next frame; the caller may have written to it
        seen = self._stage.observe(small, pts_ns, held)
        if seen.luma_levels is not None:
            luma, small = gain.shown_luma(luma, seen.luma_levels), gain.shown_luma(small, seen.luma_levels)
        return _Job(luma, small, seen)

    def _finish(self, job: _Job, ycc: Plane | None, confidence: Plane | None, pts_ns: int) -> None:
        if ycc is not None and catalog.BANDS[self.options.engine].look.unlit is not None:
            ycc[..., 1:] *= self._dark_fade[job.small][..., None]
        if self._stage is not None and job.seen is not None:
            ycc, confidence = self._stage.update(job.seen, ycc, confidence, job.cost_s)
        if self._steering is not None and ycc is not None and confidence is not None:
            ycc, confidence = self._steering.apply(job.small, ycc, confidence, pts_ns)
            job.scenery = self._steering.scenery
        job.ycc, job.confidence = ycc, confidence
        self._pending.append(job)


def submit_together(
    colorizers: Sequence[NeuralColorizer],
    lumas: Sequence[Luma],
    pts_ns: Sequence[int],
    held: Sequence[bool] | None = None,
) -> None:
    """Give one frame to each of several streams' colorizers; frames of one work size share a network call.

    Args:
        colorizers: of different streams, with one and the same `network`.
        lumas: (H, W) uint8 each.
        pts_ns: of each frame.
        held: of each frame.
    """
    network = colorizers[0].network
    if any(colorizer.network is not network for colorizer in colorizers):
        raise EngineOptionError("colorizers that are called together must share one network")
    held = held or [False] * len(colorizers)
    jobs = [
        colorizer._observe(luma, pts, hold)
        for colorizer, luma, pts, hold in zip(colorizers, lumas, pts_ns, held, strict=True)
    ]
    batches: dict[tuple[int, int], list[int]] = {}
    for index, job in enumerate(jobs):
        if job.seen is None or job.seen.needs_color:
            height, width = job.small.shape
            seen = work_size((height, width), colorizers[index]._seen_px)
            batches.setdefault(seen, []).append(index)
    colors: dict[int, tuple[Plane, Plane]] = {}
    for (height, width), members in batches.items():
        batch = np.concatenate([padded(reduced(jobs[index].small, (height, width))) for index in members])
        start = time.perf_counter()
        ycc, confidence = network.infer(batch)
        cost_s = (time.perf_counter() - start) / len(members)
        for place, index in enumerate(members):
            jobs[index].cost_s = cost_s
            plain = np.ascontiguousarray(ycc[place, :, :height, :width].transpose(1, 2, 0))
            size = jobs[index].small.shape
            colors[index] = enlarged(plain, size), enlarged(confidence[place, 0, :height, :width], size)
    for index, (colorizer, job) in enumerate(zip(colorizers, jobs, strict=True)):
        color, sureness = colors.get(index, (None, None))
        colorizer._finish(job, color, sureness, pts_ns[index])
