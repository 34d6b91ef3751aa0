"""Networks of several inputs on a device, for work whose rest stays on the host.

What lasts (a reference's tokens) is copied to the device when it is new and stays there; a frame pays for its
own tensors and the answer, at the size that the network sees. Everything else is where it was: the pictures
are those of the CPU path, but for the device's rounding.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irchroma.engines.errors import EngineError
from irchroma.engines.gpu.device import Device, DeviceTensors, Mark, WorkQueue
from irchroma.engines.network.network import NetworkOptions, Tensor, Tensors

log = logging.getLogger(__name__)

LASTING = ("keys", "values", "scene", "level", "bias", "place", "known", "strength")
"""Inputs that are copied only where they are others than last time, or of other values if small."""
SMALL_BYTES = 16_384
OUTPUTS = {"picture": ("keys", "scene"), "": ("ycc", "confidence")}
"""Of graphs by the end of their file's name."""
MOST_SHAPES = 4
"""For which memory is kept: view and references of usual shapes."""
_Key = tuple[tuple[str, tuple[int, ...]], ...]


class _Held:
    """Memory for inputs of one shape, on the device and pinned."""

    def __init__(self, device: Device, run: DeviceTensors) -> None:
        self.run, self._device = run, device
        self.pinned = {name: device.pinned(one.nbytes) for name, one in run.tensors.items()}
        self.given: dict[str, Tensor] = {}

    def host(self, name: str) -> NDArray[Any]:
        """A tensor's pinned twin under its own shape and type."""
        tensor = self.run.tensors[name]
        return self.pinned[name][: tensor.nbytes].view(tensor.dtype).reshape(tensor.shape)

    def is_there(self, name: str, value: Tensor) -> bool:
        """The device has it from an earlier call."""
        if name not in LASTING or name not in self.given:
            return False
        before = self.given[name]
        return before is value or (value.nbytes <= SMALL_BYTES and np.array_equal(before, value))

    def close(self) -> None:
        with ExitStack() as last_first:
            last_first.callback(self.run.close)
            for host in self.pinned.values():
                last_first.callback(self._device.unpin, host)
            self.pinned.clear()


class DeviceGraph:
    """A `Graph` on a device.

    Attributes:
        copied: how often each input has been copied to the device.
    """

    def __init__(self, path: Path, device: Device, closed: Callable[[DeviceGraph], None]) -> None:
        """Args:
        path: the float32 ONNX file; it is loaded when shapes are known.
        device: stays the caller's.
        closed: told when this is closed.
        """
        self._path, self._device, self._closed = path, device, closed
        self._outputs = next(names for end, names in OUTPUTS.items() if path.stem.endswith(end))
        # A plan that is opened may be built first, for minutes: frames of other shapes go on meanwhile.
        # Whoever needs both takes `_opening` first.
        self._opening, self._lock = threading.Lock(), threading.Lock()
        self._held: OrderedDict[_Key, _Held] = OrderedDict()
        self._queue: WorkQueue | None = device.open_queue()
        self._mark: Mark = device.make_mark()
        self.copied: Counter[str] = Counter()

    @property
    def name(self) -> str:
        """Runtime, precision and device where they are known."""
        with self._lock:
            held = next(iter(self._held.values()), None)
        return held.run.name if held is not None else self._device.name

    def run(self, inputs: Tensors) -> Tensors:
        """See `Graph.run`.

        Raises:
            EngineError: the device fails, or what the encoder says is no number in its precision.
        """
        key = _key_of({name: one.shape for name, one in inputs.items()})
        while True:
            self._open(key)
            with self._lock:
                held = self._held.get(key)
                if held is not None:  # else others' shapes have taken its place meanwhile
                    return _finite(self._answer(held, inputs), inputs)

    def _answer(self, held: _Held, inputs: Tensors) -> Tensors:
        queue = self._queue
        if queue is None:
            raise EngineError("the network is closed")
        self._held.move_to_end(_key_of({name: one.shape for name, one in inputs.items()}))
        for name, value in inputs.items():
            if held.is_there(name, value):
                continue
            held.given.pop(name, None)
            held.host(name)[...] = value
            queue.upload(held.pinned[name], held.run.tensors[name])
            self.copied[name] += 1
        queue.infer(held.run)
        for name in self._outputs:
            queue.download(held.run.tensors[name], held.pinned[name])
        queue.record(self._mark)
        self._mark.wait()
        held.given |= {name: one for name, one in inputs.items() if name in LASTING}
        return {name: held.host(name).astype(np.float32) for name in self._outputs}

    def prepare(self, shapes: dict[str, tuple[int, ...]]) -> None:
        """See `Graph.prepare`: a plan that is not in the cache is built, seconds to minutes."""
        self._open(_key_of(shapes))

    def close(self) -> None:
        """Let go of it, behind a plan that is just being opened; may be called twice."""
        with self._opening, self._lock:
            queue, self._queue = self._queue, None
            if queue is None:
                return
            try:
                with ExitStack() as last_first:
                    last_first.callback(self._closed, self)
                    last_first.callback(self._mark.close)
                    while self._held:
                        last_first.callback(self._held.popitem()[1].close)
                    last_first.callback(queue.close)
            except EngineError as error:  # lost: whoever closes has others to close
                log.debug("closing %s: %s", self._path.stem, error)

    def _is_open(self, key: _Key) -> bool:
        with self._lock:
            if self._queue is None:
                raise EngineError("the network is closed")
            return key in self._held

    def _open(self, key: _Key) -> None:
        """Memory and plan for inputs of these shapes."""
        if self._is_open(key):
            return
        with self._opening:
            if self._is_open(key):
                return
            made = _Held(self._device, self._device.open_graph(self._path, dict(key), self._outputs))
            with self._lock:
                while len(self._held) >= MOST_SHAPES:
                    self._held.popitem(last=False)[1].close()
                self._held[key] = made


