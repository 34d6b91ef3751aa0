"""The kernels compile for every GPU that the compilers know, on a machine without one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from irchroma.engines import cache
from irchroma.engines.errors import EngineError, EngineOptionError, EngineUnavailable
from irchroma.engines.gpu.cuda import compile
from irchroma.engines.gpu.cuda.compile import (
    ARCHITECTURES,
    OPTIONS,
    compile_ahead,
    find_nvcc,
    nvcc_architectures,
)
from irchroma.engines.gpu.cuda.nvrtc import Nvrtc, packaged_folders, toolkits
from irchroma.engines.gpu.kernels.source import FILES, UNIT, kernel_names

ELF = b"\x7fELF"


def the_first(capability: str, cache: Path) -> compile.KernelBinary:
    return next(compile.kernel_binaries(capability, cache))


@pytest.fixture(scope="module")
def nvcc() -> Path:
    found = find_nvcc()
    if found is None:
        pytest.skip("no nvcc here: pip install 'irchroma[cuda-compiler]'")
    return found


@pytest.fixture(scope="module")
def nvrtc() -> Nvrtc:
    try:
        return Nvrtc()
    except EngineUnavailable as error:
        pytest.skip(str(error))


@pytest.fixture
def one_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels of one file in place of all: which compiler is asked, and when, is the same."""
    monkeypatch.setattr(compile, "UNIT", f'#include "{FILES[0]}"\n')
    monkeypatch.setattr(compile_ahead, "__defaults__", (compile.UNIT,))


def test_of_toolkits_the_newest_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("irchroma.engines.gpu.cuda.nvrtc._LOCAL", tmp_path)
    for version in ("9.2", "13.0", "12.10", "12.8"):
        (tmp_path / f"cuda-{version}").mkdir()
    names = [place.name for place in toolkits() if place.parent == tmp_path]
    assert names == ["cuda", "cuda-13.0", "cuda-12.10", "cuda-12.8", "cuda-9.2"]


