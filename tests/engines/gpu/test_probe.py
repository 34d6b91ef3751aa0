"""A driver that is here and does not work is told apart from one that is not here."""

from __future__ import annotations

import ctypes
from typing import Any

import pytest

from irchroma.engines.choice import open_neural
from irchroma.engines.errors import EngineUnavailable
from irchroma.engines.gpu import probe
from irchroma.engines.network.network import NetworkOptions
from irchroma.engines.neural.colorizer import NeuralOptions


class Driver:
    """The driver's library, which answers to its start with one code."""

    def __init__(self, code: int) -> None:
        self._code = code

    def cuInit(self, flags: int) -> int:
        return self._code

    def __getattr__(self, name: str) -> Any:
        return lambda *_: 0


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Any:
    def put(code: int | None) -> None:
        def load(name: str) -> Driver:
            if code is None:
                raise OSError(f"{name}: cannot open shared object file")
            return Driver(code)

        monkeypatch.setattr(ctypes, "CDLL", load)
        monkeypatch.setattr(probe, "_said", set())

    return put


@pytest.mark.parametrize(("code", "hint"), [(803, "restart"), (999, "anew"), (46, "nvidia-smi")])
def test_a_broken_driver_is_said_once_and_names_what_to_do(
    driver: Any, code: int, hint: str, caplog: pytest.LogCaptureFixture
) -> None:
    driver(code)
    assert probe.device_at() is None
    assert probe.device_at() is None
    assert probe.device_count() == 0
    (record,) = caplog.records
    assert f"CUDA error {code}" in record.message
    assert hint in record.message
    assert "\n" not in record.message
    with pytest.raises(EngineUnavailable, match=f"CUDA error {code}"):
        open_neural(NeuralOptions(network=NetworkOptions(device="all")))


@pytest.mark.parametrize("code", [None, 100])
def test_no_driver_and_no_device_are_no_fault(
    driver: Any, code: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    driver(code)
    assert probe.device_at() is None
    assert probe.driver_fault() is None
    assert not caplog.records
