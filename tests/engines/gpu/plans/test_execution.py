"""What can be known of TensorRT at work without a GPU: the bindings' calls; its rules, kept by a double."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.engines.gpu.plans.engine_double import (
    EngineDouble,
    GraphDouble,
    JitDouble,
    LibraryDouble,
    Shape,
)
from tests.engines.tiny_network import write_tiny_network

from irchroma.engines.errors import EngineError, PlanError
from irchroma.engines.gpu.cpu_device import CpuDevice, host_view
from irchroma.engines.gpu.device import CaptureRefused, DeviceArray, WorkQueue
from irchroma.engines.gpu.kernels.host import HostKernels
from irchroma.engines.gpu.plans import execution, library
from irchroma.engines.gpu.plans.build import Plan, PlanOptions
from irchroma.engines.gpu.plans.execution import LoadedPlan, PlanExecution, PlanTensors, precision_for
from irchroma.engines.gpu.plans.file import PlanHeader, PlanSource
from irchroma.engines.network.record import RECORD_KEY, NetworkRecord

CALLS = {
    "ICudaEngine": (
        "create_execution_context",
        "create_engine_inspector",
        "device_memory_size_v2",
        "get_tensor_dtype",
        "get_tensor_name",
        "get_tensor_profile_shape",
        "get_tensor_shape",
        "num_io_tensors",
        "num_optimization_profiles",
    ),
    "IExecutionContext": (
        "execute_async_v3",
        "get_tensor_shape",
        "set_device_memory",
        "set_input_shape",
        "set_optimization_profile_async",
        "set_tensor_address",
    ),
    "IBuilderConfig": ("builder_optimization_level", "max_aux_streams"),
    "EngineInspector": ("execution_context", "get_engine_information"),
}
RTX_CALLS = {
    "ICudaEngine": ("create_runtime_config",),
    "IRuntimeConfig": (
        "create_runtime_cache",
        "dynamic_shapes_kernel_specialization_strategy",
        "set_execution_context_allocation_strategy",
        "set_runtime_cache",
    ),
}


@pytest.mark.parametrize("runtime", library.LIBRARIES)
def test_every_call_is_one_of_the_installed_bindings(runtime: str) -> None:
    if not library.installed(runtime):
        pytest.skip(f"{runtime} is not installed")
    found = library.TensorRT(runtime).library
    text = "".join(Path(one.__file__).read_text(encoding="utf-8") for one in (execution, library))
    calls = [*CALLS.items(), *(RTX_CALLS.items() if runtime == "tensorrt-rtx" else ())]
    for kind, names in calls:
        for name in names:
            assert f".{name}" in text
            assert hasattr(getattr(found, kind), name), f"{kind}.{name}"
    assert found.DataType.HALF.name == "HALF"
    assert found.DataType.FLOAT.name == "FLOAT"
    assert found.ExecutionContextAllocationStrategy.USER_MANAGED is not None


class ContextualDevice(CpuDevice):
    """With the context and the stream handles that CUDA devices have."""

    def __init__(self, kernels: HostKernels) -> None:
        super().__init__(kernels=kernels)
        self.given: list[DeviceArray] = []
        self.freed: list[int] = []

    @contextmanager
    def current(self) -> Iterator[None]:
        yield

    def allocate(self, shape: Any, dtype: Any) -> DeviceArray:
        room = super().allocate((int(np.prod(shape)) * np.dtype(dtype).itemsize + 256,), np.uint8)
        made = room.part(-room.address % 256, tuple(shape), dtype)  # as a driver aligns it
        self.given.append(made)
        return made

    def free(self, array: DeviceArray) -> None:
        self.freed.append(array.address)

    def open_queue(self) -> WorkQueue:
        made: Any = super().open_queue()
        made.handle = 17
        return made  # type: ignore[no-any-return]


def at(tensors: dict[str, tuple[int, Shape]], name: str) -> np.ndarray[Any, Any]:
    address, shape = tensors[name]
    return host_view(DeviceArray(address, shape, np.dtype(np.float32), None))


def copying(tensors: dict[str, tuple[int, Shape]], stream: int) -> None:
    assert stream == 17
    at(tensors, "ycc")[...] = at(tensors, "luma")
    at(tensors, "confidence")[...] = 1 - at(tensors, "luma")


def loaded(
    engine: EngineDouble, found: LibraryDouble, path: Path, runtime: str = "tensorrt-rtx"
) -> LoadedPlan:
    return LoadedPlan((runtime, 0, path, "ab" * 32), found, engine, "double", 1)  # type: ignore[arg-type]


def test_a_plan_of_one_shape_runs_in_memory_of_ours_and_is_told_no_shape(
    host_kernels: HostKernels, tmp_path: Path
) -> None:
    device, engine = ContextualDevice(host_kernels), EngineDouble((2, 1, 32, 64), (2, 1, 32, 64), copying)
    network = PlanExecution(loaded(engine, LibraryDouble(), tmp_path / "a.plan"), device, (32, 64), 2)
    (context,) = engine.contexts
    assert context.told == []
    assert context.memory[0] in {array.address for array in device.given}
    assert context.memory[1] == engine.device_memory_size_v2  # of this batch alone
    host_view(network.luma)[...] = 0.25
    network.enqueue(17)
    assert (host_view(network.ycc) == 0.25).all()
    assert (host_view(network.confidence) == 0.75).all()
    context.memory = (0, 0)
    with pytest.raises(EngineError, match=r"could not be started: in the library's words$"):
        network.enqueue(17)
    network.close()
    network.close()
    assert sorted(device.freed) == sorted(array.address for array in device.given)
    with pytest.raises(EngineError, match="closed"):
        network.enqueue(17)
    device.close()


def test_plans_that_take_turns_compute_in_the_memory_of_the_largest(
    host_kernels: HostKernels, tmp_path: Path
) -> None:
    device = ContextualDevice(host_kernels)
    contexts, networks = [], []
    for frames, memory in ((8, 8192), (2, 4096), (1, 9000)):
        shape = (frames, 1, 32, 64)
        engine = EngineDouble(shape, shape, copying, memory=memory)
        plan = loaded(engine, LibraryDouble(), tmp_path / "a.plan")
        turns = networks[0] if networks else None
        networks.append(PlanExecution(plan, device, (32, 64), frames, turns))
        contexts += engine.contexts
    largest, smaller, odd = (context.memory for context in contexts)
    assert smaller == (largest[0], 4096)
    assert odd[0] != largest[0]  # which needs more than the largest has
    for network in reversed(networks):
        network.enqueue(17)
        network.close()
    assert sorted(device.freed) == sorted(array.address for array in device.given)  # each once
    device.close()


def test_a_plan_of_several_inputs_has_memory_for_each_and_serves_no_others(
    host_kernels: HostKernels, tmp_path: Path
) -> None:
    shapes: dict[str, Shape] = {"luma": (1, 1, 32, 64), "keys": (1, 64, 40), "ycc": (1, 3, 32, 64)}

    def adding(tensors: dict[str, tuple[int, Shape]], stream: int) -> None:
        assert stream == 17
        at(tensors, "ycc")[...] = at(tensors, "luma") + at(tensors, "keys").mean()

    device, engine = ContextualDevice(host_kernels), GraphDouble(shapes, adding)
    inputs = {name: shapes[name] for name in ("luma", "keys")}

    def opened(**other: Shape) -> PlanTensors:
        plan = loaded(engine, LibraryDouble(), tmp_path / "a.plan")
        return PlanTensors(plan, device, inputs | other, ("ycc",))

    network = opened()
    assert {name: one.shape for name, one in network.tensors.items()} == shapes
    host_view(network.tensors["luma"])[...], host_view(network.tensors["keys"])[...] = 0.25, 0.5
    network.enqueue(17)
    assert (host_view(network.tensors["ycc"]) == 0.75).all()
    network.close()
    assert sorted(device.freed) == sorted(array.address for array in device.given)
    with pytest.raises(EngineError, match=r"keys is \(1, 64, 40\), expected \(1, 64, 48\)"):
        opened(keys=(1, 64, 48))
    with pytest.raises(EngineError, match="expected the tensors bias, keys, luma, ycc"):
        opened(bias=(1, 1, 40))
    device.close()


def test_a_plan_of_one_shape_serves_no_other(host_kernels: HostKernels, tmp_path: Path) -> None:
    device, engine = ContextualDevice(host_kernels), EngineDouble((1, 1, 32, 64), (1, 1, 32, 64), copying)
    with pytest.raises(EngineError, match=r"serves no input of \(1, 1, 64, 64\)"):
        PlanExecution(loaded(engine, LibraryDouble(), tmp_path / "a.plan"), device, (64, 64))
    assert sorted(device.freed) == sorted(array.address for array in device.given)
    device.close()


def test_a_plan_of_a_range_is_told_its_profile_and_then_the_shape(
    host_kernels: HostKernels, tmp_path: Path
) -> None:
    device, engine = ContextualDevice(host_kernels), EngineDouble((1, 1, 32, 32), (4, 1, 96, 96), copying)
    network = PlanExecution(loaded(engine, LibraryDouble(), tmp_path / "a.plan"), device, (64, 96), 3)
    assert engine.contexts[0].told == ["profile", "shape"]
    network.enqueue(17)
    network.close()
    with pytest.raises(EngineError, match="serves no input"):
        PlanExecution(loaded(engine, LibraryDouble(), tmp_path / "a.plan"), device, (128, 96))
    device.close()


def test_a_network_that_cannot_be_recorded_says_so_before(host_kernels: HostKernels, tmp_path: Path) -> None:
    device, engine = ContextualDevice(host_kernels), EngineDouble((1, 1, 32, 64), (1, 1, 32, 64), copying)
    network = PlanExecution(loaded(engine, LibraryDouble(), tmp_path / "a.plan"), device, (32, 64))
    network.ask_recordable(17)
    network.check_recordable()
    engine.contexts[0].capturable = False
    network.ask_recordable(17)
    with pytest.raises(CaptureRefused, match="cannot be recorded"):
        network.check_recordable()
    network.close()
    device.close()


def test_what_tensorrt_rtx_has_compiled_is_kept_for_the_next_start(
    host_kernels: HostKernels, tmp_path: Path
) -> None:
    device, engine = ContextualDevice(host_kernels), EngineDouble((1, 1, 32, 64), (1, 1, 32, 64), copying)
    for runtime, kept in (("tensorrt", 0), ("tensorrt-rtx", 1)):
        found = LibraryDouble(JitDouble(b"compiled"))
        plan = loaded(engine, found, tmp_path / "a.plan", runtime)
        PlanExecution(plan, device, (32, 64)).close()
        files = list(tmp_path.glob("*.jit"))
        assert len(files) == kept
        assert found.asked == (files or [None])
    assert files[0].read_bytes() == b"compiled"
    device.close()


def test_a_network_is_built_in_its_own_precision(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    path = tmp_path / "mine.onnx"
    write_tiny_network(path)
    assert precision_for(path) == "fp16"
    for precision, built in (("tuned", "fp16"), ("int8", "int8")):
        calibrated = onnx.load(path)
        record = NetworkRecord("nir", "fast", precision, "0" * 64)
        onnx.helper.set_model_props(calibrated, {RECORD_KEY: record.as_json()})
        onnx.save(calibrated, path)
        assert precision_for(path) == built


class Loads:
    """`library.TensorRT` that loads no plan but those which `ensure` has just built, or none at all."""

    def __init__(self, says: str, none: bool = False, first: str | None = None) -> None:
        self.says, self.none, self.asked = says, none, list[bool]()
        self.first = first  # why the first one is built
        self.version = "10.13.3.9"

    def stand_in(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(execution, "_loaded", {})
        monkeypatch.setattr(execution, "_in_vain", set())
        monkeypatch.setattr(execution, "ensure_plan", self.ensure)
        monkeypatch.setattr(execution, "TensorRT", lambda name: self)
        monkeypatch.setattr(execution, "read_plan", lambda path: (None, b""))

    def ensure(self, options: PlanOptions) -> Plan:
        self.asked.append(options.anew)
        source = PlanSource("a", "", "tensorrt", self.version, "GPU", "8.9", "fp16", "1x64x64")
        header = PlanHeader(source, None, "", 0.0, 1, None, None, 0, f"sha{options.anew}", ())
        reason = "asked for anew" if options.anew else self.first
        self.first = None
        return Plan(Path("a.plan"), header, reason)

    def load(self, plan: bytes) -> Any:
        if self.none or not self.asked[-1]:
            raise PlanError(f"tensorrt does not load the plan on this machine: {self.says}")
        return object()


@pytest.mark.parametrize(
    ("runtime", "says", "asked"),
    [
        ("tensorrt", "engine plan is of another build", [False, True]),
        ("tensorrt", "Error Code 2: OutOfMemory", [False]),
        ("tensorrt-rtx", "compute capability 9.0 is not supported", [False]),
    ],
)
def test_a_plan_that_the_library_refuses_is_built_anew_once(
    runtime: str, says: str, asked: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was refused at each start until somebody found and deleted it."""
    loads = Loads(says)
    loads.stand_in(monkeypatch)
    options = PlanOptions(runtime=runtime)
    if len(asked) == 2:
        assert execution._load(options).key[-1] == "shaTrue"
    else:
        with pytest.raises(PlanError, match=says):
            execution._load(options)
    assert loads.asked == asked


def test_a_plan_that_was_built_anew_in_vain_is_not_built_by_every_camera(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """That takes minutes, and ends as before."""
    loads = Loads("engine plan is of another build", none=True)
    loads.stand_in(monkeypatch)
    for _ in range(3):
        with pytest.raises(PlanError, match="another build"):
            execution._load(PlanOptions(runtime="tensorrt"))
    assert loads.asked == [False, True, False, False]


def test_a_plan_that_is_refused_when_it_has_just_been_built_is_not_built_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The next camera found it there, and built it anew as if another library had made it."""
    loads = Loads("engine plan is of another build", none=True, first="not built yet")
    loads.stand_in(monkeypatch)
    for _ in range(3):
        with pytest.raises(PlanError, match="another build"):
            execution._load(PlanOptions(runtime="tensorrt"))
    assert loads.asked == [False, False, False]
