"""A tiny network with the shape of the real ones, made on the spot; and the devices that kernels run on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.engines.on_device import OnDevice
from tests.engines.tiny_network import write_tiny_network

from irchroma.engines.errors import EngineUnavailable
from irchroma.engines.gpu.cpu_device import CpuDevice
from irchroma.engines.gpu.kernels.host import HostKernels


@pytest.fixture(scope="session")
def tiny_network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The path of a tiny ONNX network: input `luma`, outputs `ycc` and `confidence`, all sides dynamic."""
    path = tmp_path_factory.mktemp("network") / "tiny.onnx"
    write_tiny_network(path)
    return path


@pytest.fixture(scope="session")
def backward_kernels(built_kernels: Callable[..., Path]) -> HostKernels:
    """The kernels as plain C++, going over every grid from its end: a kernel that minds the order differs."""
    return HostKernels(built=built_kernels(backward=True))


@pytest.fixture(
    params=[
        "c++",
        "c++ backward",
        pytest.param("pycuda", marks=pytest.mark.gpu),
        pytest.param("torch", marks=pytest.mark.gpu),
    ]
)
def on_device(request: pytest.FixtureRequest) -> Iterator[OnDevice]:
    """Every device that kernels can run on; a new one joins by a line."""
    made: Any
    if request.param in ("pycuda", "torch"):
        made = _on_gpu(request.param)
    else:
        name = "host_kernels" if request.param == "c++" else "backward_kernels"
        made = CpuDevice(kernels=request.getfixturevalue(name))
    desk = OnDevice(made)
    yield desk
    desk.close()


def _on_gpu(name: str) -> Any:
    """The GPU by one of its libraries; a library that is not here is a skip."""
    try:
        if name == "pycuda":
            from irchroma.engines.gpu.cuda.pycuda_device import PyCudaDevice

            return PyCudaDevice(0)
        pytest.importorskip("torch")
        from irchroma.engines.gpu.cuda.torch_device import TorchDevice

        return TorchDevice(0)
    except EngineUnavailable as error:
        pytest.skip(str(error))
