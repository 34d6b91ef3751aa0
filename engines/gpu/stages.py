"""A frame's stages by name, as ranges of NVTX in a profiler's timeline where IRCHROMA_NVTX is set.

    IRCHROMA_NVTX=1 nsys profile -t cuda,nvtx irchroma run ..

Reference: NVIDIA Tools Extension Library, push/pop ranges; they are a thread's own, and may be nested.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

log = logging.getLogger(__name__)

_NOTHING: AbstractContextManager[Any] = nullcontext()


def _unnamed(name: str) -> AbstractContextManager[Any]:
    return _NOTHING


@contextmanager
def _named(name: str) -> Iterator[None]:
    push, pop = _library()
    push(f"irchroma: {name}")
    try:
        yield
    finally:
        pop()


@functools.cache
def _library() -> tuple[Callable[[str], Any], Callable[[], Any]]:
    """What begins and ends a range: the package `nvtx`, or torch where frames go by it."""
    if importlib.util.find_spec("nvtx") is not None:
        nvtx = importlib.import_module("nvtx")
        return nvtx.push_range, nvtx.pop_range
    torch = sys.modules.get("torch")
    if torch is not None:
        push, pop = torch.cuda.nvtx.range_push, torch.cuda.nvtx.range_pop
        try:
            push("irchroma")
            pop()
        except RuntimeError as error:
            log.debug("torch names no ranges: %s", error)  # it is built without CUDA
        else:
            return push, pop
    log.warning("IRCHROMA_NVTX is set and no NVTX is here: pip install nvtx")
    return lambda name: None, lambda: None


stage = _named if os.environ.get("IRCHROMA_NVTX") else _unnamed
"""What is done within it has that name in a profiler's timeline."""
