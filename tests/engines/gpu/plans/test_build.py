"""Real builds by TensorRT-RTX, GPU or none: proved, cached, rebuilt when stale."""

from __future__ import annotations

import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.engines.gpu.plans.plan_source import plan_options

from irchroma.engines import catalog
from irchroma.engines.errors import EngineOptionError, EngineUnavailable, PlanError
from irchroma.engines.gpu import probe
from irchroma.engines.gpu.plans import build
from irchroma.engines.gpu.plans.build import (
    SHAPES,
    Plan,
    PlanOptions,
    ensure_plan,
    ensure_plans,
    parse_shapes,
    profile_text,
)
from irchroma.engines.gpu.plans.file import read_plan, write_plan
from irchroma.engines.gpu.plans.library import BuildRequest, TensorRT
from irchroma.engines.network.weight_storage import float16_twin

onnx = pytest.importorskip("onnx", reason="plans are built from graphs")

DEADLINE_S = 60.0
NETWORK = onnx.load(catalog.weights_path("nir", "fast"), load_external_data=False).graph
CONVOLUTIONS = sum(node.op_type == "Conv" for node in NETWORK.node)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[PlanOptions, Plan]:
    """A float16 plan of one shape."""
    options = plan_options(tmp_path_factory.mktemp("plans"))
    return options, ensure_plan(options)


@pytest.fixture
def copied(built: tuple[PlanOptions, Plan], tmp_path: Path) -> tuple[PlanOptions, Path]:
    """The same, in a folder that the test may spoil; and the plan's path."""
    options, plan = built
    assert options.folder is not None
    assert options.onnx is not None
    shutil.copytree(options.folder, tmp_path, dirs_exist_ok=True)
    mine = replace(options, folder=tmp_path, onnx=tmp_path / options.onnx.name)
    return mine, tmp_path / plan.path.name


def test_a_float16_plan_has_every_convolution_in_float16(built: tuple[PlanOptions, Plan]) -> None:
    header = built[1].header
    assert header.convolutions == CONVOLUTIONS >= 50
    assert {layer.precision for layer in header.layers} == {"fp16"}
    assert sum(layer.kind == "correlation" for layer in header.layers) >= 45
    assert any(
        layer.output == "1x32x32x48" and layer.name.startswith("/encoder/stem") for layer in header.layers
    )
    assert header.weights_bytes is not None
    assert 2e6 < header.weights_bytes < 3e6
    assert header.activation_bytes


def test_the_header_says_what_the_plan_was_built_from(built: tuple[PlanOptions, Plan]) -> None:
    header, plan = read_plan(built[1].path)
    device = probe.device_at()
    assert header.source.runtime == "tensorrt-rtx"
    assert header.source.version.count(".") >= 2
    assert header.source.shape == "1x64x96"
    assert header.source.device == (device.name if device else None)
    assert (header.driver is None) == (device is None)
    assert header.build_s > 0
    assert header.plan_bytes == len(plan) > 1_000_000


def test_every_shape_gets_a_plan_of_its_own_and_a_range_is_one(tmp_path: Path) -> None:
    shapes = "1x64x96,1x64x64:2x96x96:4x128x160"
    options = replace(plan_options(tmp_path, "fp32"), shapes=shapes)
    alone, ranged = ensure_plans(options)
    assert [alone.header.source.shape, ranged.header.source.shape] == shapes.split(",")
    assert alone.path != ranged.path
    for plan in (alone, ranged):
        assert {layer.precision for layer in plan.header.layers} <= {"fp32", "none"}
        assert plan.header.convolutions == CONVOLUTIONS
        assert b"tf32=0" in read_plan(plan.path)[1], "float32 was asked for, not TensorFloat-32"
    assert any(layer.output.startswith("?") for layer in ranged.header.layers)
    assert not any("?" in layer.output for layer in alone.header.layers), "every size of one shape is known"
    with pytest.raises(EngineOptionError, match="expected one shape"):
        ensure_plan(options)


