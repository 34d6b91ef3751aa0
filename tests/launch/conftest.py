"""A machine that runs choose their settings for, without measuring this one."""

from __future__ import annotations

import pytest

from irchroma.engines.network.eight_bit import twins
from irchroma.engines.neural.speed import pace


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is measured: for tests whose numbers are not this machine's."""
    monkeypatch.setattr(pace, "_fresh", {})
    monkeypatch.setattr(pace, "_measured", lambda *_: ((5.0, 5.0, 1.0, 0.3, 0.2), True))
    monkeypatch.setattr(twins, "_ratio", lambda *_: (1.2, "bf16"))  # as where float is kept
