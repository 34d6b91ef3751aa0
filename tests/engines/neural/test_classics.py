"""The colorizers of the literature run as every engine does: on each runtime, on video, for either band."""

import numpy as np
import pytest

from irchroma.engines import catalog
from irchroma.engines.choice import ColorizerOptions, open_colorizer
from irchroma.engines.network.network import RUNTIMES, NetworkOptions, open_network
from irchroma.engines.neural.options import NeuralOptions

EACH = [(name, band) for name in catalog.CLASSICS for band in catalog.CLASSICS[name].sizes]
ON_CPU = ("openvino", "onnxruntime", "torch")


def test_the_runtimes_are_those_that_there_are() -> None:
    assert set(ON_CPU) <= set(RUNTIMES)


@pytest.mark.parametrize("runtime", ON_CPU)
@pytest.mark.parametrize(("name", "band"), EACH)
def test_every_runtime_gives_the_same_color(name: str, band: str, runtime: str) -> None:
    pytest.importorskip(RUNTIMES[runtime].library)
    random = np.random.default_rng(2)
    luma = np.clip(np.linspace(0.1, 0.9, 96) + random.normal(0, 0.05, (1, 1, 64, 96)), 0, 1).astype(
        np.float32
    )
    answers = []
    for one in ("onnxruntime", runtime):
        network = open_network(
            catalog.weights_path(name, band), NetworkOptions(runtime=one, exact=True, threads=1)
        )
        answers.append([np.array(part, np.float32) for part in network.infer(luma)])
        network.close()
    for first, second in zip(*answers, strict=True):
        assert np.abs(first - second).max() < 2e-3
    assert np.abs(answers[1][0][:, :1] - luma).max() < 1e-5  # all of them keep the sensor's luma


@pytest.mark.parametrize(("name", "band"), EACH)
def test_video_is_colored_at_its_own_size_and_stays_still(name: str, band: str) -> None:
    options = ColorizerOptions(NeuralOptions(network=NetworkOptions(threads=1)))
    colorizer = open_colorizer(f"{name}:{band}", options)
    luma = np.full((150, 202), 40, np.uint8)
    luma[70:] = np.random.default_rng(0).integers(90, 170, (80, 202))
    made = []
    try:
        for number in range(6):
            colorizer.submit(luma, number * 40_000_000)
            made.append(np.array(colorizer.collect().rgb, np.int16))
    finally:
        colorizer.close()
    assert made[-1].shape == (150, 202, 3)
    assert np.ptp(made[-1], axis=2).max() > 4  # it is in color
    assert np.abs(made[-1] - made[-2]).max() <= 2
