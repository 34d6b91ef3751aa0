"""Networks that are opened before they are asked for: once, and never left open."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.waiting import wait_for

from irchroma.engines.errors import EngineUnavailable
from irchroma.engines.network import preload
from irchroma.engines.network.network import NetworkOptions

OPTIONS = NetworkOptions(threads=1, cache=None)
SHAPE = (1, 1, 64, 64)


class Opened:
    """In a runtime's place: counts what is opened, compiled and closed; waits where it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made: list[Opened.Network] = []
        self.failed = False
        self.may_go_on = threading.Event()
        self.may_go_on.set()
        monkeypatch.setattr(preload, "open_network", self.open)

    class Network:
        name, lanes, best_batch = "counted", 1, 1

        def __init__(self) -> None:
            self.shapes: list[tuple[int, ...]] = []
            self.closed = 0

        def compile_for(self, shape: tuple[int, ...]) -> None:
            self.shapes.append(shape)

        def close(self) -> None:
            self.closed += 1

    def open(self, path: Path, options: NetworkOptions) -> Opened.Network:
        self.may_go_on.wait(10)
        if path.name == "none.onnx":
            raise EngineUnavailable("no weights")
        if path.name == "torn.onnx" and not self.failed:
            self.failed = True
            raise RuntimeError("what was kept of it is torn")
        self.made.append(Opened.Network())
        return self.made[-1]


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Opened:
    monkeypatch.setattr(preload, "_kept", {})
    return Opened(monkeypatch)


def test_what_was_opened_ahead_is_given_once_and_compiled(opened: Opened, tmp_path: Path) -> None:
    path = tmp_path / "one.onnx"
    preload.open_ahead(path, OPTIONS, SHAPE)
    preload.open_ahead(path, OPTIONS, SHAPE)  # it is there already
    assert [one.shapes for one in opened.made] == [[SHAPE]]
    given = preload.open_kept(tmp_path / "." / "one.onnx", OPTIONS)
    assert given is opened.made[0]
    assert preload.open_kept(path, OPTIONS) is opened.made[1]
    preload.let_go()
    assert [one.closed for one in opened.made] == [0, 0]


def test_other_options_get_a_network_of_their_own(opened: Opened, tmp_path: Path) -> None:
    path = tmp_path / "one.onnx"
    preload.open_ahead(path, OPTIONS, SHAPE)
    preload.open_kept(path, replace(OPTIONS, threads=2))
    assert len(opened.made) == 2
    preload.let_go()
    assert [one.closed for one in opened.made] == [1, 0]


def test_who_asks_while_it_is_opened_waits_for_it(opened: Opened, tmp_path: Path) -> None:
    path, given = tmp_path / "one.onnx", []
    opened.may_go_on.clear()
    ahead_of_it = threading.Thread(target=preload.open_ahead, args=(path, OPTIONS, SHAPE))
    ahead_of_it.start()
    wait_for(lambda: preload._kept)
    asking = threading.Thread(target=lambda: given.append(preload.open_kept(path, OPTIONS)))
    asking.start()
    wait_for(lambda: not preload._kept)
    opened.may_go_on.set()
    for thread in (ahead_of_it, asking):
        thread.join(10)
    assert given == opened.made
    assert len(given) == 1


def test_what_fails_ahead_fails_again_for_who_asks(opened: Opened, tmp_path: Path) -> None:
    path = tmp_path / "none.onnx"
    for opening in (
        lambda: preload.open_ahead(path, OPTIONS, SHAPE),
        lambda: preload.open_kept(path, OPTIONS),
    ):
        with pytest.raises(EngineUnavailable, match="no weights"):
            opening()
    assert not preload._kept


def test_whatever_failed_ahead_is_opened_anew_for_who_waited(opened: Opened, tmp_path: Path) -> None:
    path, got = tmp_path / "torn.onnx", list[object]()

    def open_ahead() -> None:
        with pytest.raises(RuntimeError, match="torn"):
            preload.open_ahead(path, OPTIONS, SHAPE)

    opened.may_go_on.clear()
    early = threading.Thread(target=open_ahead)
    early.start()
    wait_for(lambda: preload._kept)
    asking = threading.Thread(target=lambda: got.append(preload.open_kept(path, OPTIONS)))
    asking.start()
    wait_for(lambda: not preload._kept)
    opened.may_go_on.set()
    early.join(10)
    asking.join(10)
    assert got == opened.made
    assert len(got) == 1


def test_what_is_left_to_others_is_closed_where_nobody_comes(opened: Opened, tmp_path: Path) -> None:
    one, other = Opened.Network(), Opened.Network()
    preload.keep(tmp_path / "one.onnx", OPTIONS, one)
    preload.keep(tmp_path / "one.onnx", OPTIONS, other)
    assert (one.closed, other.closed) == (0, 1)
    preload.let_go()
    assert (one.closed, other.closed) == (1, 1)


def test_openvino_compiles_without_a_call(tiny_network: Path) -> None:
    pytest.importorskip("openvino")
    options = NetworkOptions("openvino", threads=1, cache=None)
    preload.open_ahead(tiny_network, options, SHAPE)
    network = preload.open_kept(tiny_network, options)
    compiled = network._graph._compiled
    assert [dict(shapes)["luma"] for shapes in compiled] == [SHAPE]
    network.infer(np.zeros(SHAPE, np.float32))
    assert len(compiled) == 1
    network.close()
