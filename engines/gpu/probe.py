"""Which CUDA device and driver this machine has, asked from the driver's own library alone."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_MAJOR, _MINOR = 75, 76  # CUdevice_attribute: CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR
_NAME_BYTES = 256


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
    """Have the driver give streams as many hardware queues as it has; before the first CUDA context.

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


def device_at(index: int = 0) -> CudaDevice | None:
    """The device of that index, or None without a driver or such a device. Makes no CUDA context.

    The answer None is what tests see; the calls that follow a successful `cuInit` have never run on a GPU.

    Reference: CUDA Driver API, sections 6.2 (initialization), 6.3 (version) and 6.5 (devices).
    """
    ask_for_queues()
    try:
        driver: Any = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    device, version, major, minor = ctypes.c_int(), ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
    name = ctypes.create_string_buffer(_NAME_BYTES)
    answers: tuple[Callable[[], Any], ...] = (
        lambda: driver.cuInit(0),
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
