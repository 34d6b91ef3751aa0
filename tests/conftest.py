"""Skips for what a machine lacks; a skip is a failure where IRCHROMA_REQUIRE says that it is there."""

import fcntl
import logging
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import BinaryIO

import pytest

# Tests share the cores, and libraries whose threads wait for each other spin: with two threads each, training
# took twice the CPU time of one, and six times as long beside other work. Children have it from here.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# A shell that begins the tests in the background has SIGINT ignored, and so would all that they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

from irchroma.engines.gpu.kernels import host
from irchroma.engines.gpu.kernels.host import HostKernels
from irchroma.stream.errors import StreamError
from irchroma.stream.gstreamer import door

# A machine that is lent for a while may have pytest and none of its plugins (`launch/first_gpu_run`).
pytest_plugins = ["tests.hangs"] if find_spec("pytest_timeout") else []


def _has_gst() -> bool:
    try:
        door.modules()
    except StreamError:
        return False
    return True


def _has_gpu() -> bool:
    return Path("/proc/driver/nvidia/version").exists() or Path("/dev/nvidiactl").exists()


def _has_browser() -> bool:
    return shutil.which("chromium") is not None


def _has_systemd() -> bool:
    return shutil.which("systemd-analyze") is not None


_CHECKS = {"gst": _has_gst, "gpu": _has_gpu, "browser": _has_browser, "systemd": _has_systemd}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # In a row, before others are under way; then the longest, or one worker would end with them, alone.
    items.sort(key=lambda item: (not _is_alone(item), item.get_closest_marker("slow") is None))
    required = {word for word in os.environ.get("IRCHROMA_REQUIRE", "").split(",") if word}
    present = {name: check() for name, check in _CHECKS.items()}
    for item in items:
        for name, here in present.items():
            if item.get_closest_marker(name) and not here and name not in required:
                item.add_marker(pytest.mark.skip(reason=f"no {name} on this machine"))
        # Other processes, sockets and their clocks on a machine that others may use, too: what fails is run
        # once more, and RERUN lines say it. Two in a row are a fault, and so is a line that comes back.
        if item.get_closest_marker("gst") or item.get_closest_marker("browser"):
            item.add_marker(pytest.mark.flaky(reruns=1))


def _is_alone(item: pytest.Item | None) -> bool:
    return item is not None and item.get_closest_marker("alone") is not None


_HERE = Path(__file__)
_held: list[BinaryIO] = []
"""The room, where an alone test has left it to the next one."""


@contextmanager
def _locked(path: Path, how: int = fcntl.LOCK_EX) -> Iterator[None]:
    """While a file is locked; closing it would not do where a forked process still has it."""
    with path.open("rb") as file:
        fcntl.flock(file, how)
        try:
            yield
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)


@contextmanager
def _in_the_empty_room(stays: bool) -> Iterator[None]:
    """While no other worker has a test; `stays`: nor before this worker's next one."""
    if not _held:
        with _locked(_HERE.with_name("waiting.py")):  # who waits for it to be empty lets nobody else in
            room = _HERE.open("rb")
            fcntl.flock(room, fcntl.LOCK_EX)
            _held.append(room)
    try:
        yield
    finally:
        if not stays:
            with _held.pop() as room:
                fcntl.flock(room, fcntl.LOCK_UN)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    """With several workers (`-n`), what watches the clock closely (`alone`) runs while no other test does.

    Only the first of a row of them waits until the others' tests have ended. Of those with a Ray cluster
    (`cluster`) one runs at a time.
    """
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return (yield)
    with ExitStack() as stack:
        if _is_alone(item):
            stack.enter_context(_in_the_empty_room(_is_alone(nextitem)))
            return (yield)
        if item.get_closest_marker("cluster") is not None:
            stack.enter_context(_locked(_HERE.with_name("forked.py")))
        with _locked(_HERE.with_name("waiting.py")):
            stack.enter_context(_locked(_HERE, fcntl.LOCK_SH))
        return (yield)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real recordings, which is no part of the repository."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("no shared/data beside this checkout")
    return folder


@pytest.fixture(scope="session")
def built_kernels(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """The kernels as a library, by the arguments of `build_library` after its path.

    Built when first asked for, by one worker for all: it takes 2 to 10 s of CPU time.
    """
    if host.compiler() is None:
        pytest.skip("no C++ compiler on this machine: install g++")
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent

    def built(backward: bool = False, sanitizer: str = "") -> Path:
        path = folder / f"kernels{'_backward' * backward}{sanitizer and '_' + sanitizer}.so"
        with path.with_suffix(".lock").open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not path.exists():
                host.build_library(path.with_suffix(".part"), backward, sanitizer)
                path.with_suffix(".part").rename(path)
        return path

    return built


@pytest.fixture(scope="session")
def host_kernels(built_kernels: Callable[..., Path]) -> HostKernels:
    """The kernels as plain C++."""
    return HostKernels(built=built_kernels())


@pytest.fixture(autouse=True)
def _loggers_as_they_were() -> Iterator[None]:
    """A command that runs within a test, or within a module's fixture, sets up the program's log lines; every
    test begins without."""
    _forget_log_lines()
    yield
    _forget_log_lines()


@pytest.fixture(autouse=True)
def _torch_has_one_thread() -> Iterator[None]:
    """Torch's runtime takes all cores of the process it runs in: what comes after has one thread again."""
    yield
    torch = sys.modules.get("torch")
    if torch is not None and hasattr(torch, "set_num_threads"):
        torch.set_num_threads(1)


def _forget_log_lines() -> None:
    root = logging.getLogger("irchroma")
    root.handlers, root.propagate = [], True
    root.setLevel(logging.NOTSET)