@pytest.mark.slow
@pytest.mark.timeout(600)  # every architecture in one call, over 120 s on a busy machine
def test_nvcc_compiles_all_kernels_for_turing_to_blackwell(
    nvcc: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = nvcc_architectures(nvcc)
    assert set(known) >= set(ARCHITECTURES) - {100, 103, 110, 120, 121}  # CUDA 12 knows no or few Blackwells
    path = compile.build_ahead(tmp_path)
    made = path.read_bytes()
    # A machine without a compiler takes it for every GPU that it serves, and no other.
    monkeypatch.setattr(compile, "find_nvcc", lambda: pytest.fail("it was there"))
    for capability in ("7.5", "8.0", "8.7", "8.9", "9.0"):
        found = the_first(capability, tmp_path)
        assert found.code == made
        assert found.compiler == f"{path.name}, compiled ahead"
    for capability in ("7.0", "7.2"):
        with pytest.raises(pytest.fail.Exception):
            the_first(capability, tmp_path)
    assert made.count(ELF) == len(known)
    for name in kernel_names():
        assert made.count(name.encode()) >= len(known)


@pytest.mark.parametrize(
    ("served", "runs", "refused"),
    [
        ("75-80-86-89-90", ("7.5", "8.0", "8.6", "8.9", "9.0"), ("8.7", "7.2", "10.0", "11.0")),
        ("86-87", ("8.6", "8.7", "8.9"), ("8.0", "7.5")),
        ("100-110-120", ("10.0", "10.3", "11.0", "12.0", "12.1"), ("10.1", "9.0")),
        ("87", ("8.7",), ("8.6", "8.9")),
    ],
)
def test_code_of_desktops_and_of_jetsons_is_not_exchanged(
    served: str, runs: tuple[str, ...], refused: tuple[str, ...], tmp_path: Path
) -> None:
    path = tmp_path / f"kernels-{compile.sources_digest()}.sm_{served}.fatbin"
    path.write_bytes(ELF)
    for capability in runs:
        assert compile._ahead(tmp_path, int(capability.replace(".", ""))) == path, capability
    for capability in refused:
        assert compile._ahead(tmp_path, int(capability.replace(".", ""))) is None, capability


def test_a_toolkit_in_a_folder_of_somebody_elses_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, stat = tmp_path / "theirs", os.stat

    def refuse(path: Any, *more: Any, **named: Any) -> os.stat_result:
        if str(path).startswith(str(home)):
            raise PermissionError(13, "Permission denied", str(path))
        return stat(path, *more, **named)

    monkeypatch.setattr(compile.shutil, "which", lambda name: None)
    monkeypatch.setenv("CUDA_HOME", str(home))
    monkeypatch.setattr(os, "stat", refuse)
    found = find_nvcc()
    assert found is None or home not in found.parents


def test_a_syntax_error_is_told_in_one_line(nvcc: Path) -> None:
    with pytest.raises(EngineError, match=r"kernels.cu.*error.*nonsense"):
        compile_ahead(nvcc, [90], f'#include "{FILES[0]}"\nint broken = nonsense;\n')


def test_nvrtc_compiles_all_kernels_without_a_toolkit(nvrtc: Nvrtc) -> None:
    assert 90 in nvrtc.architectures()
    made = nvrtc.compile(UNIT, 90, OPTIONS)
    assert made.startswith(ELF)
    assert all(name.encode() in made for name in kernel_names())
    with pytest.raises(EngineError, match="nonsense"):
        nvrtc.compile("__device__ int broken() { return nonsense; }", 90, OPTIONS)


@pytest.mark.parametrize("place", ["nvidia/cu13/lib", "cuda-13.0/lib64", "home/lib64", "linked/lib"])
def test_nvrtc_compiles_where_it_does_not_say_where_its_parts_are(
    nvrtc: Nvrtc, tmp_path: Path, place: str
) -> None:
    """As CUDA 13.0's package, of which torch 2.11 brings one: no RPATH, and its built-in functions beside it.

    Or in a toolkit that the loader does not know.
    """
    lies = next((one / "cu13" / "lib" for one in packaged_folders() if (one / "cu13" / "lib").is_dir()), None)
    if lies is None:
        pytest.skip("no package of NVRTC here")
    folder = tmp_path / place
    folder.mkdir(parents=True)
    for part in lies.glob("libnvrtc*"):
        (folder / part.name).write_bytes(part.read_bytes().replace(b"$ORIGIN\0", b"/absent\0"))
    program = (
        "from pathlib import Path; from irchroma.engines.gpu.cuda import compile, nvrtc; "
        f"nvrtc.packaged_folders = lambda: [Path({str(tmp_path / 'nvidia')!r})]; "
        f"nvrtc._LOCAL = Path({str(tmp_path)!r}); "
        "print(len(nvrtc.Nvrtc().compile(compile.UNIT, 90, compile.OPTIONS)))"
    )
    linked = tmp_path / "linked" / "bin" / "nvcc"
    linked.parent.mkdir(parents=True)
    linked.touch(0o755)
    (tmp_path / "nvcc").symlink_to(linked)
    environment = {**os.environ, "LD_LIBRARY_PATH": "", "CUDA_HOME": str(tmp_path / "home"), "CUDA_PATH": ""}
    environment["PATH"] = f"{tmp_path}:{os.environ['PATH']}"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 100_000


@pytest.mark.usefixtures("one_file")
def test_the_binary_of_a_device_is_cached_and_made_anew_for_other_sources(
    nvcc: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = the_first("9.0", tmp_path)
    again = the_first("9.0", tmp_path)
    assert again.code == first.code
    assert again.compiler == f"{first.compiler}, cached"
    sources = tmp_path / "sources"
    shutil.copytree(compile.FOLDER, sources)
    changed = sources / "portable.h"
    changed.write_text(changed.read_text() + "// changed\n")
    monkeypatch.setattr(compile, "FOLDER", sources)
    assert not the_first("9.0", tmp_path).compiler.endswith("cached")


@pytest.mark.usefixtures("one_file")
def test_a_binary_that_a_driver_refuses_is_compiled_anew_when_no_other_is_left(
    nvcc: Path, nvrtc: Nvrtc, tmp_path: Path
) -> None:
    """Damaged, say: it was taken from the cache at each start. One that is too new for a driver is not made
    again at each start where the other compiler's does."""
    assert len(list(compile.kernel_binaries("8.9", tmp_path))) == 2
    for path in tmp_path.iterdir():
        path.write_bytes(b"damaged")
    found = list(compile.kernel_binaries("8.9", tmp_path))
    assert [one.compiler.endswith("cached") for one in found] == [True, True, False, False]
    assert [one.compiler.split()[0] for one in found] == ["nvcc", "nvrtc"] * 2
    assert not any(b"damaged" in path.read_bytes() for path in tmp_path.iterdir())


@pytest.mark.usefixtures("one_file")
def test_nvrtc_compiles_anew_where_nvcc_cannot(
    nvcc: Path, nvrtc: Nvrtc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> bytes:
        raise EngineError("no space left on device")

    assert len(list(compile.kernel_binaries("8.9", tmp_path))) == 2
    monkeypatch.setattr(compile, "compile_ahead", full)
    found = [one.compiler for one in compile.kernel_binaries("8.9", tmp_path)]
    assert [one.split()[0] for one in found] == ["nvcc", "nvrtc", "nvrtc"]
    assert not found[-1].endswith("cached")


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (FileNotFoundError(2, "No usable temporary directory found in ['/tmp']"), "no usable temporary dir"),
        (OSError(28, "No space left on device"), "no space left on device"),
        (PermissionError(13, "Permission denied", "/tmp/a"), "/tmp/a: permission denied"),
    ],
)
def test_why_nvcc_cannot_compile_is_said(
    fault: OSError, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(**_: object) -> None:
        raise fault

    monkeypatch.setattr(compile.tempfile, "TemporaryDirectory", fails)
    with pytest.raises(EngineError, match=f"nvcc cannot compile: {says}"):
        compile_ahead(tmp_path / "nvcc", [89])


def test_an_nvcc_that_may_not_be_run_is_said(tmp_path: Path) -> None:
    nvcc = tmp_path / "nvcc"
    nvcc.touch(0o600)
    with pytest.raises(EngineError, match="nvcc cannot compile: permission denied"):
        compile_ahead(nvcc, [89])


@pytest.mark.usefixtures("one_file")
def test_nvrtc_stands_in_where_there_is_no_toolkit(
    nvrtc: Nvrtc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compile, "find_nvcc", lambda: None)
    made = the_first("8.9", tmp_path)
    assert made.compiler == f"nvrtc {nvrtc.version}"
    assert made.code.startswith(ELF)


@pytest.mark.usefixtures("one_file")
def test_a_compiler_that_is_asked_for_is_given_or_refused(
    nvcc: Path, nvrtc: Nvrtc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ahead = tmp_path / f"kernels-{compile.sources_digest()}.sm_89.fatbin"
    ahead.write_bytes(ELF)  # not of the one asked for
    for name in ("nvcc", "nvrtc"):
        monkeypatch.setenv("IRCHROMA_KERNELS", name)
        made = list(compile.kernel_binaries("8.9", tmp_path))
        assert [one.compiler.split()[0] for one in made] == [name]
    monkeypatch.setenv("IRCHROMA_KERNELS", "nvcc")
    monkeypatch.setattr(compile, "find_nvcc", lambda: None)
    with pytest.raises(EngineUnavailable, match="asks for nvcc"):
        the_first("8.9", tmp_path)
    monkeypatch.setenv("IRCHROMA_KERNELS", "gcc")
    with pytest.raises(EngineOptionError, match="use nvcc or nvrtc"):
        the_first("8.9", tmp_path)


def test_what_was_compiled_ahead_is_taken_from_a_cache_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a container without a compiler, whose image brought it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    home = cache.cache_folder()
    assert home is not None
    path = home / f"kernels-{compile.sources_digest()}.sm_89.fatbin"
    path.write_bytes(ELF)
    monkeypatch.setattr(cache.os, "access", lambda path, mode: False)
    monkeypatch.setattr(compile, "find_nvcc", lambda: pytest.fail("it was there"))
    assert next(compile.kernel_binaries("8.9")).compiler == f"{path.name}, compiled ahead"


@pytest.mark.usefixtures("one_file")
def test_kernels_that_cannot_be_kept_are_used_all_the_same(
    nvrtc: Nvrtc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(path: Path, parts: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(compile, "write_atomically", full)
    monkeypatch.setattr(compile, "find_nvcc", lambda: None)
    caplog.set_level("INFO")
    assert the_first("8.9", tmp_path).code.startswith(ELF)
    assert "No space left on device" in caplog.text


@pytest.mark.usefixtures("one_file")
def test_nvrtc_stands_in_where_nvcc_has_no_folder_to_work_in(
    nvcc: Path, nvrtc: Nvrtc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(**_: object) -> None:
        raise FileNotFoundError(2, "No usable temporary directory found in ['/tmp']")

    monkeypatch.setattr(compile.tempfile, "TemporaryDirectory", read_only)
    assert the_first("8.9", tmp_path).compiler == f"nvrtc {nvrtc.version}"


def test_a_device_that_the_compiler_does_not_know_is_an_error(nvcc: Path, tmp_path: Path) -> None:
    with pytest.raises(EngineError):
        the_first("3.5", tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_compiler_that_does_not_run_is_said(tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailable, match="does not run"):
        compile.nvcc_version(tmp_path / "nvcc")


def test_the_sources_need_no_cuda_headers(nvcc: Path) -> None:
    """What NVRTC compiles without an include path must not need one."""
    words = [shutil.which("g++") or "g++", "-M", *OPTIONS[1:], "-x", "c++", "-D__CUDACC__", "-"]
    if shutil.which(words[0]) is None:
        pytest.skip("no C++ compiler on this machine: install g++")
    seen = subprocess.run(
        words, input=UNIT, capture_output=True, encoding="utf-8", errors="replace", check=True
    ).stdout
    assert not [word for word in seen.split() if word.startswith("/usr") and "stdc-predef" not in word]
