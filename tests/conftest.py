"""Skips for what a machine lacks; a skip is a failure where IRCHROMA_REQUIRE says that it is there."""

import fcntl
import logging
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# Tests share the cores, and libraries whose threads wait for each other spin: with two threads each, training
# took twice the CPU time of one, and six times as long beside other work. Children have it from here.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from irchroma.stream.errors import StreamError
from irchroma.stream.gstreamer import door


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
    items.sort(key=lambda item: item.get_closest_marker("alone") is not None)  # one after the other
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


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """With several workers (`-n`), what watches the clock closely (`alone`) runs while no other test does."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return (yield)
    alone = item.get_closest_marker("alone") is not None
    here = Path(__file__)
    with here.open("rb") as room, here.with_name("waiting.py").open("rb") as door:
        fcntl.flock(door, fcntl.LOCK_EX)  # who waits for the room to be empty lets nobody else in
        fcntl.flock(room, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        fcntl.flock(door, fcntl.LOCK_UN)
        try:
            return (yield)
        finally:
            fcntl.flock(room, fcntl.LOCK_UN)  # closing would not, where a forked process still has the file


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real recordings, which is no part of the repository."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("no shared/data beside this checkout")
    return folder


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
