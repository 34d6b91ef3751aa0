"""A device's context: the calling thread's while something is asked of it, and what breaks it for good."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any

from irchroma.engines.errors import DeviceLost, EngineError

# After these "the CUDA context is in an inconsistent state and any further CUDA work will return the same
# error. To continue using CUDA, the process must be terminated and relaunched" (CUDA Driver API 13.0, 6.1,
# CUresult). With the words in which PyCUDA and torch hand them on: those of `cudaGetErrorString`.
STICKY = {
    214: "uncorrectable ECC error", 220: "uncorrectable NVLink error", 226: "nvlink or a hardware error",
    700: "illegal memory access", 702: "launch timed out", 710: "device-side assert",
    714: "hardware stack error", 715: "illegal instruction", 716: "misaligned address",
    717: "operation not supported on global/shared address space", 718: "invalid program counter",
    719: "launch failure", 721: "tensor memory not completely freed", 810: "MPS client has been terminated",
    999: "unknown error",
}  # fmt: skip
_lost: dict[int, str] = {}


def is_sticky(text: str) -> bool:
    """Whether an error's words are those of one that breaks the context for all of the process."""
    return any(words in text for words in STICKY.values())


def note_lost(index: int, error: BaseException) -> DeviceLost:
    """Remember that a GPU is of no use to this process any more; the error to raise, which says so.

    Every runtime shares the device's primary context: with one of them, all have lost it.
    """
    _lost.setdefault(index, str(error))
    return DeviceLost(f"GPU {index} is lost to this process until you restart irchroma: {_lost[index]}")


def refuse_lost(index: int) -> None:
    """Raise DeviceLost where `note_lost` was told of that GPU: nothing of it is tried again."""
    if index in _lost:
        raise note_lost(index, EngineError(_lost[index]))


class Current:
    """Makes a context the calling thread's within a `with`; one within another asks nothing of the driver.

    One object for all threads. A class, since a frame enters it some twenty times and a generator's `with`
    takes three times as long.
    """

    def __init__(
        self,
        enter: Callable[[], Any],
        leave: Callable[[], None],
        translated: Callable[[BaseException], EngineError | None],
    ) -> None:
        """Args:
        enter: makes it current; what it gives is what `with` gives.
        leave: the reverse.
        translated: another library's error as one of ours; None for what stays as it is.
        """
        self._enter, self._leave, self._translated = enter, leave, translated
        self._here = threading.local()

    def __enter__(self) -> Any:
        here = self._here.__dict__
        depth = here.get("depth", 0)
        if depth == 0:
            try:
                here["given"] = self._enter()
            except Exception as error:
                raise_translated(error, self._translated)
                raise
        here["depth"] = depth + 1
        return here["given"]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        here = self._here.__dict__
        here["depth"] -= 1
        if here["depth"] == 0:
            try:
                self._leave()
            except Exception as failed:
                raise_translated(failed, self._translated)
                raise
        if error is not None:
            raise_translated(error, self._translated)


def raise_translated(error: BaseException, translated: Callable[[BaseException], EngineError | None]) -> None:
    """Raise what an error is in our words; nothing where it stays as it is."""
    told = translated(error)
    if told is not None:
        try:
            raise told from error
        finally:
            # Or it holds this frame and this frame it, and what its callers hold stays until the collector
            # comes: a picture of a lost GPU did, and its context.
            del told
