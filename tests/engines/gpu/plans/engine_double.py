"""Stands in for a loaded TensorRT engine: the calls that `PlanExecution` makes, and what they would refuse.

`compute` does the network's work on the memory that was bound: at once on a CPU, put into the given stream on
a GPU. It keeps the rules that the real one has: memory before work, addresses for all tensors, a profile
before the shape where it has a range of shapes, and no shape told to an engine of one.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

Shape = tuple[int, ...]
Compute = Callable[[dict[str, tuple[int, Shape]], int], None]
"""From each tensor's address and shape, and the CUDA stream."""
PLANES = {"luma": 1, "ycc": 3, "confidence": 1}


class EngineDouble:
    """One shape (N, 1, H, W), or a range where `low` and `high` are two."""

    def __init__(
        self, low: Shape, high: Shape, compute: Compute, dtype: str = "FLOAT", memory: int = 4096
    ) -> None:
        self.low, self.high, self.compute, self.dtype = low, high, compute, dtype
        self.device_memory_size_v2 = memory
        self.num_io_tensors = len(PLANES)
        self.num_optimization_profiles = 1
        self.contexts: list[ContextDouble] = []

    def get_tensor_name(self, index: int) -> str:
        return list(PLANES)[index]

    def get_tensor_dtype(self, name: str) -> Any:
        return SimpleNamespace(name=self.dtype)

    def get_tensor_shape(self, name: str) -> Shape:
        open_sides = (a if a == b else -1 for a, b in zip(self.low, self.high, strict=True))
        n, _, height, width = open_sides
        return n, PLANES[name], height, width

    def get_tensor_profile_shape(self, name: str, index: int) -> tuple[Shape, Shape, Shape]:
        return self.low, self.high, self.high


class ContextDouble:
    def __init__(self, engine: EngineDouble) -> None:
        self.engine = engine
        self.addresses: dict[str, int] = {}
        self.memory = (0, 0)
        self.told: list[str] = []
        self.said: list[str] = []
        self.capturable = True
        self.shape = engine.low if engine.low == engine.high else None
        self.profile: int | None = None
        engine.contexts.append(self)

    def set_device_memory(self, address: int, nbytes: int) -> None:
        assert address % 256 == 0
        assert nbytes >= self.engine.device_memory_size_v2
        self.memory = (address, nbytes)

    def set_optimization_profile_async(self, index: int, stream: int) -> bool:
        self.told.append("profile")
        self.profile = index
        return stream != 0

    def set_input_shape(self, name: str, shape: Shape) -> bool:
        self.told.append("shape")
        if self.profile is None or name != "luma":
            return False
        self.shape = tuple(shape)
        return True

    def get_tensor_shape(self, name: str) -> Shape:
        if self.shape is None:
            return self.engine.get_tensor_shape(name)
        n, _, height, width = self.shape
        return n, PLANES[name], height, width

    def set_tensor_address(self, name: str, address: int) -> bool:
        self.addresses[name] = address
        return name in PLANES

    def is_stream_capturable(self, stream: int) -> bool:
        return self.capturable

    def execute_async_v3(self, stream: int) -> bool:
        if self.engine.device_memory_size_v2 and not self.memory[0]:
            self.said.append("in the library's words")
            return False
        if self.shape is None or set(self.addresses) != set(PLANES):
            return False
        tensors = {name: (self.addresses[name], self.get_tensor_shape(name)) for name in PLANES}
        self.engine.compute(tensors, stream)
        return True


class JitDouble:
    def __init__(self, content: bytes = b"") -> None:
        self.content = content

    def serialize(self) -> bytes:
        return self.content


class LibraryDouble:
    """Its `make_context` is that of `library.TensorRT`."""

    def __init__(self, jit: JitDouble | None = None) -> None:
        self.jit = jit
        self.asked: list[Path | None] = []
        self.said = ["of a tactic in an earlier build"]

    @property
    def errors_said(self) -> int:
        return len(self.said)

    def why(self, since: int) -> str:
        return " ".join(self.said[since:])

    def make_context(self, engine: EngineDouble, jit_cache: Path | None) -> tuple[ContextDouble, Any]:
        self.asked.append(jit_cache)
        kind = GraphContextDouble if isinstance(engine, GraphDouble) else ContextDouble
        context = kind(engine)
        context.said = self.said
        return context, self.jit


class GraphDouble(EngineDouble):
    """Several inputs and outputs, each of one shape."""

    def __init__(self, shapes: dict[str, Shape], compute: Compute) -> None:
        super().__init__(shapes["luma"], shapes["luma"], compute)
        self.shapes, self.num_io_tensors = shapes, len(shapes)

    def get_tensor_name(self, index: int) -> str:
        return list(self.shapes)[index]

    def get_tensor_shape(self, name: str) -> Shape:
        return self.shapes[name]


class GraphContextDouble(ContextDouble):
    """Of a `GraphDouble`."""

    engine: GraphDouble

    def get_tensor_shape(self, name: str) -> Shape:
        return self.engine.shapes[name]

    def set_tensor_address(self, name: str, address: int) -> bool:
        self.addresses[name] = address
        return name in self.engine.shapes

    def execute_async_v3(self, stream: int) -> bool:
        shapes = self.engine.shapes
        if not self.memory[0] or set(self.addresses) != set(shapes):
            return False
        self.engine.compute({name: (self.addresses[name], shapes[name]) for name in shapes}, stream)
        return True
