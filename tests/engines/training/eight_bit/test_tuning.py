"""Tuning in 8 bits: what is tuned is the graph that runs, and it comes nearer to its float network."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch", reason="tuning needs torch")
onnx = pytest.importorskip("onnx", reason="quantizing needs onnx")
runtime = pytest.importorskip("onnxruntime", reason="quantizing needs onnxruntime")
pytest.importorskip("onnxruntime.quantization", reason="quantizing needs onnxruntime")

from irchroma.engines import catalog  # noqa: E402
from irchroma.engines.errors import EngineOptionError  # noqa: E402
from irchroma.engines.network.eight_bit.quantization import WEIGHT_LEVELS, Quantizer  # noqa: E402
from irchroma.engines.network.record import NetworkRecord, read_answer, read_record  # noqa: E402
from irchroma.engines.network.weight_storage import load, widen_weights  # noqa: E402
from irchroma.engines.recolor.work_picture import padded  # noqa: E402
from irchroma.engines.training.eight_bit import tuning  # noqa: E402
from irchroma.engines.training.eight_bit.tuning import TunedGraph, TuningOptions, tune  # noqa: E402

FLOAT = catalog.weights_path("nir", "fast")
RECORD = NetworkRecord("nir", "fast", "int8", hashlib.sha256(FLOAT.read_bytes()).hexdigest())
SHORT = TuningOptions(steps=10, batch=1, sides=(64,), rate=0.01)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Several wait for each other on a busy machine, at every one of some thousand small operations."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def frame(seed: int) -> NDArray[np.uint8]:
    """(64, 96): blurred noise over a horizon."""
    random = np.random.default_rng(seed)
    noise = cv2.GaussianBlur(random.normal(0, 60, (64, 96)), (0, 0), 3) * 3
    return np.asarray(np.clip(np.linspace(170, 70, 64)[:, None] + noise, 0, 255), np.uint8)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A twin that is not tuned; its ranges are of a few frames."""
    quantizer = Quantizer(FLOAT, "int8", for_processor=True)
    for seed in range(4):
        quantizer.collect(padded(frame(seed)))
    path = quantizer.twin(tmp_path_factory.mktemp("twin") / "twin.onnx", [], RECORD)
    quantizer.close()
    return path


@pytest.fixture
def twin(made: Path, tmp_path: Path) -> Path:
    path = tmp_path / "twin.onnx"
    path.write_bytes(made.read_bytes())
    return path


def answer(path: Path, seed: int) -> NDArray[np.float32]:
    """Every Q and DQ carried out in float."""
    settings = runtime.SessionOptions()
    settings.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = runtime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(["ycc"], {"luma": padded(frame(seed))})[0])


def apart(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    return float(np.sqrt(np.mean((a - b) ** 2)))


def test_the_graph_in_training_is_the_graph_that_runs(twin: Path) -> None:
    model = load(twin)
    graph = TunedGraph(model, widen_weights(load(FLOAT)))
    with torch.no_grad():
        (found,) = graph(torch.from_numpy(padded(frame(9))), ["ycc"])
    # a sum that ends on the other side of a half is one level off, and what follows with it
    assert apart(found.numpy(), answer(twin, 9)) < 1e-3
    stored = model.SerializeToString()
    graph.write(model)
    for before, after in zip(
        onnx.load_from_string(stored).graph.initializer, model.graph.initializer, strict=True
    ):
        one, other = (onnx.numpy_helper.to_array(tensor) for tensor in (before, after))
        np.testing.assert_allclose(one, other, rtol=1e-5, err_msg=before.name)


def test_tuning_brings_a_twin_nearer_to_its_float_network(twin: Path) -> None:
    seeds = range(20, 24)
    wanted = {seed: answer(FLOAT, seed) for seed in seeds}
    before = np.mean([apart(answer(twin, seed), wanted[seed]) for seed in seeds])
    old_answer = read_answer(twin)
    losses = tune(FLOAT, twin, [frame(seed) for seed in range(8)], SHORT)
    after = np.mean([apart(answer(twin, seed), wanted[seed]) for seed in seeds])
    assert len(losses) == SHORT.steps
    assert after < 0.8 * before
    assert read_record(twin) == RECORD
    assert read_answer(twin) != old_answer
    weights = [onnx.numpy_helper.to_array(one) for one in onnx.load(str(twin)).graph.initializer]
    levels = [one for one in weights if one.dtype == np.int8 and one.ndim == 4]
    assert len(levels) > 20
    assert max(int(np.abs(one.astype(np.int32)).max()) for one in levels) <= WEIGHT_LEVELS


def test_tuning_teaches_a_twin_to_stand_still_under_noise(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unrest(path: Path) -> float:
        """Change of color from a frame to its echo, root mean square of eight frames, four echoes each."""
        settings = runtime.SessionOptions()
        settings.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = runtime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
        changes = []
        for seed in range(8):
            luma = padded(frame(seed))
            (still,) = session.run(["ycc"], {"luma": luma})
            for number in range(4):
                echo = tuning._disturbed(luma, np.random.default_rng((seed, number)))
                changes.append(session.run(["ycc"], {"luma": echo})[0][:, 1:] - still[:, 1:])
        return float(np.sqrt(np.mean(np.square(changes))))

    long = replace(SHORT, steps=100)  # after ten it depends on the processor
    found = {}
    for share in (0.0, 200 * tuning.ECHO_SHARE):
        path = tmp_path / f"{share:g}.onnx"
        path.write_bytes(made.read_bytes())
        monkeypatch.setattr(tuning, "ECHO_SHARE", share)
        tune(FLOAT, path, [frame(seed) for seed in range(8)], long)
        found[share] = unrest(path)
    without, with_echoes = found.values()
    assert with_echoes < 0.93 * without


def test_scales_are_fitted_to_what_is_rounded(made: Path) -> None:
    model = load(made)
    for tensor in model.graph.initializer:  # ranges of three times what comes
        if tensor.name.endswith("body8.0/Relu_output_0_scale"):
            wide = 3 * onnx.numpy_helper.to_array(tensor)
            tensor.CopyFrom(onnx.numpy_helper.from_array(wide.astype(np.float32), tensor.name))
            name = tensor.name
    graph = TunedGraph(model, widen_weights(load(FLOAT)))
    crops = torch.from_numpy(np.concatenate([padded(frame(seed)) for seed in range(3)]))
    with torch.no_grad():
        before = float(graph.value(name).exp())
        graph.fit(crops)
        after = float(graph.value(name).exp())
    assert after < 0.7 * before
    graph.write(model)
    kept = {one.name: onnx.numpy_helper.to_array(one) for one in model.graph.initializer}
    assert float(kept[name]) == pytest.approx(after, rel=1e-5)


def test_frames_that_are_too_small_and_lengths_that_are_none_are_refused(twin: Path) -> None:
    stored = twin.read_bytes()
    with pytest.raises(EngineOptionError, match="no frame of 160 pixels a side"):
        tune(FLOAT, twin, [frame(0)], TuningOptions(steps=1, sides=(160,)))
    assert twin.read_bytes() == stored
    for wrong in ({"steps": 0}, {"batch": 0}, {"sides": (100,)}):
        with pytest.raises(EngineOptionError, match="of multiples of 32 pixels"):
            TuningOptions(**wrong)
