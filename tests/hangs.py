"""No run of the tests hangs for ever: what hangs prints the stacks of all of its threads, and ends.

pytest-timeout ends a test by a signal, which Python answers between two of its own steps. A thread in C++
that waits for another one never comes there. And the signal comes once, or never after a failure: a test that
is run again would have no limit.
"""

import faulthandler
import os
from collections.abc import Iterator

import pytest
from pytest_timeout import _get_item_settings

_GRACE_S = 60.0
"""What a test has beyond its limit, to be torn down after it was ended by that."""
_COLLECTION_S = 600.0
_END_S = 60.0
_SILENT_S = 1800.0
"""For which no worker has anything to tell; the longest test may take half of it."""
_stderr = -1
_controls_workers = False


def pytest_configure(config: pytest.Config) -> None:
    """Keep the real standard error, and watch the collection, which imports everything."""
    global _stderr, _controls_workers
    _stderr = os.dup(2)
    in_worker = "PYTEST_XDIST_WORKER" in os.environ
    _controls_workers = not in_worker and config.getoption("dist", "no") != "no"
    _end_after(_COLLECTION_S)


def pytest_collection_finish() -> None:
    """From here on each test is watched by itself."""
    faulthandler.cancel_dump_traceback_later()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Watch one run of a test, the second one of it too, which gets the time of the first."""
    settings = _get_item_settings(item)
    if not settings.timeout:
        return
    _end_after(settings.timeout + _GRACE_S)
    if getattr(item, "execution_count", 1) > 1:  # pytest-timeout has set its timer before the first
        item.config.hook.pytest_timeout_set_timer(item=item, settings=settings)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol() -> Iterator[None]:
    """Nothing is watched between two tests, where a worker waits for those of others."""
    try:
        return (yield)
    finally:
        faulthandler.cancel_dump_traceback_later()


def pytest_runtest_logreport() -> None:
    """Watch the workers, where there are some: their controller would wait for one for ever."""
    if _controls_workers:
        _end_after(_SILENT_S)


def pytest_unconfigure() -> None:
    """Watch the interpreter's end, which waits for threads; a worker's is its controller's to bring about."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        _end_after(_END_S)


def _end_after(seconds: float) -> None:
    faulthandler.dump_traceback_later(seconds, exit=True, file=_stderr)
