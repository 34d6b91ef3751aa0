"""The adapter's answers where a library is missing, or refuses what it is given."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.engines.gpu.plans.plan_source import plan_options

from irchroma.engines.errors import EngineOptionError, EngineUnavailable, PlanError
from irchroma.engines.gpu import probe
from irchroma.engines.gpu.plans import library as tensorrt_adapter
from irchroma.engines.gpu.plans.library import BuildRequest, Profile, TensorRT

SQUARE = Profile((1, 64, 64), (1, 64, 64), (1, 64, 64))


@pytest.fixture(scope="module")
def library() -> TensorRT:
    pytest.importorskip("tensorrt_rtx")
    return TensorRT("tensorrt-rtx")


def test_a_library_that_is_not_there_is_named_with_what_installs_it() -> None:
    with pytest.raises(EngineOptionError, match="use tensorrt or tensorrt-rtx"):
        TensorRT("cuda")
    for runtime in tensorrt_adapter.LIBRARIES:
        if not tensorrt_adapter.installed(runtime):
            with pytest.raises(EngineUnavailable, match=rf"pip install 'irchroma\[{runtime}\]'"):
                TensorRT(runtime)


def test_jetson_has_an_older_tensorrt_and_that_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    class Old:
        ILogger = tensorrt_adapter.make_logger  # never called: the logger is made before
        __version__ = "10.3.0"

    monkeypatch.setattr(tensorrt_adapter, "installed", lambda runtime: True)
    monkeypatch.setattr(tensorrt_adapter, "_import", lambda runtime: Old)
    monkeypatch.setitem(tensorrt_adapter._loggers, "tensorrt", object())
    monkeypatch.setattr(tensorrt_adapter.platform, "machine", lambda: "x86_64")
    with pytest.raises(EngineUnavailable, match=r"10\.3\.0 is too old.*\(10\.12 or newer\)"):
        TensorRT("tensorrt")
    monkeypatch.setattr(tensorrt_adapter.platform, "machine", lambda: "aarch64")
    assert TensorRT("tensorrt").version == "10.3.0"


def test_a_file_that_is_no_network_is_refused_in_one_line(library: TensorRT, tmp_path: Path) -> None:
    (tmp_path / "junk.onnx").write_bytes(b"junk")
    with pytest.raises(PlanError, match=r"refuses junk\.onnx: .*Failed to parse") as caught:
        library.build(BuildRequest(tmp_path / "junk.onnx", SQUARE))
    assert len(str(caught.value).splitlines()) == 1
    with pytest.raises(PlanError, match="no such file"):
        library.build(BuildRequest(tmp_path / "none.onnx", SQUARE))


def test_an_operator_that_is_refused_is_named(library: TensorRT, tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    ends = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", 1, "h", "w"])
        for name in ("luma", "ycc")
    ]
    node = onnx.helper.make_node("Colorful", ["luma"], ["ycc"], name="the_node")
    graph = onnx.helper.make_graph([node], "odd", ends[:1], ends[1:])
    imports = [onnx.helper.make_opsetid("", 17)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=imports, ir_version=8), tmp_path / "odd.onnx")
    with pytest.raises(PlanError, match=r"refuses odd\.onnx: operator Colorful the_node: "):
        library.build(BuildRequest(tmp_path / "odd.onnx", SQUARE))


def test_a_profile_whose_sizes_are_out_of_order_is_refused(library: TensorRT, tmp_path: Path) -> None:
    onnx = plan_options(tmp_path).onnx
    assert onnx is not None
    wrong = Profile((1, 96, 96), (1, 64, 64), (1, 128, 96))
    with pytest.raises(PlanError, match=r"refuses the shapes .*MIN<=OPT<=MAX"):
        library.build(BuildRequest(onnx, wrong))


def test_a_plan_that_cannot_be_loaded_is_an_error_and_never_none(library: TensorRT, tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r"does not load the plan on this machine: .*header"):
        library.load(b"\x01" * 20_000)
    if probe.device_at() is None:
        onnx = plan_options(tmp_path).onnx
        assert onnx is not None
        plan = library.build(BuildRequest(onnx, SQUARE)).plan
        with pytest.raises(PlanError, match="CUDA driver version is insufficient"):
            library.load(plan)


class Builder:
    """The library's own, with the configurations that it has given."""

    def __init__(self, builder: Any) -> None:
        self._builder = builder
        self.given: list[Any] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._builder, name)

    def create_builder_config(self) -> Any:
        self.given.append(self._builder.create_builder_config())
        return self.given[-1]


