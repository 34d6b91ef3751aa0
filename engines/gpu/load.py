"""How busy this machine's GPUs are, as their drivers say it: NVML, or Linux's own files of AMD and Jetson."""

from __future__ import annotations

import ctypes
import threading
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

_NAME_BYTES = 96  # nvml.h: NVML_DEVICE_NAME_V2_BUFFER_SIZE
_SYSTEM = Path("/sys")
_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class GpuLoad:
    """One GPU, now.

    Attributes:
        name: as the driver says it.
        busy: share of the last moment in which something ran on it, 0 to 1; None where it is not told, as
            of a part of a GPU (MIG).
        used_bytes, total_bytes: of its memory; None where it has none of its own.
    """

    name: str
    busy: float | None
    used_bytes: int | None = None
    total_bytes: int | None = None


class _Utilization(ctypes.Structure):
    _fields_ = [("gpu", ctypes.c_uint), ("memory", ctypes.c_uint)]


class _Memory(ctypes.Structure):
    _fields_ = [("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong)]


def gpu_loads() -> list[GpuLoad]:
    """Of every GPU whose driver tells it; empty where there is none. Any thread; some 0.1 ms."""
    library = _nvml()
    return (of_nvml(library) if library is not None else []) or of_system(_SYSTEM)


@cache
def _nvml() -> Any:
    """NVIDIA's management library, begun; None without its driver."""
    try:
        library = ctypes.CDLL("libnvidia-ml.so.1")
        return library if library.nvmlInit_v2() == 0 else None
    except (OSError, AttributeError):
        return None


def of_nvml(library: Any) -> list[GpuLoad]:
    """What NVML says.

    Reference: NVML API Reference Guide, nvmlDeviceGetUtilizationRates, nvmlDeviceGetMemoryInfo.
    """
    count, found = ctypes.c_uint(), []
    with _lock:
        if library.nvmlDeviceGetCount_v2(ctypes.byref(count)):
            return []
        for index in range(count.value):
            device, name = ctypes.c_void_p(), ctypes.create_string_buffer(_NAME_BYTES)
            if library.nvmlDeviceGetHandleByIndex_v2(ctypes.c_uint(index), ctypes.byref(device)):
                continue
            library.nvmlDeviceGetName(device, name, ctypes.c_uint(_NAME_BYTES))
            rates, memory = _Utilization(), _Memory()
            told = library.nvmlDeviceGetUtilizationRates(device, ctypes.byref(rates)) == 0
            has = library.nvmlDeviceGetMemoryInfo(device, ctypes.byref(memory)) == 0
            found.append(
                GpuLoad(
                    name.value.decode("utf-8", "replace"),
                    rates.gpu / 100 if told else None,
                    memory.used if has else None,
                    memory.total if has else None,
                )
            )
    return found


def of_system(system: Path) -> list[GpuLoad]:
    """What the kernel's own files say: amdgpu's of each card, and that of a Jetson's GPU.

    Args:
        system: `/sys`.

    Reference: Linux, Documentation/gpu/amdgpu/thermal.rst (gpu_busy_percent, percent) and driver-misc.rst
    (mem_info_vram_used, mem_info_vram_total, bytes); L4T's nvgpu (load, thousandths).
    """
    found = []
    for file in sorted(system.glob("class/drm/card[0-9]*/device/gpu_busy_percent")):
        busy = _number(file)
        if busy is not None:
            used, total = (_number(file.with_name(f"mem_info_vram_{which}")) for which in ("used", "total"))
            found.append(GpuLoad("AMD GPU", busy / 100, used, total))
    for place in ("devices/gpu.0/load", "devices/platform/gpu.0/load"):
        load = _number(system / place)
        if load is not None:
            return [*found, GpuLoad("Jetson GPU", load / 1000)]
    return found


def _number(file: Path) -> int | None:
    try:
        return int(file.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
