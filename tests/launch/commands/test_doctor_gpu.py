"""What the doctor says of the GPU path, with and without its parts."""

from __future__ import annotations

from pathlib import Path

import pytest

from irchroma.engines.gpu.cuda import compile
from irchroma.launch.commands import doctor
from irchroma.launch.commands.doctor import inspect_gpu_path, reference_on_gpu
from irchroma.stream.survey import Finding


def test_device_pycuda_and_compiler_each_have_a_line_and_none_is_needed() -> None:
    found = inspect_gpu_path()
    assert [finding.name for finding in found] == [
        "CUDA device 0",
        "pycuda, for TensorRT to run",
        "compiler for CUDA kernels",
        "engine reference on a GPU",
        "GPU path, measured on",
    ]
    assert not any(finding.needed for finding in found)
    assert all(finding.detail and "\n" not in finding.detail for finding in found)


def test_a_compiler_that_is_here_is_named_with_its_version() -> None:
    nvcc = compile.find_nvcc()
    if nvcc is None:
        pytest.skip("no nvcc here: pip install 'irchroma[cuda-compiler]'")
    finding = inspect_gpu_path()[2]
    assert finding.works
    assert finding.detail == f"nvcc {compile.nvcc_version(nvcc)}, {nvcc}"


def test_a_compiler_that_does_not_run_is_no_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "find_nvcc", lambda: tmp_path / "nvcc")
    finding = inspect_gpu_path()[2]
    assert not finding.works
    assert "does not run" in finding.detail
    assert finding.mend


@pytest.mark.parametrize("library", ["tensorrt", "tensorrt_rtx", None])
@pytest.mark.parametrize("device", [True, False])
def test_the_engine_reference_is_on_a_gpu_where_all_of_its_way_is_here(
    monkeypatch: pytest.MonkeyPatch, library: str | None, device: bool
) -> None:
    monkeypatch.setattr(doctor, "find_spec", lambda name: name if name == library else None)
    parts = [
        Finding("GPU", "CUDA device 0", device, False, ""),
        Finding("GPU", "pycuda, for it", True, False, ""),
    ]
    finding = reference_on_gpu(parts)
    assert finding.works == (device and library is not None)
    assert not finding.needed
    if finding.works:
        assert f"by {library}, where --device 0 asks for it; auto takes the CPU" in finding.detail
    else:
        assert ("CUDA device 0" in finding.detail) != device
        assert ("tensorrt or tensorrt_rtx" in finding.detail) == (library is None)
        assert bool(finding.mend) == (library is None)