@pytest.mark.parametrize("engine", catalog.BANDS)
@pytest.mark.parametrize("size", catalog.SIZES)
def test_every_shipped_network_builds_for_its_shapes_and_is_proved(
    engine: str, size: str, tmp_path: Path
) -> None:
    runtime = plan_options(tmp_path).runtime
    if not catalog.weights_path(engine, size).is_file():
        pytest.skip(f"weights of {engine} {size} are not here")
    said: list[str] = []
    plans = ensure_plans(
        PlanOptions(engine, size, runtime=runtime, folder=tmp_path), say=lambda line: said.append(line)
    )
    assert [plan.header.source.shape for plan in plans] == SHAPES[size].split(",")
    for plan in plans:
        assert plan.header.convolutions >= 40
        assert plan.header.indirectly == 0
        assert {layer.factors for layer in plan.header.layers if layer.kind == "correlation"} == {"fp16"}
        assert not any("?" in layer.output for layer in plan.header.layers)
    assert len(said) == len(plans), "nothing is in doubt"


@pytest.mark.slow
@pytest.mark.parametrize("method", catalog.CLASSICS)
def test_the_classic_networks_build_for_one_shape_and_are_proved(method: str, tmp_path: Path) -> None:
    """Of one band: the other's graph is the same, with other weights."""
    onnx = catalog.weights_path(method, "nir")
    if not onnx.is_file():
        pytest.skip(f"weights of {method} are not here")
    runtime = plan_options(tmp_path).runtime
    options = PlanOptions("nir", "fast", "1x96x128", runtime=runtime, folder=tmp_path, onnx=onnx)
    header = ensure_plan(options).header
    assert header.convolutions >= 12
    assert header.indirectly == 0
    assert {layer.factors for layer in header.layers if layer.kind == "correlation"} == {"fp16"}
    assert not any("?" in layer.output for layer in header.layers), "every size of one shape is known"


def test_the_search_for_kernels_is_part_of_what_a_plan_is(tmp_path: Path) -> None:
    options = plan_options(tmp_path)
    first, longer = ensure_plan(options), ensure_plan(replace(options, level=4, aux_streams=None))
    assert longer.reason == "not built yet"
    assert longer.path.name == first.path.name.replace(".plan", ".level4.auxany.plan")
    with pytest.raises(EngineOptionError, match="level from 0 to 5, got 6"):
        ensure_plan(replace(options, level=6))


def test_a_plan_that_is_there_is_used_and_not_built_again(copied: tuple[PlanOptions, Path]) -> None:
    options, path = copied
    before = path.stat().st_mtime_ns
    plan = ensure_plan(replace(options, build=False))
    assert plan.reason is None
    assert plan.path == path
    assert path.stat().st_mtime_ns == before


def test_a_missing_plan_is_refused_where_building_is_not_allowed(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="not built yet: run irchroma engines build"):
        ensure_plan(replace(plan_options(tmp_path), build=False))


def test_a_network_that_changed_makes_its_plan_stale(copied: tuple[PlanOptions, Path]) -> None:
    options, path = copied
    other = catalog.weights_path("thermal", "fast")
    if not other.is_file():
        pytest.skip("weights of thermal fast are not here")
    assert options.onnx is not None
    shutil.copyfile(other, options.onnx)
    with pytest.raises(PlanError, match=r"nir_fast\.onnx has changed since it was built"):
        ensure_plan(replace(options, build=False))
    said: list[str] = []
    before = path.read_bytes()
    plan = ensure_plan(options, say=said.append)
    assert plan.reason == "nir_fast.onnx has changed since it was built"
    assert len(said) == 1
    assert path.read_bytes() != before
    assert ensure_plan(options).reason is None


def test_a_plan_cut_short_is_explained_and_built_again(copied: tuple[PlanOptions, Path]) -> None:
    options, path = copied
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(PlanError, match=r"cut short: \d+ of \d+ bytes"):
        ensure_plan(replace(options, build=False))
    plan = ensure_plan(options)
    assert plan.reason is not None
    assert "cut short" in plan.reason
    read_plan(path)


