"""A TensorRT plan at work: one execution context with fixed memory, for one shape and one stream.

Every call was looked up in the Python bindings of TensorRT-RTX 1.7.1, in this part those of TensorRT 10 and
11. Without a driver no plan can be loaded: what runs without one is a double of the library (tests).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from irchroma.engines.cache import write_atomically
from irchroma.engines.errors import EngineError, PlanError
from irchroma.engines.gpu.device import CaptureRefused, Device, DeviceArray
from irchroma.engines.gpu.plans.build import Plan, PlanOptions, ensure_plan
from irchroma.engines.gpu.plans.file import read_plan
from irchroma.engines.gpu.plans.library import TensorRT
from irchroma.engines.network.record import read_record
from irchroma.engines.network.tuning import TUNED

log = logging.getLogger(__name__)

_DTYPES = {"HALF": np.float16, "FLOAT": np.float32}
_TENSORS = {"luma": 1, "ycc": 3, "confidence": 1}
"""Tensor -> its planes."""
_lock = threading.Lock()
_loaded: dict[tuple[str, int, Path, str], LoadedPlan] = {}
_in_vain: set[Path] = set()
"""Plans that are refused though they were built just now: that takes minutes, and every camera that opens
would do it again. Not kept beyond the process, as the library may be mended meanwhile."""


@dataclass(slots=True)
class LoadedPlan:
    """An engine in a device's memory, shared by all videos of this process.

    Attributes:
        key: runtime, device index, the plan's path and its SHA-256.
        library: which loaded it; must outlive it.
        engine: the library's own object.
        title: for people.
        users: how many hold it.
    """

    key: tuple[str, int, Path, str]
    library: TensorRT
    engine: Any
    title: str
    users: int = 0

    def release(self) -> None:
        """One user less; the last one lets it go, the context that loaded it being current."""
        with _lock:
            self.users -= 1
            if self.users == 0:
                _loaded.pop(self.key, None)
                self.engine = None


def open_plan(runtime: str, index: int, path: Path, size: tuple[int, int], frames: int = 1) -> LoadedPlan:
    """The plan for a network and a size, from the cache or built now, loaded by the current context.

    Args:
        runtime: `tensorrt` or `tensorrt-rtx`.
        index: of the device.
        path: the ONNX file, which is run in float16; or a calibrated one, in its own precision.
        size: (H, W) of the padded input.
        frames: of one call.

    Raises:
        EngineError: no such runtime here, or the plan cannot be built or loaded.
    """
    shape = f"{frames}x{size[0]}x{size[1]}"
    return _load(
        PlanOptions(shapes=shape, precision=precision_for(path), runtime=runtime, onnx=path, device=index)
    )


def open_graph_plan(
    runtime: str, index: int, path: Path, shapes: Mapping[str, tuple[int, ...]]
) -> LoadedPlan:
    """The same for a network of several inputs of these shapes, one of which is the picture `luma`."""
    frames, _, height, width = shapes["luma"]
    return _load(
        PlanOptions(
            shapes=f"{frames}x{height}x{width}",
            precision=precision_for(path),
            runtime=runtime,
            onnx=path,
            device=index,
            inputs=shapes,
        )
    )


def _load(options: PlanOptions) -> LoadedPlan:
    plan = ensure_plan(options)
    try:
        return _loaded_of(options, plan)
    except PlanError as error:
        if "memory" in str(error).lower():
            raise
        if plan.reason is not None:
            _in_vain.add(plan.path)
        if options.runtime != "tensorrt" or plan.path in _in_vain:
            raise
        # Of another library of the same version, perhaps: header and bytes are right.
        log.warning("%s: %s: building it anew", plan.path, error)
    refused = {plan.path}
    try:
        anew = ensure_plan(replace(options, anew=True))
        refused.add(anew.path)  # another one where the cache is read-only
        return _loaded_of(options, anew)
    except PlanError as error:
        if "memory" not in str(error).lower():
            _in_vain.update(refused)
        raise


def _loaded_of(options: PlanOptions, plan: Plan) -> LoadedPlan:
    runtime, index = str(options.runtime), options.device
    header = plan.header
    key = (runtime, index, plan.path, header.plan_sha256)
    with _lock:
        found = _loaded.get(key)
        if found is None:
            library = TensorRT(runtime)
            engine = library.load(read_plan(plan.path)[1])
            title = f"{runtime} {library.version} {header.source.precision}"
            found = _loaded[key] = LoadedPlan(key, library, engine, title)
        found.users += 1
    return found


def precision_for(path: Path) -> str:
    """The precision in which the network at `path` is built; see `open_plan`."""
    record = read_record(path)
    return "fp16" if record is None or record.precision == TUNED else record.precision


class PlanTensors:
    """A `DeviceTensors`.

    Attributes:
        tensors: every input and output by name.
        memory: in which the context computes; None where it needs none.
    """

    def __init__(
        self,
        plan: LoadedPlan,
        device: Device,
        shapes: Mapping[str, tuple[int, ...]],
        outputs: Sequence[str],
        turns: PlanTensors | None = None,
    ) -> None:
        """Make an execution context and its memory; the device's context is current.

        Args:
            plan: of `open_plan` or `open_graph_plan`; released when this is closed.
            device: whose memory is used.
            shapes: of every input, and of outputs where they are known.
            outputs: their names.
            turns: see `Device.open_network`.

        Raises:
            EngineError: too little memory, the plan does not serve the shapes, or is not one of ours.
        """
        self._plan: LoadedPlan | None = plan
        self._device = device
        self._arrays: list[DeviceArray] = []
        self.memory: DeviceArray | None = None
        self._context: Any = None
        self._jit: Any = None
        self._jit_saved = b""
        self._recordable = True
        self.name = f"{plan.title} on {device.name}"
        try:
            engine = plan.engine
            dtype = _dtype_of(engine, plan.title, {*shapes, *outputs})
            with _lock:  # nothing says that several threads may make contexts of one engine
                self._context, self._jit = plan.library.make_context(engine, _jit_path(plan))
            for name, wanted in shapes.items():
                if name not in outputs:
                    self._fit_shape(engine, name, wanted)
            self._give_memory(engine, None if turns is None else turns.memory)
            self.tensors = {
                name: self._bind(name, shapes.get(name), dtype) for name in dict.fromkeys((*shapes, *outputs))
            }
        except BaseException:
            self.close()
            raise

    def enqueue(self, cuda_stream: int) -> None:
        """Run on a stream; does not block.

        Raises:
            CaptureRefused: the stream is being recorded and this network cannot be.
            EngineError: the library refuses.
        """
        if self._context is None:
            raise EngineError("the network is closed")
        said = 0 if self._plan is None else self._plan.library.errors_said
        if not self._context.execute_async_v3(cuda_stream):
            why = "" if self._plan is None else f": {self._plan.library.why(said)}"
            raise EngineError(f"{self.name}: the network could not be started{why}")

    def ask_recordable(self, cuda_stream: int) -> None:
        """Find out whether it can be recorded on a stream that is not being recorded yet.

        TensorRT-RTX says it beforehand; TensorRT leaves it to the driver.
        """
        asks = getattr(self._context, "is_stream_capturable", None)
        self._recordable = asks is None or bool(asks(cuda_stream))

    def check_recordable(self) -> None:
        """Raise CaptureRefused where it cannot be recorded, as far as `ask_recordable` knows."""
        if not self._recordable:
            raise CaptureRefused(f"{self.name} cannot be recorded for this shape")

    def close(self) -> None:
        """Let go of context, memory and plan; may be called twice."""
        if self._plan is None:
            return
        try:
            with self._device.current():  # the cache asks which device it is for
                self._save_jit()
        except EngineError as error:
            log.debug("%s: %s", self.name, error)
        plan: LoadedPlan | None = self._plan
        self._plan = None
        if plan is None:
            raise EngineError("the plan was let go of before")
        try:
            with self._device.current():  # what is freed is freed in its own context, the engine too
                self._context = self._jit = None
                try:
                    while self._arrays:
                        self._device.free(self._arrays.pop())
                finally:
                    plan.release()
                    plan = None
        finally:
            self._context = self._jit = None
            if plan is not None:  # the device is closed already
                plan.release()

    def _fit_shape(self, engine: Any, name: str, wanted: tuple[int, ...]) -> None:
        """Make sure that the context is for the shape; an engine of a range of shapes is told it."""
        built = tuple(engine.get_tensor_shape(name))
        if built == wanted:
            return
        if name != "luma":
            raise EngineError(f"the plan's {name} is {built}, expected {wanted}: it is not one of ours")
        if -1 not in built or not self._profile_set(engine, wanted):
            raise EngineError(f"the plan serves no input of {wanted}: run irchroma engines build --shapes")
        if not self._context.set_input_shape("luma", wanted):
            raise EngineError(f"the plan refuses an input of {wanted}")

    def _profile_set(self, engine: Any, wanted: tuple[int, ...]) -> bool:
        for index in range(engine.num_optimization_profiles):
            low, _, high = (tuple(shape) for shape in engine.get_tensor_profile_shape("luma", index))
            if all(a <= b <= c for a, b, c in zip(low, wanted, high, strict=True)):
                break
        else:
            return False
        queue, mark = self._device.open_queue(), self._device.make_mark()
        try:
            handle: int = queue.handle  # type: ignore[attr-defined]  # only CUDA devices come here
            if not self._context.set_optimization_profile_async(index, handle):
                raise EngineError(f"the plan's profile {index} is refused")
            queue.record(mark)
            mark.wait()
        finally:
            mark.close()
            queue.close()
        return True

    def _give_memory(self, engine: Any, shared: DeviceArray | None) -> None:
        """The context's own memory is one of ours: nothing is allocated when it runs, or is recorded."""
        nbytes = int(engine.device_memory_size_v2)
        if not nbytes:
            return
        if shared is None or shared.nbytes < nbytes:
            shared = self._device.allocate((nbytes,), np.uint8)  # the driver aligns it to 256 bytes
            self._arrays.append(shared)
        self.memory = shared
        self._context.set_device_memory(shared.address, nbytes)

    def _save_jit(self) -> None:
        """Keep the kernels that TensorRT-RTX has compiled, for the next start."""
        path = None if self._jit is None or self._plan is None else _jit_path(self._plan)
        if path is None:
            return
        try:
            compiled = bytes(self._jit.serialize() or b"")
            if compiled and compiled != self._jit_saved:
                write_atomically(path, [compiled])
                self._jit_saved = compiled
        except (OSError, RuntimeError, TypeError) as error:  # without it the next start takes longer
            log.info("%s: %s", path, error)

    def _bind(self, name: str, shape: tuple[int, ...] | None, dtype: Any) -> DeviceArray:
        found = tuple(self._context.get_tensor_shape(name))
        shape = found if shape is None else shape
        if found != shape:
            raise EngineError(f"the plan's {name} is {found}, expected {shape}: it is not one of ours")
        array = self._device.allocate(shape, dtype)
        self._arrays.append(array)
        if not self._context.set_tensor_address(name, array.address):
            raise EngineError(f"the plan refuses memory for {name}")
        return array


