"""The kernels as C++ under the compiler's sanitizers: nothing out of bounds, no place in another's way.

What compute-sanitizer's memcheck and racecheck look for on a GPU, as far as it can be looked for without one.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from irchroma.engines.gpu.kernels import host
from irchroma.engines.gpu.kernels.host import SANITIZERS

pytestmark = pytest.mark.timeout(600)  # more than `run` has: a busy machine takes minutes

LIBRARIES = {"address": "libasan.so", "thread": "libtsan.so"}
OPTIONS = {
    "ASAN_OPTIONS": "detect_leaks=0:detect_odr_violation=0",
    "UBSAN_OPTIONS": "print_stacktrace=1",
    "TSAN_OPTIONS": "report_signal_unsafe=0",
}


@pytest.fixture(scope="module", params=SANITIZERS)
def watched(request: pytest.FixtureRequest, built_kernels: Callable[..., Path]) -> tuple[str, Path]:
    """A sanitizer, and the library of all kernels built for it."""
    return request.param, built_kernels(sanitizer=request.param)


@pytest.mark.slow
def test_frames_at_odd_sizes_give_a_sanitizer_nothing_to_say(watched: tuple[str, Path]) -> None:
    done = run(watched, "tests.engines.gpu.programs.frames", "--device", "cpu", "--sizes", "67x45,80x50")
    said = done.stderr + done.stdout
    assert done.returncode in (0, 66), said[
        -3000:
    ]  # 66: races, perhaps in libraries that are not built for this
    assert "AddressSanitizer" not in said, said[-3000:]
    assert "runtime error" not in said, said[-3000:]
    reports = [
        part
        for part in said.split("WARNING: ThreadSanitizer")[1:]
        if watched[1].name in part.split("=====")[0]
    ]
    assert not reports, reports[0][:3000]
    # A size that encoders take, whole and by half of no whole blocks of threads.
    assert "80x50, packs True, searches, stays, with a reference" in done.stdout


@pytest.mark.slow
def test_the_sanitizers_find_a_kernel_that_is_wrong(watched: tuple[str, Path]) -> None:
    """Or their silence would mean nothing: one column too many, and all places in one."""
    done = run(watched, "tests.engines.gpu.programs.wrong_kernel")
    assert {"address": "heap-buffer-overflow", "thread": "data race"}[watched[0]] in done.stderr, done.stderr[
        -2000:
    ]


def run(watched: tuple[str, Path], module: str, *words: str) -> subprocess.CompletedProcess[str]:
    sanitizer, built = watched
    compiler = host.compiler()
    assert compiler is not None
    # With the C++ library before it, or the sanitizer does not find what it is to stand before
    # (`__cxa_throw`).
    libraries = [_library(compiler, LIBRARIES[sanitizer]), _library(compiler, "libstdc++.so.6")]
    environment = {**os.environ, **OPTIONS, "LD_PRELOAD": " ".join(libraries), "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-m", module, *words, "--sanitizer", sanitizer, "--built", str(built)]
    return subprocess.run(
        command, env=environment, capture_output=True, encoding="utf-8", errors="replace", timeout=500
    )


def _library(compiler: str, name: str) -> str:
    asked = [compiler, f"-print-file-name={name}"]
    path = Path(
        subprocess.run(
            asked, capture_output=True, encoding="utf-8", errors="replace", check=True
        ).stdout.strip()
    )
    if not path.is_absolute():
        pytest.skip(f"the compiler has no {name}")
    return str(path.resolve())
