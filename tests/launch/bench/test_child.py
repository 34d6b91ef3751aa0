"""Processes of benches: what they print, and how it is said that they failed or hang."""

from __future__ import annotations

import sys

import pytest

from irchroma.launch.bench.child import finished, json_of
from irchroma.launch.config import ConfigError


def test_the_last_line_is_taken_and_the_environment_is_added_to_this_one() -> None:
    code = (
        "import json, os, sys; print('by the way');"
        " print(json.dumps({'words': sys.argv[1:], 'mask': os.environ['MASK'], 'path': os.environ['PATH']}))"
    )
    found = json_of(code, ["a", "b"], "a child", {"MASK": "AVX2"}, 60)
    assert found["words"] == ["a", "b"]
    assert found["mask"] == "AVX2"
    assert found["path"]


def test_a_child_that_fails_is_an_error_with_what_it_said() -> None:
    with pytest.raises(ConfigError, match=r"^a child, AVX2, failed: no such thing$"):
        finished([sys.executable, "-c", "import sys; sys.exit('no such thing')"], "a child, AVX2,")


def test_a_child_that_hangs_is_ended() -> None:
    with pytest.raises(ConfigError, match=r"^a child has not ended after 0.5 s$"):
        finished([sys.executable, "-c", "import time; time.sleep(600)"], "a child", stuck_s=0.5)
