"""The engines by name: what `--engine` may say, and where each one's weights lie."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from irchroma.engines.errors import EngineOptionError
from irchroma.engines.recolor.base_tone import ToneOptions
from irchroma.engines.recolor.recoloring import BandLook

WEIGHTS = Path(__file__).parent / "weights"
SIZES = ("fast", "best")
WORK_SIZE_PX = {"fast": 320, "best": 416}
"""Long side of the picture that a network of that size sees."""


@dataclass(frozen=True, slots=True)
class Band:
    """What one pair of networks was trained for.

    Attributes:
        name: as in `--engine`.
        summary: one line for lists.
        look: how its pictures are put together.
    """

    name: str
    summary: str
    look: BandLook


BANDS = {
    band.name: band
    for band in (
        Band("nir", "near-infrared, 700 to 1000 nm, lit by the sun or by the camera", BandLook()),
        Band(
            "thermal",
            "long-wave infrared, 8 to 14 um: the scene as by day",
            BandLook(
                ToneOptions(darken=0.8, detail_floor=1.0, edge_floor=0.75), unlit=None
            ),  # a little of what is hot stays bright
        ),
    )
}


@dataclass(frozen=True, slots=True)
class EngineName:
    """An engine as its user wrote it, taken apart.

    Attributes:
        kind: `nir`, `thermal`, `palette` or `gray`.
        variant: a network's size or a palette's name, None where it was not said.
    """

    kind: str
    variant: str | None = None

    @property
    def neural(self) -> bool:
        """True for engines that are a network."""
        return self.kind in BANDS


def parse(text: str) -> EngineName:
    """`nir`, `nir:best`, `thermal:fast`, `palette:ironbow`, `gray` taken apart.

    Raises:
        EngineOptionError: there is no such engine or size; the line names those that there are.
    """
    kind, _, variant = text.partition(":")
    if kind in BANDS:
        if variant and variant not in SIZES:
            raise EngineOptionError(f"engine {kind} has no size {variant!r}: use {' or '.join(SIZES)}")
    elif kind == "gray":
        if variant:
            raise EngineOptionError(f"engine gray takes no variant, got {variant!r}")
    elif kind != "palette":
        raise EngineOptionError(f"unknown engine {text!r}: use {', '.join(BANDS)}, palette:NAME or gray")
    return EngineName(kind, variant or None)


def weights_path(kind: str, size: str) -> Path:
    """The ONNX file (float32) of one network; it may be absent."""
    return WEIGHTS / f"{kind}_{size}.onnx"
