"""The 8-bit twins that ship: small, the colors of their float networks, hardly more flicker than those."""

from __future__ import annotations

import hashlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("openvino")

from irchroma.engines import catalog
from irchroma.engines.network.eight_bit.twins import twin_path
from irchroma.engines.network.network import NetworkOptions, open_network
from irchroma.engines.network.record import read_answer, read_record

BANDS = catalog.BANDS
EXACT = NetworkOptions("openvino", 1, cache=None, exact=True)  # float32 and 8 bits, also where there is bf16


def scene(seed: int, gain: float) -> NDArray[np.float32]:
    """(1, 1, 192, 256) in [0, 1]: ground under a sky, blobs of all sizes, `gain` as bright."""
    random = np.random.default_rng(seed)
    luma = np.linspace(0.75, 0.3, 192)[:, None] * np.ones((1, 256))
    for sigma, size in ((20, 3.0), (6, 1.0), (2, 0.4)):
        luma += cv2.GaussianBlur(random.normal(0, size, (192, 256)), (0, 0), sigma)
    return np.asarray(np.clip(gain * luma, 0, 1), np.float32)[None, None]


def answers(path: Path, lumas: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    """(N, 3, 192, 256), in 8-bit levels."""
    network = open_network(path, EXACT)
    found = [network.infer(luma)[0][0] * np.float32(255) for luma in lumas]
    network.close()
    return np.stack(found)


@pytest.mark.parametrize("band", BANDS)
def test_a_twin_is_small_and_of_the_weights_that_ship(band: str) -> None:
    path, source = twin_path(band, "fast"), catalog.weights_path(band, "fast")
    assert path.stat().st_size <= 1.5e6
    record = read_record(path)
    assert record is not None
    assert (record.engine, record.size, record.precision) == (band, "fast", "int8")
    assert record.source_sha256 == hashlib.sha256(source.read_bytes()).hexdigest()
    assert read_answer(path) is not None
    assert f"`{path.stem}`" in (catalog.WEIGHTS / "MODELS.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("band", BANDS)
def test_a_twin_colors_as_its_float_network_does(band: str) -> None:
    lumas = [scene(seed, gain) for seed, gain in ((1, 1.0), (2, 0.7), (3, 0.35))]
    plain, eight = (
        answers(path, lumas) for path in (catalog.weights_path(band, "fast"), twin_path(band, "fast"))
    )
    for one, other in zip(plain, eight, strict=True):
        assert cv2.PSNR(one, other, 255.0) > 36


@pytest.mark.parametrize("gain", [0.25, 0.5])
@pytest.mark.parametrize("band", BANDS)
def test_noise_moves_a_twin_hardly_more_than_its_float_network(band: str, gain: float) -> None:
    """Before the temporal stage. Twins whose sums are rounded too: 1.41 and 1.54 times as much in `nir`."""
    random = np.random.default_rng(7)
    still = scene(4, gain)
    lumas = [
        np.clip(still + random.normal(0, 1 / 255, still.shape), 0, 1).astype(np.float32) for _ in range(8)
    ]
    plain, eight = (
        np.abs(np.diff(answers(path, lumas)[:, 1:], axis=0)).mean()
        for path in (catalog.weights_path(band, "fast"), twin_path(band, "fast"))
    )
    assert plain > 0.01
    assert eight < 1.2 * plain
