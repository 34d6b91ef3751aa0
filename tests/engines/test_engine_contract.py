"""What every engine does, by whatever it colors: see `irchroma.stream.protocols.Colorizer`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from irchroma.engines.choice import ColorizerOptions, open_colorizer
from irchroma.engines.network.network import NetworkOptions, installed
from irchroma.engines.neural.colorizer import NeuralOptions
from irchroma.stream.picture.picture import Picture

NETWORK = NetworkOptions("openvino", threads=1, cache=None)
ENGINES: dict[str, Callable[[Path], Any]] = {
    "gray": lambda weights: open_colorizer("gray"),
    "palette": lambda weights: open_colorizer("palette:ironbow"),
    "nir": lambda weights: open_colorizer(
        "nir", ColorizerOptions(NeuralOptions(weights=weights, work_size_px=96, network=NETWORK))
    ),
}


@pytest.mark.parametrize("name", ENGINES)
def test_frames_of_any_size_come_back_in_order_in_color_and_the_input_stays(
    name: str, tiny_network: Path
) -> None:
    if name == "nir" and not installed("openvino"):
        pytest.skip("openvino is not installed")
    engine = ENGINES[name](tiny_network)
    assert engine.depth >= 1
    assert engine.name
    assert isinstance(engine.synthetic, bool)
    rng = np.random.default_rng(2)
    for number, size in enumerate([(64, 96), (64, 96), (63, 97), (64, 96)]):
        luma = cv2.resize(rng.integers(0, 256, (6, 8), dtype=np.uint8), size[::-1])  # chroma may be half size
        before = luma.copy()
        luma.setflags(write=False)
        engine.submit(luma, number * 40_000_000, held=number == 1)
        colored = engine.collect()
        assert colored.rgb.shape == (*size, 3)
        assert colored.rgb.dtype == np.uint8
        assert colored.confidence is None or colored.confidence.dtype == np.uint8
        made = Picture.of_colored(colored)  # in whatever form, it is the same picture
        assert np.abs(made.rgb.astype(int) - colored.rgb).mean() < 3
        np.testing.assert_array_equal(luma, before)
    engine.reset()
    engine.submit(np.zeros((64, 96), np.uint8), 0)
    engine.reset()  # drops what is in flight
    engine.submit(np.full((64, 96), 200, np.uint8), 0)
    assert engine.collect().rgb.mean() > 60
    engine.close()
    engine.close()
