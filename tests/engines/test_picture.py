"""What is no picture is refused by every colorizer in one clear line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from irchroma.engines.errors import EngineOptionError
from irchroma.engines.neural.colorizer import NeuralColorizer, NeuralOptions
from irchroma.engines.palette.colorizer import PaletteColorizer, PaletteOptions
from irchroma.engines.palette.gray import GrayColorizer

LUMA = np.zeros((32, 64), np.uint8)


class _Gray:
    """A network that leaves everything gray."""

    name = "gray"

    def infer(self, luma: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.concatenate([luma, 0 * luma, 0 * luma], axis=1), np.ones_like(luma)

    def close(self) -> None:
        pass


MAKERS: dict[str, Callable[[], Any]] = {
    "neural": lambda: NeuralColorizer(NeuralOptions(weights=Path("none")), network=_Gray()),
    "palette": lambda: PaletteColorizer(PaletteOptions()),
    "gray": GrayColorizer,
}


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize(
    ("luma", "counts", "found"),
    [
        ("night.png", None, "got str"),
        (None, None, "got NoneType"),
        ([[1, 2], [3, 4]], None, "got list"),
        (LUMA.astype(np.float32), None, r"got \(32, 64\) float32"),
        (np.zeros((32, 64, 3), np.uint8), None, r"got \(32, 64, 3\) uint8"),
        (LUMA[:0], None, r"got \(0, 64\) uint8"),
        (LUMA, np.zeros((3, 3), np.uint16), r"uint16 counts, as the luma is, got \(3, 3\) uint16"),
        (LUMA, LUMA, r"uint16 counts, as the luma is, got \(32, 64\) uint8"),
        (LUMA, "counts.npy", "uint16 counts, as the luma is, got str"),
    ],
)
def test_what_is_no_picture_is_refused(kind: str, luma: Any, counts: Any, found: str) -> None:
    colorizer = MAKERS[kind]()
    with pytest.raises(EngineOptionError, match=found):
        colorizer.submit(luma, 0, counts=counts)
    colorizer.submit(LUMA[:, ::-1], 0, counts=LUMA.astype(">u2"))  # nothing is left of it
    assert colorizer.collect().rgb.shape == (32, 64, 3)
    colorizer.close()
