"""What the doctor says of the GPU path: the device, PyCUDA, and a compiler for the kernels."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from irchroma.engines.errors import EngineError
from irchroma.engines.gpu import probe
from irchroma.engines.gpu.cuda.compile import Nvrtc, find_nvcc, nvcc_version
from irchroma.stream.survey import Finding

_GROUP = "GPU"


def inspect_gpu_path() -> list[Finding]:
    """Three lines; none of it is needed, and nothing of CUDA is started."""
    return [_device(), _pycuda(), _compiler()]


def _device() -> Finding:
    found = probe.device_at()
    if found is None:
        return Finding(
            _GROUP, "CUDA device 0", False, False, "none; --device cpu is what --device auto takes"
        )
    detail = f"{found.name}, compute capability {found.compute_capability}, driver for CUDA {found.driver}"
    return Finding(_GROUP, "CUDA device 0", True, False, f"{detail} (this path was never run on a GPU)")


def _pycuda() -> Finding:
    name = "pycuda, for TensorRT to run"
    if find_spec("pycuda") is None:
        mend = "pip install 'irchroma[pycuda]' (needs a CUDA toolkit)"
        return Finding(_GROUP, name, False, False, "not installed", mend)
    try:
        return Finding(_GROUP, name, True, False, version("pycuda"))
    except PackageNotFoundError:
        return Finding(_GROUP, name, True, False, "installed, version unknown")


def _compiler() -> Finding:
    name = "compiler for CUDA kernels"
    nvcc = find_nvcc()
    try:
        if nvcc is not None:
            return Finding(_GROUP, name, True, False, f"nvcc {nvcc_version(nvcc)}, {nvcc}")
        return Finding(_GROUP, name, True, False, f"nvrtc {Nvrtc().version}")
    except EngineError as error:
        return Finding(_GROUP, name, False, False, str(error), "pip install 'irchroma[cuda-compiler]'")
