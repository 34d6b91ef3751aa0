"""8-bit twins of the shipped networks: close to float, really 8 bits, and they say what they are."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

onnx = pytest.importorskip("onnx", reason="quantizing needs onnx")
pytest.importorskip("onnxruntime.quantization", reason="quantizing needs onnxruntime")

from tests.engines.network.other_answer import give_other_answer  # noqa: E402

from irchroma.engines import catalog  # noqa: E402
from irchroma.engines.errors import EngineOptionError, EngineUnavailable  # noqa: E402
from irchroma.engines.network.confidence import PREFIX  # noqa: E402
from irchroma.engines.network.eight_bit import verification  # noqa: E402
from irchroma.engines.network.eight_bit.quantization import FLOAT_GROUPS, Quantizer  # noqa: E402
from irchroma.engines.network.network import NetworkOptions, installed, open_network  # noqa: E402
from irchroma.engines.network.record import NetworkRecord, read_record, require_match  # noqa: E402
from irchroma.engines.network.weight_storage import float16_twin  # noqa: E402
from irchroma.engines.neural.colorizer import NeuralColorizer, NeuralOptions  # noqa: E402
from irchroma.engines.recolor.work_picture import padded  # noqa: E402

RECORD = NetworkRecord("nir", "fast", "int8", "0" * 64, ("head",), 6, 320)
FLOAT = catalog.weights_path("nir", "fast")
# Peak signal-to-noise ratio to the float network, dB: E4M3 has 3 bits of mantissa.
FLOOR_DB = {"int8": 32.0, "fp8": 24.0}


def luma(seed: int) -> NDArray[np.float32]:
    """(1, 1, 64, 96): blurred noise over a horizon."""
    random = np.random.default_rng(seed)
    noise = cv2.GaussianBlur(random.normal(0, 60, (64, 96)), (0, 0), 3) * 3
    ground = np.linspace(170, 70, 64)[:, None]
    return padded(np.clip(ground + noise, 0, 255).astype(np.uint8))


@pytest.fixture(scope="module", params=["int8", "fp8"])
def quantizer(request: pytest.FixtureRequest) -> Iterator[Quantizer]:
    made = Quantizer(FLOAT, request.param)
    for seed in range(6):
        made.collect(luma(seed))
    yield made
    made.close()
    made.close()


def record_of(quantizer: Quantizer) -> NetworkRecord:
    return replace(RECORD, precision=quantizer.precision)


def to_float_db(path: Path, runtime: str) -> float:
    options = NetworkOptions(runtime, 2, cache=None, exact=True)
    networks = [open_network(one, options) for one in (FLOAT, path)]
    a, b = (network.infer(luma(50))[0].copy() for network in networks)
    for network in networks:
        network.close()
    return float(-10 * np.log10(np.mean((a - b) ** 2)))


@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
def test_a_twin_stays_close_to_the_float_network(quantizer: Quantizer, runtime: str, tmp_path: Path) -> None:
    if not installed(runtime):
        pytest.skip(f"{runtime} is not installed")
    path = quantizer.twin(tmp_path / "twin.onnx", kept=["stem", "head"], record=record_of(quantizer))
    assert FLOOR_DB[quantizer.precision] < to_float_db(path, runtime) < 70


def test_the_convolutions_of_an_int8_twin_run_in_8_bits(quantizer: Quantizer, tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    if quantizer.precision != "int8":
        pytest.skip("fp8 is for GPUs")
    from irchroma.engines.network.openvino_runtime import OpenVinoNetwork

    path = quantizer.twin(tmp_path / "twin.onnx", kept=["head"], record=RECORD)
    network = OpenVinoNetwork(path, NetworkOptions(cache=None))
    kinds = network.convolution_precisions((1, 1, 64, 96))
    network.close()
    assert kinds.get("u8", 0) + kinds.get("i8", 0) >= 40
    grouped = {name for group, names in quantizer.groups.items() if group != "head" for name in names}
    nodes = onnx.load(str(FLOAT)).graph.node
    in_float = [node.name for node in nodes if node.op_type == "Conv" and node.name not in grouped]
    rest = [name for name in in_float if not name.startswith(PREFIX)]
    assert len(rest) <= 2  # the head, the class centers; the confidence's are small
    run_in_float = sum(kinds.values()) - kinds.get("u8", 0) - kinds.get("i8", 0)
    assert run_in_float == len(in_float) + 1  # the head is two here, of classes and of the rest


@pytest.fixture(scope="module")
def processor_twin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The mixture for processors, not tuned."""
    made = Quantizer(FLOAT, "int8", for_processor=True)
    for seed in range(6):
        made.collect(luma(seed))
    path = made.twin(tmp_path_factory.mktemp("processor") / "twin.onnx", [], RECORD)
    made.close()
    return path


