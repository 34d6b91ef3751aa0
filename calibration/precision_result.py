"""What is asked of an 8-bit network, and what is said of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from irchroma.calibration.errors import CalibrationError
from irchroma.engines import catalog
from irchroma.engines.network.record import NetworkRecord

TRUTH_DB = {"nir": 17.3, "thermal": 12.0}
"""PSNR of the float networks against the truth (engines/weights/nir.md, thermal.md: `fast` and `best`)."""


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
