"""What hangs in a test is ended, and says where it hung."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(300)  # another pytest each, on a busy machine

_ROOT = Path(__file__).resolve().parents[1]
_SHORTER = """
from tests import hangs
hangs._GRACE_S, hangs._END_S = 1.0, {end_s}
"""
_AGAIN = """
import threading
import pytest
@pytest.mark.flaky(reruns=1)
@pytest.mark.timeout(1)
def test_that_hangs():
    threading.Event().wait(50)
"""
_IN_C = """
import signal
import threading
import pytest
@pytest.mark.timeout(1)
def test_that_hangs():
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])  # as good as not coming back from C++
    threading.Thread(target=threading.Event().wait, args=(50,), name="other", daemon=True).start()
    threading.Event().wait(50)
"""
_AT_END = """
import threading
def test_that_leaves_a_thread():
    threading.Thread(target=threading.Event().wait, args=(50,)).start()
"""


def _run(folder: Path, text: str, *arguments: str, end_s: float = 30.0) -> subprocess.CompletedProcess[str]:
    (folder / "conftest.py").write_text(_SHORTER.format(end_s=end_s))
    (folder / "test_it.py").write_text(text)
    (folder / "pytest.ini").write_text("[pytest]\n")
    environment = {name: word for name, word in os.environ.items() if not name.startswith("PYTEST_")}
    words = ["-m", "pytest", "-p", "tests.hangs", "-p", "no:cacheprovider", "-q", *arguments, "."]
    return subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env={**environment, "PYTHONPATH": os.pathsep.join([str(_ROOT), *sys.path])},
        capture_output=True,
        text=True,
        timeout=250,
    )


def test_a_test_that_is_run_again_has_the_limit_again(tmp_path: Path) -> None:
    done = _run(tmp_path, _AGAIN)
    assert done.returncode == 1
    assert "1 failed, 1 rerun" in done.stdout
    assert "test_that_hangs" in done.stdout


@pytest.mark.parametrize("workers", [(), ("-n", "1")])
def test_what_hangs_where_no_signal_is_answered_is_ended_with_all_stacks(
    tmp_path: Path, workers: tuple[str, ...]
) -> None:
    done = _run(tmp_path, _IN_C, *workers)
    assert done.returncode == 1
    assert "Timeout (0:00:02)!" in done.stderr
    assert done.stderr.count("Thread 0x") >= 2
    assert "in test_that_hangs" in done.stderr
    if workers:
        assert "crashed while running 'test_it.py::test_that_hangs'" in done.stdout


def test_a_thread_that_the_end_would_wait_for_is_named(tmp_path: Path) -> None:
    done = _run(tmp_path, _AT_END, end_s=1.0)
    assert done.returncode == 1
    assert "1 passed" in done.stdout
    assert "Timeout (0:00:01)!" in done.stderr
    assert "in wait" in done.stderr