def test_a_twin_for_processors_keeps_depthwise_layers_and_those_between_scales_in_float(
    processor_twin: Path,
) -> None:
    graph = onnx.load(str(processor_twin)).graph
    grouped = {n.name: any(a.name == "group" and a.i > 1 for a in n.attribute) for n in graph.node}
    kinds = {n.name: "DequantizeLinear" in n.input[1] for n in graph.node if n.op_type == "Conv"}
    assert sum(kinds.values()) >= 24
    for name, quantized in kinds.items():
        outside = "/decoder/" not in name and "/encoder/" not in name
        kept = any(f"/{part}/" in name for part in FLOAT_GROUPS)
        assert quantized == (not grouped[name] and not kept and not outside), name
    numbers = {one.name: onnx.numpy_helper.to_array(one) for one in graph.initializer}
    points = [numbers[n.input[2]] for n in graph.node if n.op_type == "QuantizeLinear"]
    assert {point.dtype for point in points} == {np.dtype(np.int8), np.dtype(np.uint8)}
    assert not any(point.any() for point in points)
    with pytest.raises(EngineOptionError, match="use int8"):
        Quantizer(FLOAT, "fp8", for_processor=True)


def test_only_what_goes_into_an_8_bit_convolution_is_rounded_in_a_twin_for_processors(
    processor_twin: Path,
) -> None:
    graph = onnx.load(str(processor_twin)).graph
    stored = {one.name for one in graph.initializer}
    rounded = [node for node in graph.node if node.op_type == "QuantizeLinear"]
    in_8_bits = [n for n in graph.node if n.op_type == "Conv" and "DequantizeLinear" in n.input[1]]
    assert 0 < len(rounded) <= len(in_8_bits)
    widened = {
        node.output[0]
        for node in graph.node
        if node.op_type == "DequantizeLinear" and node.input[0] not in stored
    }
    readers = [node for node in graph.node if widened.intersection(node.input)]
    assert {node.name for node in readers} == {node.name for node in in_8_bits}
    made = {name for node in graph.node for name in node.output}
    read = {name for node in graph.node for name in node.input if name}
    assert read <= made | stored | {"luma"}
    assert stored <= read


HELD = """
import sys
from pathlib import Path
import numpy as np, onnxruntime
from irchroma.engines.network.network import NetworkOptions, open_network
settings = onnxruntime.SessionOptions()
settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
lumas = np.load(sys.argv[1])
for path in sys.argv[2:]:
    exact = onnxruntime.InferenceSession(path, settings)
    network = open_network(Path(path), NetworkOptions("openvino", 1, cache=None))
    for luma in lumas:
        error = network.infer(luma)[0] - exact.run(["ycc"], {"luma": luma})[0]
        print(Path(path).stem, network.name, -10 * np.log10(np.mean(error**2)))
"""
"""Distance of OpenVINO's integers to exact ones, in which every Q and DQ is carried out in float."""


@pytest.mark.parametrize("instructions", ["AVX2", ""], ids=["AVX2", "as it is"])
def test_integers_are_exact_whatever_the_instructions(
    instructions: str, processor_twin: Path, tmp_path: Path
) -> None:
    pytest.importorskip("openvino")
    np.save(tmp_path / "lumas.npy", np.stack([luma(seed) for seed in range(60, 63)]))
    paths = [processor_twin, *sorted(catalog.WEIGHTS.glob("*_int8.onnx"))]
    done = subprocess.run(
        [sys.executable, "-c", HELD, str(tmp_path / "lumas.npy"), *map(str, paths)],
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        timeout=100,
        check=False,
        env={**os.environ, "ONEDNN_MAX_CPU_ISA": instructions},
    )
    assert done.returncode == 0, done.stderr
    lines = [line.rsplit(maxsplit=3) for line in done.stdout.splitlines()]
    assert len(lines) == 3 * len(paths)
    for name, _, precision, distance in lines:
        assert instructions != "AVX2" or precision == "f32"
        # one level more or less where a sum is near a half: 47 to 54 dB; 8-bit weights without VNNI: 24
        assert float(distance) > 42, f"{name} in {precision}"