def test_a_plan_of_another_version_is_foreign(copied: tuple[PlanOptions, Path]) -> None:
    options, path = copied
    header, plan = read_plan(path)
    write_plan(path, replace(header, source=replace(header.source, version="1.0.0.21")), plan)
    with pytest.raises(PlanError, match=r"built by tensorrt-rtx 1\.0\.0\.21, here is "):
        ensure_plan(replace(options, build=False))


def test_of_two_builders_one_waits_and_takes_what_the_other_built(tmp_path: Path) -> None:
    options = plan_options(tmp_path)
    building, waiting = threading.Event(), threading.Event()

    def hold_on(share: float, phase: str) -> None:
        building.set()
        assert waiting.wait(DEADLINE_S)

    def second() -> Plan:
        assert building.wait(DEADLINE_S)
        return ensure_plan(options, say=lambda line: waiting.set() if "waiting for another" in line else None)

    with ThreadPoolExecutor(2) as pool:
        plans = [pool.submit(ensure_plan, options, hold_on), pool.submit(second)]
        first, other = (plan.result(DEADLINE_S) for plan in plans)
    assert first.reason == "not built yet"
    assert other.reason is None
    assert other.header == first.header


def test_interrupting_a_build_leaves_nothing_behind(tmp_path: Path) -> None:
    options = plan_options(tmp_path)

    def interrupt(share: float, phase: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ensure_plan(options, interrupt)
    assert not [path for path in tmp_path.iterdir() if path.suffix in (".plan", ".partial")]


def test_progress_grows_to_the_end(tmp_path: Path) -> None:
    shares: list[float] = []
    ensure_plan(plan_options(tmp_path), lambda share, phase: shares.append(share))
    assert shares == sorted(shares)
    assert 0 <= shares[0] < 0.1
    assert shares[-1] == pytest.approx(1.0)


def test_a_float16_network_is_refused_where_float32_was_asked_for(tmp_path: Path) -> None:
    options = plan_options(tmp_path, "fp32")
    assert options.onnx is not None
    options = replace(options, onnx=float16_twin(options.onnx))
    with pytest.raises(
        PlanError,
        match=rf"{CONVOLUTIONS} of {CONVOLUTIONS} convolutions were not built in fp32 \(.* is fp16\)",
    ):
        ensure_plan(options)
    assert not list(tmp_path.glob("*.plan"))


def test_a_single_convolution_in_another_precision_is_found(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    options = plan_options(tmp_path, "fp32")
    model = onnx.load(options.onnx)
    nodes = model.graph.node
    at = next(index for index, one in enumerate(nodes) if one.name == "/decoder/head/Conv")
    node, output = nodes[at], nodes[at].output[0]
    casts = []
    for index, name in enumerate(node.input):
        casts.append(onnx.helper.make_node("Cast", [name], [f"{name}.narrow"], to=onnx.TensorProto.FLOAT16))
        node.input[index] = f"{name}.narrow"
    node.output[0] = f"{output}.narrow"
    nodes.insert(at + 1, onnx.helper.make_node("Cast", [node.output[0]], [output], to=onnx.TensorProto.FLOAT))
    for cast in casts:
        nodes.insert(at, cast)
    onnx.save(model, options.onnx)
    with pytest.raises(
        PlanError, match=rf"[12] of {CONVOLUTIONS} convolutions were not built in fp32 \(/decoder/"
    ):
        ensure_plan(options)


@pytest.mark.parametrize(("says", "builds"), [("is fp32", 1), ("Error Code 2: OutOfMemory", 2)])
def test_what_cannot_be_built_is_not_built_by_every_camera(
    says: str, builds: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That takes minutes, and ends as before; but for want of memory, of which there may be more."""
    asked: list[BuildRequest] = []

    def refuse(library: TensorRT, request: BuildRequest) -> None:
        asked.append(request)
        raise PlanError(says)

    monkeypatch.setattr(build, "_refused", {})
    monkeypatch.setattr(TensorRT, "build", refuse)
    for _ in range(2):
        with pytest.raises(PlanError, match=says):
            ensure_plan(plan_options(tmp_path))
    assert len(asked) == builds
    with pytest.raises(PlanError, match=says):  # another one
        ensure_plan(replace(plan_options(tmp_path), shapes="1x64x64"))
    assert len(asked) == builds + 1


@pytest.mark.parametrize("precision", ["int8", "fp8"])
def test_precisions_that_need_a_calibration_are_refused(precision: str, tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailable, match=f"precision {precision} needs a network calibrated.*--onnx"):
        ensure_plan(PlanOptions(precision=precision, folder=tmp_path))


def test_a_quantized_network_of_ones_own_is_built_and_proved_in_eight_bits(tmp_path: Path) -> None:
    options = PlanOptions(
        onnx=quantized_network(tmp_path / "quantized.onnx"),
        precision="int8",
        shapes="1x64x96",
        runtime=plan_options(tmp_path).runtime,
        folder=tmp_path,
    )
    plan = ensure_plan(options)
    assert plan.header.source.precision == "int8"
    assert plan.header.convolutions == 2
    assert sum("int8" in layer.precision for layer in plan.header.layers) >= 2


def test_a_network_without_quantized_layers_is_no_eight_bit_network(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="no quantized convolution: there is nothing to prove int8 on"):
        ensure_plan(replace(plan_options(tmp_path), precision="int8"))


def quantized_network(path: Path) -> Path:
    """Two convolutions of 64 channels between quantize and dequantize, as calibration writes them."""
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    stored = [numpy_helper.from_array(np.float32(0.05), "scale"), numpy_helper.from_array(np.int8(0), "zero")]
    stored.append(numpy_helper.from_array(rng.normal(0, 0.1, (64, 1, 3, 3)).astype(np.float32), "widen"))
    nodes = [helper.make_node("Conv", ["luma", "widen"], ["x0"], name="widen", pads=[1, 1, 1, 1])]
    for index in (0, 1):
        weights = rng.integers(-90, 90, (64, 64, 3, 3)).astype(np.int8)
        stored.append(numpy_helper.from_array(weights, f"w{index}"))
        nodes += [
            helper.make_node("QuantizeLinear", [f"x{index}", "scale", "zero"], [f"q{index}"]),
            helper.make_node("DequantizeLinear", [f"q{index}", "scale", "zero"], [f"d{index}"]),
            helper.make_node("DequantizeLinear", [f"w{index}", "scale", "zero"], [f"k{index}"]),
            helper.make_node(
                "Conv", [f"d{index}", f"k{index}"], [f"c{index}"], name=f"conv{index}", pads=[1, 1, 1, 1]
            ),
            helper.make_node("Relu", [f"c{index}"], [f"x{index + 1}"]),
        ]
    luma = helper.make_tensor_value_info("luma", TensorProto.FLOAT, ["n", 1, "h", "w"])
    ycc = helper.make_tensor_value_info("x2", TensorProto.FLOAT, ["n", 64, "h", "w"])
    graph = helper.make_graph(nodes, "quantized", [luma], [ycc], stored)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def test_shapes_go_there_and_back() -> None:
    text = "1x256x320,1x64x64:2x96x96:4x128x160"
    assert ",".join(map(profile_text, parse_shapes(text))) == text


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("1x100x320", "multiples of 32"),
        ("0x256x320", "multiples of 32"),
        ("256x320", "expected NxHxW"),
        ("", "expected NxHxW"),
        ("1x64x64:1x96x96", "MIN:OPT:MAX"),
        ("2x64x64:1x64x64:4x64x64", "MIN must not be above OPT"),
    ],
)
def test_shapes_that_make_no_sense_are_refused(text: str, complaint: str) -> None:
    with pytest.raises(EngineOptionError, match=complaint):
        parse_shapes(text)
