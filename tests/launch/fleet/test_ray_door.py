"""What is said where Ray is not to be reached."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from irchroma.launch.fleet.ray_door import connected
from irchroma.stream.errors import StreamError


@pytest.mark.parametrize("mode", [None, "token"])
def test_a_cluster_that_asks_for_a_token_is_not_a_riddle(monkeypatch: pytest.MonkeyPatch, mode: Any) -> None:
    """Ray 2.60 itself only says that it failed to connect."""

    def init(**_: Any) -> None:
        raise ConnectionError("Failed to connect to Ray cluster at 10.0.0.5:6379")

    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(init=init))
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    if mode is not None:
        monkeypatch.setenv("RAY_AUTH_MODE", mode)
    with pytest.raises(StreamError, match=r"^Ray at 10\.0\.0\.5:6379: Failed to connect") as said:
        connected("10.0.0.5:6379", "fleet")
    assert ("set RAY_AUTH_MODE=token" in str(said.value)) == (mode is None)