def test_groups_that_are_kept_have_no_quantized_weights(quantizer: Quantizer, tmp_path: Path) -> None:
    nodes = {name for group in ("stem", "head") for name in quantizer.groups[group]}
    path = quantizer.twin(tmp_path / "twin.onnx", kept=["stem", "head"], record=RECORD)
    graph = onnx.load(str(path)).graph
    weights = {node.name: node.input[1] for node in graph.node if node.op_type == "Conv"}
    quantized = {name for name, weight in weights.items() if "DequantizeLinear" in weight}
    assert quantized
    assert not quantized & nodes
    assert "/Conv" not in quantized  # the class centers, after the softmax
    with pytest.raises(EngineOptionError, match="no group of layers tail"):
        quantizer.twin(path, kept=["tail"], record=RECORD)


def test_a_twin_says_what_it_is_and_is_refused_elsewhere(quantizer: Quantizer, tmp_path: Path) -> None:
    path = quantizer.twin(tmp_path / "twin.onnx", kept=[], record=RECORD)
    assert read_record(path) == RECORD
    assert require_match(path, "nir", "fast") == RECORD
    with pytest.raises(EngineOptionError, match=r"a network for nir:fast, asked for is thermal: use"):
        require_match(path, "thermal")
    with pytest.raises(EngineOptionError, match="asked for is nir:best"):
        require_match(path, "nir", "best")
    with pytest.raises(EngineOptionError, match="is calibrated already"):
        Quantizer(path, "int8")
    with pytest.raises(EngineOptionError, match="asked for is thermal"):
        NeuralColorizer(NeuralOptions("thermal", weights=path, network=NetworkOptions(cache=None)))
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(EngineUnavailable, match="damaged"):
        read_record(damaged)


def test_a_calibrated_network_brings_its_own_size(quantizer: Quantizer, tmp_path: Path) -> None:
    if quantizer.precision != "int8":
        pytest.skip("one precision is enough")
    path = quantizer.twin(tmp_path / "twin.onnx", kept=[], record=RECORD)
    options = NeuralOptions("nir", "best", weights=path, network=NetworkOptions(cache=None, threads=2))
    colorizer = NeuralColorizer(options)
    assert colorizer.name.startswith("nir fast int8 of twin.onnx, ")
    colorizer.close()


@pytest.mark.parametrize("path", [FLOAT, catalog.weights_path("thermal", "best")], ids=lambda p: p.stem)
def test_networks_that_ship_have_no_record(path: Path) -> None:
    assert read_record(path) is None


@pytest.mark.parametrize("content", [b"", b"hello, this is text", bytes(range(256))])
def test_what_is_no_network_gives_one_line(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "other.onnx"
    path.write_bytes(content)
    with pytest.raises(EngineUnavailable, match="expected an ONNX network"):
        read_record(path)


@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
def test_a_float16_network_is_refused_in_one_line(
    runtime: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not installed(runtime):
        pytest.skip(f"{runtime} is not installed")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    twin = float16_twin(FLOAT)
    with pytest.raises(EngineUnavailable, match="use a float32 or"):
        open_network(twin, NetworkOptions(runtime, cache=None))


def test_unknown_precisions_and_networks_are_refused(tiny_network: Path) -> None:
    with pytest.raises(EngineOptionError, match="use int8 or fp8"):
        Quantizer(FLOAT, "int4")
    with pytest.raises(EngineOptionError, match="no layers named like"):
        Quantizer(tiny_network, "int8")


def test_a_twin_that_colors_differently_here_is_refused(quantizer: Quantizer, tmp_path: Path) -> None:
    if quantizer.precision != "int8":
        pytest.skip("fp8 is for GPUs")
    path = quantizer.twin(tmp_path / "twin.onnx", kept=["stem", "head"], record=RECORD)
    options = NetworkOptions("onnxruntime", 1, cache=tmp_path)
    open_network(path, options).close()
    assert len(list(tmp_path.glob("verified-*"))) == 1
    give_other_answer(path)
    with pytest.raises(EngineUnavailable, match=r"gives other colors on this processor .* make it anew"):
        open_network(path, options)


def test_without_a_cache_a_twin_is_verified_once_a_process(
    processor_twin: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openvino")
    monkeypatch.setattr(verification, "_verified", set())
    options = NetworkOptions("openvino", 1, cache=None)
    open_network(processor_twin, options).close()
    monkeypatch.setattr(verification, "difference_db", lambda *_: pytest.fail("verified again"))
    open_network(processor_twin, options).close()