def _key_of(shapes: Mapping[str, tuple[int, ...]]) -> _Key:
    return tuple(sorted((name, tuple(shape)) for name, shape in shapes.items()))


def _finite(made: Tensors, inputs: Tensors) -> Tensors:
    """An answer without what overflows float16, which would stay in the color memory for ever: no color, and
    the luma that came, instead, as of `read_output` in prepare.cu."""
    if all(np.isfinite(one.sum()) for one in made.values()):
        return made
    if "ycc" not in made:
        raise EngineError(f"{' and '.join(made)} of the reference overflow the network's precision")
    instead = np.zeros_like(made["ycc"])
    instead[:, :1] = inputs["luma"]
    sure = made["confidence"]
    return {
        "ycc": np.where(np.isfinite(made["ycc"]), made["ycc"], instead),
        "confidence": np.where(np.isfinite(sure), sure, np.float32(0)),
    }


class DeviceGraphNetwork:
    """A `Network` on a device, frame by frame."""

    lanes = best_batch = 1

    def __init__(self, graph: DeviceGraph) -> None:
        self._graph = graph

    @property
    def name(self) -> str:
        return self._graph.name

    def infer(self, luma: Tensor) -> tuple[Tensor, Tensor]:
        made = self._graph.run({"luma": luma})
        return made["ycc"], made["confidence"]

    def close(self) -> None:
        """Let go of it; may be called twice."""
        self._graph.close()


class GraphsOnDevice:
    """Opens networks on one device, which is closed with the last of them."""

    def __init__(self, device: Device) -> None:
        """Args:
        device: this one's to close.
        """
        self.device = device
        self._open: list[DeviceGraph] = []

    def open_graph(self, path: Path, options: NetworkOptions) -> DeviceGraph:
        """As `network.open_graph`; the options are the device's business."""
        made = DeviceGraph(path, self.device, self._note_closed)
        self._open.append(made)
        return made

    def open_network(self, path: Path, options: NetworkOptions) -> DeviceGraphNetwork:
        """As `network.open_network`."""
        return DeviceGraphNetwork(self.open_graph(path, options))

    def _note_closed(self, graph: DeviceGraph) -> None:
        self._open.remove(graph)
        if not self._open:
            self.device.close()
