from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from irchroma.engines import catalog
from irchroma.engines.errors import EngineOptionError, EngineUnavailable
from irchroma.engines.network.network import NetworkOptions, open_network
from irchroma.engines.network.trust import (
    DOUBT,
    HARDER,
    MOST_BELOW,
    SURE_LOGIT,
    Familiar,
    Trust,
    WatchedNetwork,
    untrusted,
    with_trust,
)
from irchroma.engines.network.weight_storage import load, save, to_half, widen_weights

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

WEIGHTS = catalog.weights_path("thermal", "fast")


def picture(seed: int) -> NDArray[np.float32]:
    """(1, 1, 64, 96): slopes and noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:64, :96] / 64
    made = 0.5 + 0.3 * np.sin(3 * x + seed) * np.cos(4 * y) + rng.normal(0, 0.02, (64, 96))
    return np.clip(made, 0, 1).astype(np.float32)[None, None]


@pytest.fixture(scope="module")
def network() -> WatchedNetwork:
    return WatchedNetwork(WEIGHTS)


def trust_of(network: WatchedNetwork, known: float) -> Trust:
    said = [network.infer(picture(seed)) for seed in range(6)]
    familiar = Familiar.of(np.stack([one.mean for one in said]))
    weight = np.random.default_rng(0).normal(0, 0.05, len(said[0].features))
    return Trust(weight, -1.0, familiar, known)


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino", "torch"])
def test_every_runtime_says_the_confidence_that_was_written(
    network: WatchedNetwork, tmp_path: Path, runtime: str
) -> None:
    pytest.importorskip(runtime)
    trust = trust_of(network, 0.2)
    path = tmp_path / "trusted.onnx"
    save(with_trust(load(WEIGHTS), trust), path)
    opened = open_network(path, NetworkOptions(runtime, 1, None, exact=True, device="cpu"))
    strange = np.random.default_rng(3).random((1, 1, 64, 96)).astype(np.float32)
    shown = []
    for luma in (picture(2), strange):
        said = network.infer(luma)
        ycc, confidence = opened.infer(luma)
        distance2 = trust.familiar.distance2(said.mean[None])[0]  # type: ignore[union-attr]
        features = said.features.reshape(len(said.features), -1).T.astype(np.float64)
        expected = trust.confidence(features, distance2).reshape(said.features.shape[1:])
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


def test_distance_tells_strangers_from_the_familiar() -> None:
    rng = np.random.default_rng(5)
    mixing = rng.normal(0, 1, (20, 20))
    own = rng.normal(0, 1, (400, 20)) @ mixing
    familiar = Familiar.of(own)
    assert 0.5 < float(familiar.distance2(own).mean()) < 1.1
    assert float(familiar.distance2(own.mean(axis=0)[None] + 6 * own.std(axis=0)).min()) > 4


def test_doubt_begins_at_what_is_known_grows_and_ends() -> None:
    trust = Trust(np.zeros(3), 0.0, Familiar(np.zeros(2), np.eye(2)), known=1.0)
    features = np.zeros((1, 3))
    assert trust.confidence(features, 0.9)[0] == pytest.approx(0.5)
    doubt = HARDER * SURE_LOGIT
    assert trust.confidence(features, 1.1)[0] == pytest.approx(1 / (1 + np.exp(DOUBT * 0.1 * doubt)))
    assert trust.confidence(features, 50.0)[0] == pytest.approx(1 / (1 + np.exp(doubt)))


def test_in_a_strange_picture_places_keep_their_order_and_what_is_sure_its_confidence() -> None:
    trust = Trust(np.ones(1), 0.0, Familiar(np.zeros(2), np.eye(2)), known=1.0)
    sure = np.array([[SURE_LOGIT + 0.5], [0.5], [0.0], [-0.5], [SURE_LOGIT - MOST_BELOW - 1.0]])
    here, strange = trust.confidence(sure, 0.0), trust.confidence(sure, 50.0)
    assert strange[0] == pytest.approx(here[0])
    assert (np.diff(strange) < 0).all()
    assert (strange[2:] < 0.15).all()


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