def test_a_plan_can_be_recorded_and_makes_no_streams_of_its_own(
    library: TensorRT, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TensorRT-RTX demands user allocation of what is captured (release notes of 1.2)."""
    onnx = plan_options(tmp_path).onnx
    assert onnx is not None
    builder = Builder(library._builder())
    monkeypatch.setattr(library, "_builder", lambda: builder)
    library.build(BuildRequest(onnx, SQUARE, level=1))
    (config,) = builder.given
    assert config.get_flag(library.library.BuilderFlag.REQUIRE_USER_ALLOCATION)
    assert config.max_aux_streams == 0
    assert config.builder_optimization_level == 1
    assert config.num_optimization_profiles == 0  # one shape, which is the network's


class Configuration:
    """What TensorRT-RTX is told of an execution context."""

    dynamic_shapes_kernel_specialization_strategy: Any = None

    def __init__(self, cache: Any) -> None:
        self.strategy: Any = None
        self.used: Any = None
        self._cache = cache

    def set_execution_context_allocation_strategy(self, strategy: Any) -> None:
        self.strategy = strategy

    def create_runtime_cache(self) -> Any:
        return self._cache

    def set_runtime_cache(self, cache: Any) -> None:
        self.used = cache


class Cache:
    def __init__(self, takes: bool) -> None:
        self.takes = takes
        self.told: list[bytes] = []

    def deserialize(self, content: bytes) -> bool:
        self.told.append(content)
        return self.takes


@pytest.mark.parametrize("takes", [True, False], ids=["its own", "another device's"])
def test_a_context_is_of_the_final_kernels_from_the_start(
    library: TensorRT, tmp_path: Path, takes: bool
) -> None:
    """What is recorded with fallback kernels keeps them; those that were compiled before are used again."""
    (tmp_path / "a.jit").write_bytes(b"compiled")
    cache = Cache(takes)
    asked = Configuration(cache)
    engine = SimpleNamespace(
        create_runtime_config=lambda: asked, create_execution_context=lambda config: (config, "context")
    )
    context, used = library.make_context(engine, tmp_path / "a.jit")
    assert context == (asked, "context")
    found = library.library
    assert asked.strategy == found.ExecutionContextAllocationStrategy.USER_MANAGED
    eager = found.DynamicShapesKernelSpecializationStrategy.EAGER
    assert asked.dynamic_shapes_kernel_specialization_strategy == eager
    assert asked.used is used is cache
    assert cache.told == [b"compiled"]
    library.make_context(engine, tmp_path / "none.jit")
    assert cache.told == [b"compiled"]


@pytest.mark.parametrize("ranged", [False, True], ids=["one shape", "a range"])
def test_an_engine_is_asked_for_its_layers_without_memory_of_its_own(library: TensorRT, ranged: bool) -> None:
    """What is built to be recorded makes no execution context but one whose memory its user gives."""
    shapes: list[Any] = []
    context = SimpleNamespace(set_input_shape=lambda *shape: shapes.append(shape))
    asked = Configuration(Cache(True))
    inspector = SimpleNamespace(get_engine_information=lambda kind: f"layers as {kind.name}")
    engine = SimpleNamespace(
        create_engine_inspector=lambda: inspector,
        create_runtime_config=lambda: asked,
        create_execution_context=lambda config: context if config is asked else None,
        get_tensor_name=lambda index: "luma",
    )
    profile = Profile((1, 64, 64), (2, 96, 64), (4, 96, 96)) if ranged else SQUARE
    assert library.inspect(engine, profile) == "layers as ONELINE"
    if ranged:
        assert asked.strategy == library.library.ExecutionContextAllocationStrategy.USER_MANAGED
        assert shapes == [("luma", (2, 1, 96, 64))]
        assert inspector.execution_context is context
    else:
        assert not shapes
