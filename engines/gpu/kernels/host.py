"""The kernels as plain C++: the same sources built with g++, for the CPU device and against numpy."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from irchroma.engines.errors import EngineUnavailable
from irchroma.engines.gpu.kernels.source import FOLDER, UNIT, ExtentStruct, Launch, kernel_names

FLAGS = (
    "-x", "c++", "-std=c++17", "-O2", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared",
)  # fmt: skip


def compiler() -> str | None:
    """The C++ compiler of `$CXX`, else g++; None where there is none."""
    return shutil.which(os.environ.get("CXX") or "g++")


SANITIZERS = {
    "address": ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g"),
    "thread": ("-fsanitize=thread", "-DTHREADED", "-g"),
}
"""Name -> what the compiler is told: accesses out of bounds; places of one launch that are not apart."""


def build_library(path: Path, backward: bool = False, sanitizer: str = "") -> None:
    """Write all kernels as a shared library, in about two seconds.

    Args:
        path: of the library.
        backward: go over every grid from its end, which must not matter.
        sanitizer: one of SANITIZERS, whose library the process must have been started with (LD_PRELOAD).

    Raises:
        EngineUnavailable: there is no compiler, or it refuses the sources.
    """
    command = compiler()
    if command is None:
        raise EngineUnavailable("no C++ compiler here: install g++, or name one in CXX")
    more = [*(["-DBACKWARD"] if backward else []), *SANITIZERS.get(sanitizer, ())]
    words = [command, *FLAGS, f"-I{FOLDER}", *more, "-o", str(path), "-"]
    done = subprocess.run(words, input=UNIT, capture_output=True, encoding="utf-8", errors="replace")
    if done.returncode:
        first = next((line for line in done.stderr.splitlines() if "error" in line), done.stderr)
        raise EngineUnavailable(f"{command} refuses the kernels: {first.strip()}")


class HostKernels:
    """All kernels as functions of one shared library. `run` blocks, without Python's lock."""

    def __init__(self, backward: bool = False, sanitizer: str = "", built: str | Path | None = None) -> None:
        """Build and load the library; see `build_library`, which may have `built` it already."""
        with tempfile.TemporaryDirectory(prefix="irchroma-kernels-") as folder:
            made = Path(built or Path(folder) / "kernels.so")
            if built is None:
                build_library(made, backward, sanitizer)
            library = ctypes.CDLL(str(made))  # stays loaded when its file goes
        self._functions: dict[str, Any] = {}
        for name in kernel_names():
            self._functions[name] = getattr(library, name)
            self._functions[name].restype = None

    def run(self, work: Launch) -> None:
        """Do it, in the calling thread."""
        self._functions[work.kernel](ExtentStruct(*work.extent), ctypes.byref(work.arguments))
