"""How fast torch runs a network in several ways, and what the device itself can do: what others are held
against.

On the CPU the same calls measure the processor.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from irchroma.engines.errors import EngineError
from irchroma.engines.network.network import NetworkOptions
from irchroma.engines.network.torch_runtime import TorchNetwork
from irchroma.engines.network.weight_storage import float16_twin

WAYS = ("eager fp32", "eager fp16", "compiled fp16")
"""As torch is without any settings of ours: its float32 convolutions may use TF32 on a GPU."""
_COPY_BYTES, _MATRIX = 1 << 30, 8192
_CPU_COPY_BYTES, _CPU_MATRIX = 1 << 26, 512

Call = Callable[[], None]


def missing(index: int) -> str | None:
    """Why nothing can be measured on that CUDA device; None where it can."""
    if not torch.cuda.is_available():
        return f"torch {torch.__version__} sees no CUDA device: a CUDA build of it would"
    if index >= torch.cuda.device_count():
        return f"torch {torch.__version__} sees {torch.cuda.device_count()} CUDA devices, not number {index}"
    return None


def plain_network(path: Path, shape: tuple[int, int, int, int], way: str, device: str) -> Call:
    """One call of a network, put into torch's queue, as torch would run it by itself.

    The graph is traced once to plain torch calls, so that no time of our own reader of ONNX files is in it.

    Args:
        path: the float32 ONNX file; its float16 twin is used for the ways in fp16.
        shape: (N, 1, H, W) of the input.
        way: one of WAYS.
        device: as torch says it.

    Raises:
        EngineError: no such way, or no such file.
    """
    if way not in WAYS:
        raise EngineError(f"no way is called {way!r}: there are {', '.join(WAYS)}")
    half = way.endswith("fp16")
    if not path.is_file():
        raise EngineError(f"{path}: no such network")
    path = float16_twin(path) if half else path
    network = TorchNetwork(path, NetworkOptions(), device)
    luma = torch.rand(shape, dtype=torch.float16 if half else torch.float32, device=device)
    network.run(luma)
    module: Any = make_fx(lambda values: network.run(values))(luma)
    if way.startswith("compiled"):
        module = torch.compile(module)

    def call() -> None:
        with torch.no_grad():
            module(luma)

    return call


def times_ms(call: Call, device: str, seconds: float) -> tuple[list[float], float]:
    """Milliseconds from start to end of single calls, and of each when many are started in a row."""
    for _ in range(3):
        call()
    wait(device)
    single: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(single) < 3:
        began = time.perf_counter()
        call()
        wait(device)
        single.append((time.perf_counter() - began) * 1e3)
    count = max(2, int(seconds / (min(single) / 1e3) / 2))
    began = time.perf_counter()
    for _ in range(count):
        call()
    wait(device)
    return single, (time.perf_counter() - began) / count * 1e3


def wait(device: str) -> None:
    """Until the device has nothing to do."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def copy_gb_s(device: str, seconds: float) -> float:
    """Gigabytes a second, read and written, of a copy within the device."""
    nbytes = _COPY_BYTES if device.startswith("cuda") else _CPU_COPY_BYTES
    source = torch.ones(nbytes, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    _, each_ms = times_ms(lambda: target.copy_(source), device, seconds)
    return 2 * nbytes / each_ms / 1e6


def matrix_tflop_s(device: str, seconds: float, half: bool = True) -> float:
    """10^12 operations a second of a product of square matrices in float16, or float32 without TF32."""
    on_gpu = device.startswith("cuda")
    side = _MATRIX if on_gpu else _CPU_MATRIX
    kind = torch.float16 if half and on_gpu else torch.float32
    first, second = (torch.randn(side, side, device=device, dtype=kind) for _ in range(2))
    target = torch.empty_like(first)
    _, each_ms = times_ms(lambda: torch.mm(first, second, out=target), device, seconds)
    return 2 * side**3 / each_ms / 1e9


def network_cost(path: Path, shape: tuple[int, int, int, int]) -> dict[str, int]:
    """What a network must do at the least, on the CPU to count it.

    Returns:
        `flops` of its convolutions; `bytes` that they read and write, activations and weights, where all that
        lies between two convolutions costs nothing.
    """
    network = TorchNetwork(path, NetworkOptions(), "cpu")
    luma = torch.rand(shape, dtype=torch.float16 if network.half else torch.float32)
    flops, traffic = FlopCounterMode(display=False), _Traffic()
    with flops, traffic:
        network.run(luma)
    return {"flops": int(flops.get_total_flops()), "bytes": traffic.nbytes}


class _Traffic(TorchDispatchMode):  # type: ignore[misc]  # torch is not typed here
    """Adds up what convolutions read and write."""

    def __init__(self) -> None:
        super().__init__()
        self.nbytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        if func in (torch.ops.aten.conv2d.default, torch.ops.aten.convolution.default):
            for tensor in (args[0], args[1], made):
                self.nbytes += tensor.numel() * tensor.element_size()
        return made
