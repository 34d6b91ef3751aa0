"""Finds which layers of a network may run in 8 bits on the user's own frames, within a budget of quality.

`PrecisionOptions` is what is asked of an 8-bit network, the result what is said of it.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.calibration.errors import CalibrationError
from irchroma.calibration.recordings import InfraredFrames
from irchroma.engines import catalog
from irchroma.engines.cache import digest_of
from irchroma.engines.measures.metrics import ciede2000, psnr
from irchroma.engines.network.eight_bit.quantization import Quantizer, base_hash
from irchroma.engines.network.network import Network, NetworkOptions, open_network
from irchroma.engines.network.record import NetworkRecord
from irchroma.engines.neural.colorizer import NeuralColorizer, NeuralOptions
from irchroma.engines.recolor.color_space import ycc_to_rgb
from irchroma.engines.recolor.work_picture import padded, work_size

TRUTH_DB = {"nir": 18.0, "thermal": 12.3}
"""PSNR of the float networks against the truth, the mean of `fast` and `best`: 17.9 and 18.0 of 55 pictures
(launch/benchmarks/MEASURED.md), 12.5 and 12.1 of eleven thermal ones by day (engines/weights/thermal.md)."""


@dataclass(frozen=True, slots=True)
class PrecisionOptions:
    """What is calibrated, and what it may cost.

    Attributes:
        engine: `nir` or `thermal`.
        size: `fast` or `best`.
        precision: `int8` or `fp8`.
        max_loss_db: PSNR against the truth that may be lost; without pairs that loss is worked out from
            the difference to the float network (see `equivalent_loss_db`).
        max_difference: mean CIEDE2000 to the float network's pictures; 1 is about just noticeable.
        work_size_px: long side of what the network sees, 0 for the size's own.
        runtime: judges the twins; see `NetworkOptions`.
        threads: of that runtime, 0 for its own choice.
        weights: a float network of the user's own, None for the one that ships.
        for_processor: see `Quantizer`.
    """

    engine: str = "nir"
    size: str = "fast"
    precision: str = "int8"
    max_loss_db: float = 0.3
    max_difference: float = 1.0
    work_size_px: int = 0
    runtime: str = "auto"
    threads: int = 0
    weights: Path | None = None
    for_processor: bool = False

    def __post_init__(self) -> None:
        if self.max_loss_db <= 0 or self.max_difference <= 0:
            raise CalibrationError("what may be lost must be above 0 dB and above 0 CIEDE2000")

    @property
    def path(self) -> Path:
        """The float network's file."""
        return self.weights or catalog.weights_path(self.engine, self.size)


@dataclass(frozen=True, slots=True)
class Quality:
    """A twin's pictures beside the float network's.

    Attributes:
        to_float_db: PSNR between the two, mean over frames.
        worst_to_float_db: of the worst frame.
        difference: mean CIEDE2000 between the two.
        worst_difference: of the worst frame.
        loss_db: PSNR against the truth that is lost: measured where there are pairs, else worked out.
        truth_before_db: PSNR of the float network against the truth; None without pairs.
        truth_after_db: of the twin.
    """

    to_float_db: float
    worst_to_float_db: float
    difference: float
    worst_difference: float
    loss_db: float
    truth_before_db: float | None = None
    truth_after_db: float | None = None


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """What one group of layers alone costs in 8 bits, between the networks' own outputs."""

    group: str
    to_float_db: float
    difference: float


@dataclass(frozen=True, slots=True)
class PrecisionResult:
    """What was found: sensitivities (most sensitive first), quality with all groups in 8 bits, the groups
    kept in float, and quality with those kept."""

    sensitivities: tuple[Sensitivity, ...]
    everything: Quality
    kept: tuple[str, ...]
    quality: Quality
    record: NetworkRecord


def equivalent_loss_db(to_float_db: float, truth_db: float) -> float:
    """PSNR against the truth that a picture `to_float_db` away from a float one of `truth_db` loses.

    Errors of rounding have nothing to do with those of the network, so their squares add up.
    """
    return 10 * math.log10(1 + 10 ** ((truth_db - to_float_db) / 10))


