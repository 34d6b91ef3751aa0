"""How busy GPUs are, told by stand-ins: a library with NVML's calls, and files as Linux has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from irchroma.engines.gpu import load
from irchroma.engines.gpu.load import GpuLoad, gpu_loads, of_nvml, of_system

NOT_SUPPORTED = 3  # nvmlReturn_t


class Library:
    """NVML with one whole GPU, and a second one that is divided (MIG), whose load nobody knows."""

    def nvmlDeviceGetCount_v2(self, count: Any) -> int:
        count._obj.value = 2
        return 0

    def nvmlDeviceGetHandleByIndex_v2(self, index: Any, device: Any) -> int:
        device._obj.value = 100 + index.value
        return 0

    def nvmlDeviceGetName(self, device: Any, name: Any, size: Any) -> int:
        assert size.value == 96
        name.value = f"GPU of {device.value}".encode()
        return 0

    def nvmlDeviceGetUtilizationRates(self, device: Any, rates: Any) -> int:
        if device.value == 101:
            return NOT_SUPPORTED
        rates._obj.gpu = 37
        return 0

    def nvmlDeviceGetMemoryInfo(self, device: Any, memory: Any) -> int:
        memory._obj.total, memory._obj.free, memory._obj.used = 8 << 30, 6 << 30, 2 << 30
        return 0


class Broken(Library):
    def nvmlDeviceGetCount_v2(self, count: Any) -> int:
        return 999


def test_a_driver_is_asked_and_what_it_does_not_know_is_not_zero() -> None:
    whole, divided = of_nvml(Library())
    assert whole == GpuLoad("GPU of 100", 0.37, 2 << 30, 8 << 30)
    assert (divided.busy, divided.used_bytes) == (None, 2 << 30)
    assert of_nvml(Broken()) == []


def test_the_kernels_files_are_read(tmp_path: Path) -> None:
    assert of_system(tmp_path) == []
    card = tmp_path / "class/drm/card1/device"
    card.mkdir(parents=True)
    (card / "gpu_busy_percent").write_text("64\n")
    (card / "mem_info_vram_used").write_text("1000\n")
    (card / "mem_info_vram_total").write_text("4000\n")
    assert of_system(tmp_path) == [GpuLoad("AMD GPU", 0.64, 1000, 4000)]
    (card / "gpu_busy_percent").write_text("busy\n")
    assert of_system(tmp_path) == []
    (tmp_path / "devices/gpu.0").mkdir(parents=True)
    (tmp_path / "devices/gpu.0/load").write_text("250\n")
    assert of_system(tmp_path) == [GpuLoad("Jetson GPU", 0.25)]


def test_a_machine_without_any_tells_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(load, "_nvml", lambda: None)
    monkeypatch.setattr(load, "_SYSTEM", tmp_path)
    assert gpu_loads() == []
    monkeypatch.setattr(load, "_nvml", Library)
    assert len(gpu_loads()) == 2
