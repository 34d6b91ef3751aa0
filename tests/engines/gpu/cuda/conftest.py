"""A stand-in for the driver, and programs for which it is the driver."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from irchroma.engines.gpu.cuda.driver import CudaDriver, KernelModule
from irchroma.engines.gpu.kernels import host as kernel_host

LAZILY = """
import ctypes, os, runpy, sys
ctypes.CDLL("libcuda.so.1", ctypes.RTLD_GLOBAL)
sys.setdlopenflags(os.RTLD_LAZY | os.RTLD_GLOBAL)
sys.argv = sys.argv[1:]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""
"""PyCUDA's module names more functions than the stand-in has: each is looked for when it is called."""


@pytest.fixture(scope="session")
def stand_in(tmp_path_factory: pytest.TempPathFactory, built_kernels: Callable[..., Path]) -> Path:
    """The folder of `driver.so` and `kernels.so`.

    Under another name than the driver's, or this process would have a GPU for all tests that come after.
    """
    compiler = kernel_host.compiler()
    if compiler is None:
        pytest.skip("no C++ compiler on this machine: install g++")
    folder = tmp_path_factory.mktemp("driver")
    made, source = folder / "driver.so", Path(__file__).with_name("driver_stand_in.cpp")
    words = [compiler, "-std=c++17", "-O1", "-fPIC", "-shared", "-o", str(made), str(source), "-ldl"]
    subprocess.run(words, check=True)
    shutil.copy(built_kernels(), folder / "kernels.so")
    return folder


@pytest.fixture
def over_stand_in(stand_in: Path, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a program of `tests.engines.gpu`, for which the stand-in is the driver."""
    (tmp_path / "libcuda.so.1").symlink_to(stand_in / "driver.so")

    def run(module: str, words: str, fails: str = "", when: str = "late") -> subprocess.CompletedProcess[str]:
        environment = {
            **os.environ,
            "LD_LIBRARY_PATH": f"{tmp_path}:{os.environ.get('LD_LIBRARY_PATH', '')}",
            "XDG_CACHE_HOME": str(stand_in),  # kernels are compiled once
            "STAND_IN_KERNELS": str(stand_in / "kernels.so"),
            "STAND_IN_FAILS": fails,
            "STAND_IN_WHEN": when,
        }
        program = [sys.executable, "-c", LAZILY, f"tests.engines.gpu.{module}", *words.split()]
        done = subprocess.run(
            program, env=environment, capture_output=True, encoding="utf-8", errors="replace", timeout=100
        )
        if "pycuda does not load" in done.stderr:
            pytest.skip(done.stderr.splitlines()[-1])
        return done

    return run


CUBIN = b"\x7fELF, says the stand-in, will do"


class Desk:
    """The driver with a current context and a stream."""

    def __init__(self, folder: Path) -> None:
        self.library = ctypes.CDLL(str(folder / "driver.so"))
        self.driver = CudaDriver(str(folder / "driver.so"))
        self.driver.set_current(self.driver.retain_primary(0))
        self.stream = self.driver.make_stream()
        self.kernels = KernelModule(self.driver, CUBIN)

    def left(self) -> list[int]:
        found = (ctypes.c_int * 8)()
        self.library.stand_in_left(found)
        return list(found)

    def close(self) -> None:
        self.kernels.close()
        self.kernels.close()
        self.driver.destroy_stream(self.stream)
        self.driver.release_primary(0)
        self.driver.pop_context()


@pytest.fixture
def desk(stand_in: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    monkeypatch.setenv("STAND_IN_KERNELS", str(stand_in / "kernels.so"))
    made = Desk(stand_in)
    yield made
    monkeypatch.delenv("STAND_IN_FAILS", raising=False)
    made.close()
    assert made.left() == [0] * 8
