"""The CUDA kernels as machine code: by nvcc where a toolkit is, by NVRTC otherwise; compiled once, cached.

Whoever wants them takes the first of `kernel_binaries` that the driver loads.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from irchroma.engines.cache import cache_folder, cache_home, readable, write_atomically
from irchroma.engines.errors import EngineError, EngineOptionError, EngineUnavailable
from irchroma.engines.gpu.cuda.nvrtc import Nvrtc, nvrtc_here, packaged_folders, toolkits
from irchroma.engines.gpu.kernels.source import FOLDER, UNIT

log = logging.getLogger(__name__)

ARCHITECTURES = (75, 80, 86, 87, 89, 90, 100, 103, 110, 120, 121)
"""Turing to Blackwell, Orin and Thor among them."""
TEGRA = (72, 87, 101, 110)
"""Xavier, Orin, Thor (101 before CUDA 13): "binary compatibility is not supported between desktop and Tegra"
(CUDA C++ Programming Guide, binary compatibility)."""
OPTIONS = ("--fmad=false", "-std=c++17", f"-I{FOLDER}")
"""No fused multiply-add, so that the arithmetic is that which is held against the CPU path."""


@dataclass(frozen=True, slots=True)
class KernelBinary:
    """Machine code of all kernels.

    Attributes:
        code: a fat binary (nvcc) or a cubin (NVRTC), as `cuModuleLoadData` takes it.
        compiler: which and which version, for people.
    """

    code: bytes
    compiler: str


def find_nvcc() -> Path | None:
    """The compiler on PATH, in a toolkit (`nvrtc.toolkits`) or in a Python package."""
    on_path = shutil.which("nvcc")
    if on_path is not None:
        return Path(on_path)
    homes = [*toolkits(), *(folder / "cu13" for folder in packaged_folders())]
    # Not `Path.is_file`, which is an error in a folder of somebody else's.
    return next((home / "bin" / "nvcc" for home in homes if os.path.isfile(home / "bin" / "nvcc")), None)


def nvcc_version(nvcc: Path) -> str:
    """Such as `13.0`. Raises EngineUnavailable if it does not run."""
    said = _run([str(nvcc), "--version"])
    return next((word[1:].rpartition(".")[0] for word in said.split() if word.startswith("V")), "unknown")


def nvcc_architectures(nvcc: Path) -> tuple[int, ...]:
    """Those of ARCHITECTURES that this compiler knows."""
    known = _run([str(nvcc), "--list-gpu-code"]).split()
    return tuple(number for number in ARCHITECTURES if f"sm_{number}" in known)


def compile_ahead(nvcc: Path, architectures: Sequence[int], unit: str = UNIT) -> bytes:
    """A fat binary for those compute capabilities; takes some seconds for each.

    Args:
        nvcc: of `find_nvcc`.
        architectures: such as 90.
        unit: CUDA C++; by default all kernels.

    Raises:
        EngineError: the text has an error, the message being the compiler's first one; or there is no folder
            to work in, no room there, or a compiler that may not be run.
    """
    try:
        return _compiled_ahead(nvcc, architectures, unit)
    except OSError as error:
        place = f"{error.filename}: " if error.filename not in (None, str(nvcc)) else ""
        why = (error.strerror or str(error)).lower()
        raise EngineError(f"{nvcc} cannot compile: {place}{why}") from error


def _compiled_ahead(nvcc: Path, architectures: Sequence[int], unit: str) -> bytes:
    with tempfile.TemporaryDirectory(prefix="irchroma-kernels-") as folder:
        made, text = Path(folder) / "kernels.fatbin", Path(folder) / "kernels.cu"
        text.write_text(unit, encoding="utf-8")
        # One front end for all: the kernels use nothing that came after the oldest.
        codes = ",".join(f"sm_{number}" for number in architectures)
        target = f"-gencode=arch=compute_{min(architectures)},code=[{codes}]"
        words = [str(nvcc), "--fatbin", "--threads=0", *OPTIONS, target, "-o", str(made), str(text)]
        done = subprocess.run(words, capture_output=True, encoding="utf-8", errors="replace")
        if done.returncode:
            said = (done.stderr or done.stdout).splitlines() or ["it does not say why"]
            raise EngineError(next((line for line in said if "error" in line), said[-1]).strip())
        return made.read_bytes()


def kernel_binaries(compute_capability: str, cache: Path | None = None) -> Iterator[KernelBinary]:
    """All kernels for one device: compiled ahead (`build_ahead`), by nvcc, by NVRTC, or what of that is here.

    IRCHROMA_KERNELS=nvcc or nvrtc asks for one of the two, and nothing that is compiled already by another.

    They differ where a driver is older than one of the compilers: machine code of CUDA 13 is refused by the
    drivers of CUDA 12, while the NVRTC that torch brings suits the driver that torch runs on.

    Args:
        compute_capability: such as `9.0`.
        cache: folder; None for the user's own.

    Raises:
        EngineUnavailable: there is no compiler here.
        EngineError: the last compiler does not know the device, or refuses the kernels.

    Whoever asks for the next one has no use for the one before; in the end what was in the cache is compiled
    anew.
    """
    number = int(compute_capability.replace(".", ""))
    kept = cache or cache_folder()
    folder = kept or cache_home()  # what is there serves, though nothing can be added
    asked = os.environ.get("IRCHROMA_KERNELS", "")
    if asked not in ("", "nvcc", "nvrtc"):
        raise EngineOptionError(f"IRCHROMA_KERNELS is {asked!r}: use nvcc or nvrtc")
    ahead = _ahead(folder, number) if folder and not asked else None
    if ahead is not None:
        yield KernelBinary(ahead.read_bytes(), f"{ahead.name}, compiled ahead")
    refused: list[Callable[[], KernelBinary]] = []
    nvcc = find_nvcc() if asked != "nvrtc" else None
    if asked == "nvcc" and nvcc is None:
        raise EngineUnavailable("IRCHROMA_KERNELS asks for nvcc, and there is none here")
    if nvcc is not None:
        try:
            compiler = f"nvcc {nvcc_version(nvcc)}"
            compiling = partial(compile_ahead, nvcc, [number])
            made, anew = _cached((folder, kept), compiler, number, compiling)
        except EngineError as error:  # such as a device that came after it
            log.info("%s: %s", nvcc, error)
            if asked == "nvcc" or (ahead is None and not nvrtc_here()):
                raise
        else:
            yield made
            refused += anew
    if asked != "nvcc" and (nvcc is None or nvrtc_here()):
        library = Nvrtc()
        compiler = f"nvrtc {library.version}"
        compiling = partial(library.compile, UNIT, number, OPTIONS)
        made, anew = _cached((folder, kept), compiler, number, compiling)
        yield made
        refused += anew
    while refused:
        try:
            made = refused.pop(0)()
        except EngineError as error:
            if not refused:
                raise
            log.info("%s", error)
        else:
            yield made


def build_ahead(cache: Path | None = None) -> Path:
    """Compile the kernels for all of ARCHITECTURES into the cache, for machines without a compiler.

    Such a machine finds the file, whichever compiler wrote it, as long as the kernels' sources are the same.

    Raises:
        EngineUnavailable: there is no nvcc here, or no folder that can be written.
        EngineError: the kernels do not compile.
    """
    nvcc = find_nvcc()
    if nvcc is None:
        raise EngineUnavailable("no nvcc here: run pip install 'irchroma[cuda-compiler]'")
    folder = cache or cache_folder()
    if folder is None:
        raise EngineUnavailable("no folder for kernels can be written: set XDG_CACHE_HOME to one that can")
    numbers = nvcc_architectures(nvcc)
    path = folder / f"kernels-{sources_digest()}.sm_{'-'.join(map(str, numbers))}.fatbin"
    if not path.is_file():
        write_atomically(path, [compile_ahead(nvcc, numbers)])
    return path


def _ahead(folder: Path, number: int) -> Path | None:
    """The file of `build_ahead` that serves a device: machine code runs on later minor versions as well."""
    try:
        found = list(folder.glob(f"kernels-{sources_digest()}.sm_*.fatbin"))
    except OSError:  # another user's
        return None
    for path in found:
        served = [int(word) for word in path.name.split(".sm_")[1].removesuffix(".fatbin").split("-")]
        if any(_runs_on(one, number) for one in served) and readable(path):
            return path
    return None


def _runs_on(code: int, device: int) -> bool:
    """Whether machine code for one compute capability runs on a device of another."""
    if code in TEGRA or device in TEGRA:
        return code == device
    return code // 10 == device // 10 and code <= device


def _cached(
    folders: tuple[Path | None, Path | None], compiler: str, number: int, make: Callable[[], bytes]
) -> tuple[KernelBinary, list[Callable[[], KernelBinary]]]:
    """Of two folders, where it may be and where it can be kept; and what makes it anew where it was there."""
    name = f"kernels-{sources_digest(compiler)}.sm_{number}.bin"
    folder, kept = folders

    def made() -> KernelBinary:
        log.info("compiling the CUDA kernels for sm_%d with %s", number, compiler)
        code = make()
        if kept is not None:
            try:
                write_atomically(kept / name, [code])
            except OSError as error:
                log.info("the kernels are not kept: %s", error)
        return KernelBinary(code, compiler)

    if folder is not None and readable(folder / name):
        return KernelBinary((folder / name).read_bytes(), f"{compiler}, cached"), [made]
    return made(), []


def sources_digest(compiler: str = "") -> str:
    """Of the kernels' sources, how they are compiled and, where it matters, by which compiler."""
    files = sorted(path for path in FOLDER.iterdir() if path.suffix in (".cu", ".h"))
    parts = [compiler, *OPTIONS[:-1], *(path.read_text(encoding="utf-8") for path in files)]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _run(words: list[str]) -> str:
    try:
        return subprocess.run(
            words, capture_output=True, encoding="utf-8", errors="replace", check=True
        ).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise EngineUnavailable(f"{words[0]} does not run: {error}") from error
