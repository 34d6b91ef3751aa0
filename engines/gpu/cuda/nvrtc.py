"""NVRTC, NVIDIA's run-time compiler, through its C interface: needs a library, neither a toolkit nor a GPU.

Reference: NVRTC documentation 13.0, sections 3.1 (error handling), 3.2 (query), 3.3 (compilation).
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import re
import shutil
from pathlib import Path
from typing import Any

from irchroma.engines.errors import EngineError, EngineUnavailable

NAMES = ("libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so")
_LOCAL = Path("/usr/local")
PACKAGED = ("cu13/lib", "cuda_nvrtc/lib")
"""Where Python packages (nvidia-cuda-nvrtc, and what torch brings) put it, under `nvidia`."""


class Nvrtc:
    """The library, loaded."""

    def __init__(self) -> None:
        """Find and load it.

        Raises:
            EngineUnavailable: it is not here.
        """
        self._library = _load()
        self._library.nvrtcGetErrorString.restype = ctypes.c_char_p
        major, minor = ctypes.c_int(), ctypes.c_int()
        self._check(self._library.nvrtcVersion(ctypes.byref(major), ctypes.byref(minor)))
        self.version = f"{major.value}.{minor.value}"

    def architectures(self) -> tuple[int, ...]:
        """Compute capabilities that it compiles for, such as 90."""
        count = ctypes.c_int()
        self._check(self._library.nvrtcGetNumSupportedArchs(ctypes.byref(count)))
        found = (ctypes.c_int * count.value)()
        self._check(self._library.nvrtcGetSupportedArchs(found))
        return tuple(found)

    def compile(self, text: str, architecture: int, options: tuple[str, ...]) -> bytes:
        """A cubin of CUDA C++ for one compute capability, such as 90.

        Raises:
            EngineError: the text has an error; the message is the compiler's first one.
        """
        program = ctypes.c_void_p()
        source = text.encode()
        self._check(
            self._library.nvrtcCreateProgram(ctypes.byref(program), source, b"kernels.cu", 0, None, None)
        )
        try:
            words = [word.encode() for word in (*options, f"--gpu-architecture=sm_{architecture}")]
            status = self._library.nvrtcCompileProgram(
                program, len(words), (ctypes.c_char_p * len(words))(*words)
            )
            if status:
                said = self._text(program, "ProgramLog").decode(errors="replace").splitlines()
                first = next((line for line in said if "error" in line), self._error(status))
                raise EngineError(f"nvrtc {self.version} refuses the kernels: {first.strip()}")
            return self._text(program, "CUBIN")
        finally:
            self._library.nvrtcDestroyProgram(ctypes.byref(program))

    def _text(self, program: Any, what: str) -> bytes:
        size = ctypes.c_size_t()
        self._check(getattr(self._library, f"nvrtcGet{what}Size")(program, ctypes.byref(size)))
        text = ctypes.create_string_buffer(size.value)
        self._check(getattr(self._library, f"nvrtcGet{what}")(program, text))
        return text.raw

    def _check(self, status: int) -> None:
        if status:
            raise EngineError(f"nvrtc fails: {self._error(status)}")

    def _error(self, status: int) -> str:
        return bytes(self._library.nvrtcGetErrorString(status)).decode()


def nvrtc_here() -> bool:
    """Whether the library can be found and loaded."""
    try:
        _load()
    except EngineUnavailable:
        return False
    return True


def packaged_folders() -> list[Path]:
    """The folders `nvidia` of installed Python packages."""
    spec = importlib.util.find_spec("nvidia")
    return [Path(place) for place in (spec.submodule_search_locations or [])] if spec else []


def toolkits() -> list[Path]:
    """Where CUDA toolkits may be: `$CUDA_HOME`, `$CUDA_PATH`, around nvcc on PATH, and below /usr/local,
    of those the newest first."""
    homes = [Path(os.environ[name]) for name in ("CUDA_HOME", "CUDA_PATH") if os.environ.get(name)]
    nvcc = shutil.which("nvcc")
    homes += [Path(nvcc).resolve().parent.parent] if nvcc else []
    versions = sorted(_LOCAL.glob("cuda-*.*"), key=_version_of, reverse=True)
    return [*homes, _LOCAL / "cuda", *versions]


def _version_of(folder: Path) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", folder.name)]


def _load() -> Any:
    folders = [folder / part for folder in packaged_folders() for part in PACKAGED]
    # The loader need not know of a toolkit whose nvcc is on PATH.
    installed = [home / part for home in toolkits() for part in ("lib64", "lib")]
    tried, last = ([str(folder / name) for folder in some for name in NAMES] for some in (folders, installed))
    for name in (*tried, *NAMES, *last):
        if "/" in name and not Path(name).is_file():
            continue
        try:
            # It opens this one by its name, and the package of CUDA 13.0 does not say that it is beside it.
            for part in Path(name).parent.glob("libnvrtc-builtins.so.*") if "/" in name else ():
                ctypes.CDLL(str(part))
            return ctypes.CDLL(name)
        except OSError:
            continue
    raise EngineUnavailable("no NVRTC here: run pip install 'irchroma[cuda-compiler]'")
