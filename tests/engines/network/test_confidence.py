from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from irchroma.engines import catalog
from irchroma.engines.errors import EngineOptionError, EngineUnavailable
from irchroma.engines.network.confidence import (
    GUESS_LOGIT,
    MOST_STRANGE,
    Strangeness,
    Trust,
    WatchedNetwork,
    untrusted,
    with_trust,
    with_trust_of,
)
from irchroma.engines.network.network import NetworkOptions, open_network
from irchroma.engines.network.weight_storage import load, save, to_half, widen_weights
from irchroma.engines.recolor.recoloring import SURE, UNSURE
from irchroma.stream.synthetic.camera import SyntheticCamera
from irchroma.stream.synthetic.options import SyntheticOptions

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

WEIGHTS = catalog.weights_path("thermal", "fast")


def picture(seed: int) -> NDArray[np.float32]:
    """(1, 1, 64, 96): slopes and noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:64, :96] / 64
    made = 0.5 + 0.3 * np.sin(3 * x + seed) * np.cos(4 * y) + rng.normal(0, 0.02, (64, 96))
    return np.clip(made, 0, 1).astype(np.float32)[None, None]


NOISE = np.random.default_rng(3).random((1, 1, 64, 96)).astype(np.float32)


@pytest.fixture(scope="module")
def network() -> WatchedNetwork:
    return WatchedNetwork(WEIGHTS)


def trust_of(network: WatchedNetwork, least: float, spread: bool = True) -> Trust:
    """The pictures above are known, noise is not: where it lies on the way between them, 1 is full doubt."""
    known = np.stack([network.infer(picture(seed)).scene for seed in range(6)]).mean(axis=0)
    away = network.infer(NOISE).scene - known
    if not spread:
        away[len(away) // 2 :] = 0.0
    direction = away / (away @ away)
    weight = np.random.default_rng(0).normal(0, 0.05, network_width(network))
    noise = Strangeness(direction, -float(direction @ known) - least)
    nothing = Strangeness(direction, -1e3)  # a kind that neither is of
    return Trust(weight, -1.0, (noise, nothing))


def network_width(network: WatchedNetwork) -> int:
    return len(network.infer(picture(0)).features)


@pytest.mark.parametrize("spread", [True, False])
@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino", "torch"])
def test_every_runtime_says_the_confidence_that_was_written(
    network: WatchedNetwork, tmp_path: Path, runtime: str, spread: bool
) -> None:
    pytest.importorskip(runtime)
    trust = trust_of(network, 0.2, spread)
    path = tmp_path / "trusted.onnx"
    save(with_trust(load(WEIGHTS), trust), path)
    opened = open_network(path, NetworkOptions(runtime, 1, None, exact=True, device="cpu"))
    shown = []
    for luma in (picture(2), NOISE):
        said = network.infer(luma)
        ycc, confidence = opened.infer(luma)
        strange = trust.strange(said.scene[None])[0]
        features = said.features.reshape(len(said.features), -1).T.astype(np.float64)
        expected = trust.confidence(features, strange).reshape(said.features.shape[1:])
        expected = cv2.resize(expected, luma.shape[:1:-1], interpolation=cv2.INTER_LINEAR)
        assert np.abs(confidence[0, 0] - expected).max() < 0.01
        assert np.abs(ycc[0] - said.ycc).max() < 1e-3  # the color is what it was
        shown.append(float(confidence.mean() - trust.confidence(features).mean()))
    opened.close()
    assert shown[1] < -0.01
    assert abs(shown[0]) < 0.01


def test_the_float16_twin_says_the_same(network: WatchedNetwork) -> None:
    runtime = pytest.importorskip("onnxruntime")
    trust = trust_of(network, 0.2)
    twin = to_half(widen_weights(with_trust(load(WEIGHTS), trust)))
    session = runtime.InferenceSession(twin.SerializeToString(), providers=["CPUExecutionProvider"])
    whole = runtime.InferenceSession(
        with_trust(load(WEIGHTS), trust).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    luma = picture(4)
    (half,) = session.run(["confidence"], {"luma": luma.astype(np.float16)})
    (full,) = whole.run(["confidence"], {"luma": luma})
    assert np.abs(half.astype(np.float32) - full).max() < 0.02


def test_calibrating_twice_leaves_one_calibration_and_taking_it_out_the_network_as_it_was(
    network: WatchedNetwork,
) -> None:
    first, second = trust_of(network, 0.2), trust_of(network, 0.9)
    twice = with_trust(with_trust(load(WEIGHTS), first), second)
    assert [n.name for n in twice.graph.node] == [
        n.name for n in with_trust(load(WEIGHTS), second).graph.node
    ]
    plain = untrusted(load(WEIGHTS))
    assert untrusted(twice).SerializeToString() == plain.SerializeToString()


def test_a_network_takes_over_the_confidence_of_the_one_it_began_as(
    network: WatchedNetwork, tmp_path: Path
) -> None:
    calibrated = with_trust(load(WEIGHTS), trust_of(network, 0.5))
    bare = untrusted(calibrated)
    given = with_trust_of(bare, widen_weights(calibrated))
    said = []
    for name, model in (("bare", bare), ("calibrated", calibrated), ("given", given)):
        save(model, tmp_path / f"{name}.onnx")
        opened = open_network(tmp_path / f"{name}.onnx", NetworkOptions("onnxruntime", 1))
        said.append(np.array(opened.infer(NOISE)[1]))
        opened.close()
    assert np.abs(said[0] - said[1]).max() > 0.05
    assert said[2] == pytest.approx(said[1], abs=1e-6)
    assert untrusted(given) == bare
    assert with_trust_of(given, widen_weights(bare)) == bare


def test_doubt_begins_at_what_is_known_grows_and_ends() -> None:
    strangeness = Strangeness(np.array([1.0, 0.0]), -1.0)
    assert strangeness.of(np.array([[0.9, 5], [1.2, 5], [9, 5]])).tolist() == pytest.approx(
        [0.0, 0.2, MOST_STRANGE]
    )
    rooms = Strangeness(np.array([0.0, 1.0]), -6.0)
    trust = Trust(np.array([1.0]), 0.0, (strangeness, rooms))
    assert trust.strange(np.array([[0.9, 5], [1.2, 5], [0.9, 6.5], [1.2, 9]])).tolist() == pytest.approx(
        [0.0, 0.2, 0.5, MOST_STRANGE]
    )
    assert Trust(np.array([1.0]), 0.0).strange(np.zeros((3, 2))).tolist() == [0.0] * 3
    features = np.array([[-1.0], [0.5], [3.0]])
    known, half, strange = (trust.confidence(features, share) for share in (0.0, 0.5, MOST_STRANGE))
    assert known == pytest.approx(1 / (1 + np.exp(-features[:, 0])))
    assert (strange < half).all()
    assert (half < known).all()
    assert (np.diff(strange) > 0).all()  # places keep the order of their errors
    shown = np.clip((strange - UNSURE) / (SURE - UNSURE), 0, 1)
    assert shown[0] < 0.1
    assert shown[1] < 0.35
    assert float(strange[0]) == pytest.approx(1 / (1 + np.exp(1 - MOST_STRANGE * (GUESS_LOGIT + 1))))


def test_noise_is_strange_to_nir_best_and_a_scene_is_not() -> None:
    random = np.random.default_rng(1000)
    noise = []
    for blob_px in (1.0, 2.0, 4.0, 8.0):
        field = cv2.GaussianBlur(random.normal(size=(256, 320)).astype(np.float32), (0, 0), blob_px)
        noise.append(np.clip(0.5 + 0.15 * (field - field.mean()) / field.std(), 0, 1).astype(np.float32))
    scenes = []
    for seed in range(4):  # in training they begin at 100
        camera = SyntheticCamera(SyntheticOptions(band="nir", size=(256, 320), seed=seed, light="day"))
        scenes.append(camera.frame(30).pixels.astype(np.float32) / 255)
    path = catalog.weights_path("nir", "best")
    opened = open_network(path, NetworkOptions("openvino", 1, None, device="cpu"))

    def shown(luma: NDArray[np.float32]) -> float:
        return float(np.clip((opened.infer(luma[None, None])[1] - UNSURE) / (SURE - UNSURE), 0, 1).mean())

    of_noise, of_scenes = [shown(luma) for luma in noise], [shown(luma) for luma in scenes]
    opened.close()
    assert np.mean(of_noise) < 0.5
    assert np.mean(of_scenes) > 0.9


def test_a_file_that_is_no_network_is_refused_in_one_line(tmp_path: Path) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"not a network")
    with pytest.raises(EngineUnavailable, match="not an ONNX file"):
        WatchedNetwork(broken)
    onnx = pytest.importorskip("onnx")
    made = onnx.helper.make_model(
        onnx.helper.make_graph(
            [onnx.helper.make_node("Relu", ["luma"], ["ycc"])],
            "other",
            [onnx.helper.make_tensor_value_info("luma", 1, [1])],
            [onnx.helper.make_tensor_value_info("ycc", 1, [1])],
        )
    )
    other = tmp_path / "other.onnx"
    onnx.save(made, str(other))
    with pytest.raises(EngineOptionError, match="not those of irchroma"):
        WatchedNetwork(other)
