"""A configuration that is read again while its run goes on, by SIGHUP and by the page."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.launch.run.control.test_control import SOURCE, Running, colorfulness
from tests.waiting import wait_for

from irchroma.launch.config import ConfigError
from irchroma.launch.run.control.rereading import Reread
from irchroma.launch.run.monitoring.monitor import Monitor
from irchroma.launch.run.settings.options import RunConfig, load
from irchroma.launch.run.wiring import build_loop

pytestmark = pytest.mark.gst


class Reloadable(Running):
    def __init__(self, file: Path) -> None:
        config = load(file, {})
        self.reread = Reread(config, lambda: load(file, {}))
        monitor = Monitor(config, quiet=True)
        monitor.loop = self.loop = build_loop(config, stats=monitor.stats, reread=self.reread)
        self._thread = threading.Thread(target=self.loop.run, args=(monitor.on_frame,), daemon=True)
        self._thread.start()
        wait_for(lambda: self.loop.writers[0].written > 2)
        sink: Any = self.loop.writers[0]._sink
        self.port = int(sink.port)

    def reload(self) -> tuple[int, str]:
        status, body = self.request("POST", "/reload", "{}", Content_Type="application/json")
        return status, body.decode()


def written(file: Path, more: str = "", engine: str = "palette:lava") -> None:
    text = f'source = "{SOURCE}"\nto = ["http://127.0.0.1:0"]\nengine = "{engine}"\n{more}\n'
    file.write_text(text, encoding="utf-8")


def test_what_can_change_changes_and_is_said_and_what_cannot_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    written(file)
    run = Reloadable(file)
    try:
        wait_for(lambda: colorfulness(run.picture()) > 20)
        assert run.reload() == (200, '{"changed":[]}')
        written(file, "repeat_s = 0.5", engine="gray")
        status, said = run.reload()
        assert status == 200
        assert "engine: palette:lava -> gray" in said
        assert "repeat_s: 2.0 -> 0.5" in said
        wait_for(lambda: colorfulness(run.picture()) < 4)
        assert run.state()["engine"] == "gray"
        masks = "[[privacy.masks]]\npoints = [[0, 0], [0.4, 0], [0.4, 1], [0, 1]]"
        written(file, f"repeat_s = 0.5\n[tone_map]\nspan = [0, 4000]\n{masks}", "gray")
        assert run.reload()[0] == 200
        wait_for(lambda: run.picture()[:, :60].max() < 12)
        written(file, 'repeat_s = 9\n[output]\nsegment_s = 5\n[input.rtsp]\ntransport = "udp"', "gray")
        status, said = run.reload()
        assert status == 400
        assert "input.rtsp.transport, output.segment_s cannot change while the run goes on" in said
        assert run.loop.repeat_s == 0.5
        file.write_text("engine = [")
        status, said = run.reload()
        assert status == 400
        assert "not a TOML file" in said
        assert run.picture().shape == (128, 160, 3)
    finally:
        run.stop()


def test_a_palettes_options_change_with_the_same_engine(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    written(file, engine="palette")
    run = Reloadable(file)
    try:
        before = run.picture().astype(int)
        written(file, '[palette]\npalette = "white-hot"', "palette")
        assert run.reload()[0] == 200
        wait_for(lambda: colorfulness(run.picture()) < 4 < colorfulness(before.astype(np.uint8)))
    finally:
        run.stop()


def test_a_run_without_a_file_has_nothing_to_read_again(tmp_path: Path) -> None:
    run = Running(RunConfig(source=SOURCE, to=("http://127.0.0.1:0",), engine="gray"))
    try:
        status, body = run.request("POST", "/reload", "{}", Content_Type="application/json")
        assert status == 400
        assert b"without --config" in body
    finally:
        run.stop()


def test_before_the_run_has_begun_nothing_can_be_changed() -> None:
    asked = RunConfig(source="x", engine="gray")
    with pytest.raises(ConfigError, match="not begun"):
        Reread(asked, lambda: replace(asked, engine="nir")).take()
    assert Reread(asked, lambda: asked).take() == []


@pytest.mark.parametrize("several", [False, True])
def test_sighup_reads_it_again_and_the_run_goes_on(tmp_path: Path, several: bool) -> None:
    file = tmp_path / "run.toml"
    head = '[[cameras]]\nname = "gate"\n' if several else ""

    def write(engine: str, size: str = "160x128") -> None:
        text = f'source = "test:nir?size={size}&rate=25&live=1"\nto = ["null"]\nengine = "{engine}"\n'
        file.write_text(head + text)

    write("palette:lava")
    log = tmp_path / "log"
    with log.open("wb") as out:
        run = subprocess.Popen(
            [sys.executable, "-m", "irchroma.launch", "run", "--config", str(file)],
            stderr=out,
            stdout=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
        )
    try:
        wait_for(lambda: "sink: null" in log.read_text(), 60)
        write("gray")
        os.kill(run.pid, signal.SIGHUP)
        wait_for(lambda: "reload: engine: palette:lava -> gray" in log.read_text(), 60)
        wait_for(lambda: "engine: gray" in log.read_text(), 60)
        write("gray", "320x256")
        os.kill(run.pid, signal.SIGHUP)
        wait_for(lambda: "reload: source cannot change while the run goes on" in log.read_text(), 60)
        assert run.poll() is None
        run.send_signal(signal.SIGTERM)
        assert run.wait(30) == 0
    finally:
        run.kill()
        run.wait()
