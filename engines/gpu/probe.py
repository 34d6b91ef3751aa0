"""Which CUDA device and driver this machine has, asked from the driver's own library alone."""

from __future__ import annotations

import ctypes
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_MAJOR, _MINOR = 75, 76  # CUdevice_attribute: CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR
_NAME_BYTES = 256
_NO_DEVICE = 100  # CUresult: CUDA_ERROR_NO_DEVICE
_HINTS = {
    34: "this is a stub library that stands in for the driver: install the driver",
    802: "the system is not yet initialized: on machines with NVSwitch start nvidia-fabricmanager",
    803: "its library and the kernel's module differ, as after an update: restart the machine",
    805: "it is to be shared by MPS, whose daemon does not answer: start nvidia-cuda-mps-control -d",
    804: "its library is newer than the kernel's module allows: restart or update the driver",
    999: "restart the machine, or load the module anew",
}
"""CUresult -> what to do. Reference: CUDA Driver API, 6.1, CUresult."""
_said: set[str] = set()

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CudaDevice:
    """A device as plans name it.

    Attributes:
        name: as the driver says it.
        compute_capability: such as `8.9`.
        driver: the newest CUDA version that the driver serves, such as `13.0`.
    """

    name: str
    compute_capability: str
    driver: str


def ask_for_queues() -> None:
    """Have the driver give streams as many hardware queues as it has; for a program to call at its start.

    By default 8 are shared by all streams of a process, and work that waits in one holds up the streams
    behind it: one camera would wait for another's frame. What the user has set stays.

    Reference: CUDA C++ Programming Guide, environment variables, CUDA_DEVICE_MAX_CONNECTIONS (1 to 32).
    """
    os.environ.setdefault("CUDA_DEVICE_MAX_CONNECTIONS", "32")


def device_count() -> int:
    """How many devices there are; 0 without a driver. Makes no CUDA context."""
    count = 0
    while device_at(count) is not None:
        count += 1
    return count


def driver_fault() -> str | None:
    """Why the driver that is here does not work, one line; None where it does, and where there is none."""
    status = _status()[1]
    if status in (0, _NO_DEVICE, None):
        return None
    hint = _HINTS.get(status, "see what nvidia-smi says")
    return f"the NVIDIA driver does not work (CUDA error {status}): {hint}"


def device_at(index: int = 0) -> CudaDevice | None:
    """The device of that index, or None without a driver or such a device. Makes no CUDA context.

    A driver that is here and does not work is said once in the log; see `driver_fault`.

    Reference: CUDA Driver API, sections 6.2 (initialization), 6.3 (version) and 6.5 (devices).
    """
    driver, status = _status()
    if status != 0:
        fault = driver_fault()
        if fault is not None and fault not in _said:
            _said.add(fault)
            log.warning("no GPU is used: %s", fault)
        return None
    device, version, major, minor = ctypes.c_int(), ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
    name = ctypes.create_string_buffer(_NAME_BYTES)
    answers: tuple[Callable[[], Any], ...] = (
        lambda: driver.cuDeviceGet(ctypes.byref(device), index),
        lambda: driver.cuDriverGetVersion(ctypes.byref(version)),
        lambda: driver.cuDeviceGetName(name, _NAME_BYTES, device),
        lambda: driver.cuDeviceGetAttribute(ctypes.byref(major), _MAJOR, device),
        lambda: driver.cuDeviceGetAttribute(ctypes.byref(minor), _MINOR, device),
    )
    if any(answer() for answer in answers):  # each is 0 where it went well; the first failure ends it
        return None
    thousands, rest = divmod(version.value, 1000)
    return CudaDevice(
        name.value.decode(errors="replace"), f"{major.value}.{minor.value}", f"{thousands}.{rest // 10}"
    )


def _status() -> tuple[Any, int | None]:
    """The driver's library and what it says of its start; None and None where there is none."""
    try:
        driver: Any = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None, None
    return driver, int(driver.cuInit(0))
