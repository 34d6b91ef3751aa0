"""The door to GStreamer is open for all threads at once."""

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.gst

CHILD = """
import sys, threading
from irchroma.stream.gstreamer.door import modules
video = modules()["GstVideo"]
sys.setswitchinterval(1e-6)
start, failed = threading.Barrier(8), []
def look():
    start.wait()
    try:
        int(getattr(video.VideoColorRange, "0_255"))
    except AttributeError as error:
        failed.append(str(error))
threads = [threading.Thread(target=look) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
sys.exit(str(failed) if failed else 0)
"""
"""Fails in 11 of 12 processes where classes are made when they are asked for."""


def assert_silent(*words: str) -> None:
    """A Python of its own ends well, without a word."""
    done = subprocess.run(
        (sys.executable, *words),
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        env=dict(os.environ),
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_threads_that_begin_at_once_see_whole_classes() -> None:
    for _ in range(4):
        assert_silent("-c", CHILD)


QUIET = """
from irchroma.stream.gstreamer.door import extra_module
for name, version in (("GObject", "2.0"), ("Gio", "2.0"), ("GstBase", "1.0"), ("GstPbutils", "1.0")):
    assert extra_module(name, version) is extra_module(name, version)
extra_module("GObject", "2.0").Property
"""


def test_namespaces_open_without_a_warning() -> None:
    """Old names in them would warn, on the terminal of who uses the element in gst-launch too."""
    assert_silent("-W", "error", "-W", "ignore::ImportWarning", "-c", QUIET)


WITHOUT_OVERRIDES = """
import sys
import gi.overrides
from gi.repository import Gio  # GLib, GObject and Gio have theirs
gi.overrides.__path__ = []
from irchroma.stream.errors import StreamError
from irchroma.stream.gstreamer.door import modules
try:
    modules()
except StreamError as error:
    sys.exit(0 if "python3-gst-1.0" in str(error) else str(error))
sys.exit("opened")
"""


def test_bindings_without_gstreamer_s_own_part_are_told_and_not_used() -> None:
    """They open, and fail at the first buffer that is written."""
    assert_silent("-c", WITHOUT_OVERRIDES)