class PlanExecution(PlanTensors):
    """A `DeviceNetwork`."""

    def __init__(
        self,
        plan: LoadedPlan,
        device: Device,
        size: tuple[int, int],
        frames: int = 1,
        turns: PlanExecution | None = None,
    ) -> None:
        """See `PlanTensors`.

        Args:
            plan: of `open_plan`; released when this is closed.
            device: whose memory is used.
            size: (H, W) of the input.
            frames: of one call.
            turns: see `Device.open_network`.
        """
        shapes = {name: (frames, depth, *size) for name, depth in _TENSORS.items()}
        super().__init__(plan, device, shapes, ("ycc", "confidence"), turns)
        self.luma, self.ycc, self.confidence = (self.tensors[name] for name in _TENSORS)


def _jit_path(plan: LoadedPlan) -> Path | None:
    """Where TensorRT-RTX's compiled kernels of a plan are kept; None for TensorRT, which has none."""
    runtime, index, path, digest = plan.key
    return path.with_suffix(f".{index}.{digest[:8]}.jit") if runtime == "tensorrt-rtx" else None


def _dtype_of(engine: Any, title: str, expected: set[str]) -> Any:
    """The one type of all tensors; each has its memory bound, so there must be no others."""
    names = {engine.get_tensor_name(index) for index in range(engine.num_io_tensors)}
    if names != expected:
        raise EngineError(
            f"{title}: expected the tensors {', '.join(sorted(expected))}, got {', '.join(sorted(names))}"
        )
    kinds = {engine.get_tensor_dtype(name).name for name in names}
    if len(kinds) > 1 or not kinds <= set(_DTYPES):
        raise EngineError(f"{title}: expected float16 or float32 throughout, got {', '.join(sorted(kinds))}")
    return _DTYPES[kinds.pop()]