Luma = NDArray[np.uint8]
Rgb = NDArray[np.uint8]
Pair = tuple[Luma, Rgb]

SENSITIVITY_FRAMES = 8
_EQUAL_DB = 99.0
"""Said of pictures that are equal to the last bit."""


class PrecisionSearch:
    """Calibrates one network: `run` makes the file, `close` lets go of everything."""

    def __init__(self, options: PrecisionOptions, frames: InfraredFrames, pairs: Sequence[Pair] = ()) -> None:
        self.options, self._frames, self._pairs = options, frames, tuple(pairs)
        self._quantizer = Quantizer(options.path, options.precision, options.for_processor)
        self._base_sha256 = base_hash(options.path)
        self._folder = tempfile.TemporaryDirectory(prefix="irchroma-precision-")
        self._network_options = NetworkOptions(options.runtime, options.threads, cache=None, exact=True)
        self._float = open_network(options.path, self._network_options)
        self._judged = [*frames.held_out, *(luma for luma, _ in self._pairs)]
        self.float_pictures = self._pictures(self._float)

    def run(self, out: Path, note: Callable[[float, str], None], quick: bool = False) -> PrecisionResult:
        """Measure ranges and sensitivities, search, write `out`.

        Args:
            out: the ONNX file; not written where the search fails.
            note: called with the share done, [0, 1], and what is being done.
            quick: take for the most sensitive groups what was so in every network of this kind: the head,
                whose classes are near each other, then the first ones of the encoder.

        Raises:
            CalibrationError: quality drops more than asked even with all but one group in float.
        """
        for number, luma in enumerate(self._frames.measured):
            note(0.2 * number / len(self._frames.measured), "activation ranges")
            self._quantizer.collect(self._seen(luma))
        groups = list(self._quantizer.groups)
        sensitivities = []
        for number, group in enumerate(() if quick else groups):
            note(0.2 + 0.6 * number / len(groups), f"sensitivity of {group}")
            sensitivities.append(self._sensitivity(group))
        sensitivities.sort(key=lambda one: -one.difference)
        order = [one.group for one in sensitivities]
        if quick:
            order = [*groups[-1:], *groups[1:-1], *groups[:1]]
        kept: list[str] = []
        everything = quality = self._quality(kept)
        if not quick and not self._meets(quality):
            self._require_possible(order[:-1])
        for group in order[:-1]:
            if self._meets(quality):
                break
            kept.append(group)
            note(0.8 + 0.15 * len(kept) / len(groups), f"{len(kept)} groups in float")
            quality = self._quality(kept)
        if not self._meets(quality):
            self._require_possible(kept)
        record = self._record(kept)
        self._quantizer.twin(out, kept, record)
        return PrecisionResult(tuple(sensitivities), everything, tuple(kept), quality, record)

    def pictures_of(self, path: Path) -> list[Rgb]:
        """(H, W, 3) uint8 R'G'B' of the held-out frames, colored by the network at `path`."""
        network = open_network(path, self._network_options)
        try:
            return self._pictures(network)[: len(self._frames.held_out)]
        finally:
            network.close()

    def quality_of(self, path: Path) -> Quality:
        """The quality of a twin in a file, on the frames held out and the pairs."""
        network = open_network(path, self._network_options)
        try:
            pictures = self._pictures(network)
        finally:
            network.close()
        return self._judged_by(pictures)

    def frames_seen(self) -> list[Luma]:
        """(h, w) uint8: the measured frames at the size at which the network sees them."""
        return [self._reduced(luma) for luma in self._frames.measured]

    def close(self) -> None:
        """Let go of networks and temporary files; may be called twice."""
        self._quantizer.close()
        self._float.close()
        self._folder.cleanup()

    @property
    def _long_side_px(self) -> int:
        return self.options.work_size_px or catalog.WORK_SIZE_PX[self.options.size]

    def _record(self, kept: list[str]) -> NetworkRecord:
        options = self.options
        return NetworkRecord(
            engine=options.engine,
            size=options.size,
            precision=options.precision,
            source_sha256=digest_of(options.path),
            kept=tuple(kept),
            frames=len(self._frames.measured),
            work_size_px=self._long_side_px,
            base_sha256=self._base_sha256,
        )

    def _require_possible(self, most: list[str]) -> None:
        quality = self._quality(most)
        if not self._meets(quality):
            raise CalibrationError(
                f"even with {len(most)} of {len(most) + 1} groups of layers in float,"
                f" {self.options.precision} loses {quality.loss_db:.3f} dB and differs by"
                f" {quality.difference:.2f} CIEDE2000: asked were at most {self.options.max_loss_db:g} dB"
                f" and {self.options.max_difference:g}"
            )

    def _meets(self, quality: Quality) -> bool:
        return (
            quality.loss_db <= self.options.max_loss_db and quality.difference <= self.options.max_difference
        )

    def _reduced(self, luma: Luma) -> Luma:
        height, width = work_size((luma.shape[0], luma.shape[1]), self._long_side_px)
        if (height, width) == luma.shape:
            return luma
        return np.asarray(cv2.resize(luma, (width, height), interpolation=cv2.INTER_AREA), np.uint8)

    def _seen(self, luma: Luma) -> NDArray[np.float32]:
        return padded(self._reduced(luma))

    def _pictures(self, network: Network) -> list[Rgb]:
        options = NeuralOptions(self.options.engine, self.options.size, self._long_side_px, steady=False)
        colorizer = NeuralColorizer(options, network)
        made = []
        for luma in self._judged:
            colorizer.reset()
            colorizer.submit(luma, 0)
            made.append(colorizer.collect().rgb)
        colorizer.close()
        return made

    def _quality(self, kept: list[str]) -> Quality:
        path = self._quantizer.twin(Path(self._folder.name) / "twin.onnx", kept, self._record(kept))
        return self.quality_of(path)

    def _judged_by(self, pictures: list[Rgb]) -> Quality:
        own = len(self._frames.held_out)
        distances = [_psnr(a, b) for a, b in zip(pictures[:own], self.float_pictures[:own], strict=True)]
        differences = [
            ciede2000(a, b) for a, b in zip(pictures[:own], self.float_pictures[:own], strict=True)
        ]
        to_float_db = float(np.mean(distances))
        before = after = None
        loss_db = equivalent_loss_db(to_float_db, TRUTH_DB[self.options.engine])
        if self._pairs:
            truths = [truth for _, truth in self._pairs]
            before, after = (
                float(np.mean([_psnr(a, b) for a, b in zip(made[own:], truths, strict=True)]))
                for made in (self.float_pictures, pictures)
            )
            loss_db = before - after
        return Quality(
            to_float_db, min(distances), float(np.mean(differences)), max(differences), loss_db, before, after
        )

    def _sensitivity(self, group: str) -> Sensitivity:
        others = [name for name in self._quantizer.groups if name != group]
        path = self._quantizer.twin(Path(self._folder.name) / "group.onnx", others, self._record(others))
        network = open_network(path, self._network_options)
        frames = self._frames.held_out[:: max(1, len(self._frames.held_out) // SENSITIVITY_FRAMES)]
        distances, differences = [], []
        try:
            for luma in frames[:SENSITIVITY_FRAMES]:
                seen = self._seen(luma)
                a, b = _rgb(network.infer(seen)[0]), _rgb(self._float.infer(seen)[0])
                distances.append(_psnr(a, b))
                differences.append(ciede2000(a, b))
        finally:
            network.close()
        return Sensitivity(group, float(np.mean(distances)), float(np.mean(differences)))


def _psnr(a: Rgb, b: Rgb) -> float:
    return min(psnr(a, b), _EQUAL_DB)


def _rgb(ycc: NDArray[np.float32]) -> Rgb:
    """(H, W, 3) uint8 R'G'B' of the first picture of (N, 3, H, W) Y'CbCr."""
    return ycc_to_rgb(np.ascontiguousarray(ycc[0].transpose(1, 2, 0)))
