"""What can be known of TensorRT at work without a GPU: the bindings' calls, shapes, and what fails how."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.engines.tiny_network import write_tiny_network

from irchroma.engines import catalog
from irchroma.engines.gpu.batching import BATCHES
from irchroma.engines.gpu.plans import execution
from irchroma.engines.gpu.plans import library as tensorrt_adapter
from irchroma.engines.gpu.plans.build import PlanOptions, ensure_plan
from irchroma.engines.gpu.plans.execution import network_for, shapes_for
from irchroma.engines.network.record import RECORD_KEY, NetworkRecord

CALLS = {
    "ICudaEngine": (
        "create_execution_context",
        "get_tensor_dtype",
        "get_tensor_name",
        "get_tensor_profile_shape",
        "num_io_tensors",
        "num_optimization_profiles",
    ),
    "IExecutionContext": (
        "execute_async_v3",
        "get_tensor_shape",
        "set_input_shape",
        "set_optimization_profile_async",
        "set_tensor_address",
    ),
}


@pytest.mark.parametrize("runtime", tensorrt_adapter.LIBRARIES)
def test_every_call_is_one_of_the_installed_bindings(runtime: str) -> None:
    if not tensorrt_adapter.installed(runtime):
        pytest.skip(f"{runtime} is not installed")
    library = tensorrt_adapter.TensorRT(runtime).library
    text = Path(execution.__file__).read_text(encoding="utf-8")
    for kind, names in CALLS.items():
        for name in names:
            assert f".{name}" in text
            assert hasattr(getattr(library, kind), name), f"{kind}.{name}"
    assert library.DataType.HALF.name == "HALF"
    assert library.DataType.FLOAT.name == "FLOAT"


def test_a_network_is_built_in_its_own_precision(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    for name in ("mine.onnx", "both.onnx", "both_fp16.onnx"):
        write_tiny_network(tmp_path / name)
    assert network_for(tmp_path / "mine.onnx") == (tmp_path / "mine.onnx", "fp32")
    assert network_for(tmp_path / "both.onnx") == (tmp_path / "both_fp16.onnx", "fp16")
    calibrated = onnx.load(tmp_path / "both.onnx")
    record = NetworkRecord("nir", "fast", "int8", "0" * 64)
    onnx.helper.set_model_props(calibrated, {RECORD_KEY: record.as_json()})
    onnx.save(calibrated, tmp_path / "both.onnx")
    assert network_for(tmp_path / "both.onnx") == (tmp_path / "both.onnx", "int8")


def test_the_default_plan_is_used_for_the_sizes_that_it_has() -> None:
    fast, best = (catalog.WEIGHTS / f"nir_{size}.onnx" for size in catalog.SIZES)
    assert shapes_for(fast, (256, 320)) == "1x256x320,1x192x320"
    assert shapes_for(best, (352, 416)) == "1x352x416,1x256x416"
    assert shapes_for(fast, (352, 416)) == "1x352x416"
    assert shapes_for(best, (64, 96)) == "1x64x96"
    assert shapes_for(Path("mine.onnx"), (256, 320)) == "1x256x320"


def test_batches_are_profiles_of_one_shape_each_in_one_real_plan(tmp_path: Path) -> None:
    if not tensorrt_adapter.installed("tensorrt-rtx"):
        pytest.skip("tensorrt-rtx is not installed")
    onnx, precision = network_for(catalog.weights_path("nir", "fast"))
    shapes = shapes_for(onnx, (64, 96), BATCHES)
    assert shapes == "1x64x96,2x64x96,4x64x96,8x64x96"
    options = PlanOptions(
        shapes=shapes, precision=precision, runtime="tensorrt-rtx", onnx=onnx, folder=tmp_path
    )
    plan = ensure_plan(options)
    assert plan.reason == "not built yet"
    assert plan.header.source.profiles == tuple(shapes.split(","))
    assert plan.header.convolutions > 10
    assert ensure_plan(options).reason is None
    alone = ensure_plan(replace(options, shapes=shapes_for(onnx, (64, 96))))
    assert alone.path != plan.path
