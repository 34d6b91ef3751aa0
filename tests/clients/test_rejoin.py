"""Clients that join again, stay while the camera is away, or share a port with another camera's."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest
from tests.clients.viewers import CLIENTS, TOLERANCE, Seen, by_ffmpeg, in_process, irchroma, relay, require
from tests.waiting import free_port, wait_for

pytestmark = [pytest.mark.gst, pytest.mark.timeout(180)]


@pytest.mark.parametrize("client", ["ffmpeg", "pyav", "gstreamer"])
def test_a_client_joins_again_after_the_server_has_started_anew(
    clip: Path, tmp_path: Path, client: str
) -> None:
    address = f"rtsp://127.0.0.1:{free_port()}/cam"
    for start in ("first", "second"):
        log = tmp_path / start
        server = relay(str(clip), address, log=log)
        try:
            wait_for(lambda log=log: "sink: rtsp" in log.read_text())  # type: ignore[misc]
            (tmp_path / f"{start}-seen").mkdir()
            require(CLIENTS[client](address, "tcp", tmp_path / f"{start}-seen"))
        finally:
            server.kill()  # as a loss of power would
            server.wait(20)


def test_clients_stay_while_the_camera_is_away_and_others_join_after_it_is_back(
    clip: Path, tmp_path: Path
) -> None:
    camera, out = (f"rtsp://127.0.0.1:{free_port()}/{name}" for name in ("cam", "out"))
    first = relay(str(clip), camera, log=tmp_path / "first")
    wait_for(lambda: "sink: rtsp" in (tmp_path / "first").read_text())
    log = tmp_path / "log"
    stands = relay(camera, out, str(tmp_path / "all.mkv"), log=log)
    servers = [first]
    try:
        wait_for(lambda: "sink: rtsp" in log.read_text())
        stays = subprocess.Popen(
            (
                *("ffmpeg", "-hide_banner", "-nostdin", "-nostats", "-rtsp_transport", "tcp", "-i", out),
                *("-f", "null", "-"),
            ),
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
        )
        first.kill()
        first.wait(20)
        wait_for(lambda: "source lost" in log.read_text())
        servers.append(relay(str(clip), camera, log=tmp_path / "second"))
        wait_for(lambda: "source is back" in log.read_text(), 60)
        (tmp_path / "joined").mkdir()
        require(by_ffmpeg(out, "tcp", tmp_path / "joined"), tolerance=2 * TOLERANCE)
        assert stays.poll() is None
        stays.send_signal(signal.SIGINT)
        said = stays.communicate(timeout=20)[1]
        assert Seen([], said).complaints() == []
    finally:
        for server in servers:
            server.kill()
            server.wait(20)
        stands.send_signal(signal.SIGINT)
        assert stands.wait(40) == 0, log.read_text()
    done = in_process("ffmpeg", "-v", "warning", "-i", str(tmp_path / "all.mkv"), "-f", "null", "-")
    assert done.returncode == 0
    assert Seen([], done.stdout).complaints() == []


def test_two_cameras_on_one_port_both_play(tmp_path: Path) -> None:
    port = free_port()
    config = tmp_path / "two.toml"
    lines = ['engine = "palette:ironbow"']
    for name, kind in (("gate", "nir"), ("yard", "thermal")):
        lines += [
            "[[cameras]]",
            f'name = "{name}"',
            f'source = "test:{kind}?live=1&rate=8&size=320x256"',
            f'to = ["rtsp://viewer:secretpw@127.0.0.1:{port}/{name}"]',
        ]
    config.write_text("\n".join(lines))
    log = tmp_path / "log"
    run = irchroma("run", "--config", str(config), log=log)
    try:
        wait_for(lambda: log.read_text().count("sink: rtsp") == 2, 60)
        assert "secretpw" not in log.read_text()
        for name in ("gate", "yard", "gate"):
            done = in_process(
                *("ffmpeg", "-hide_banner", "-nostdin", "-rtsp_transport", "tcp"),
                *("-i", f"rtsp://viewer:secretpw@127.0.0.1:{port}/{name}"),
                *("-frames:v", "10", "-f", "null", "-"),
            )
            assert done.returncode == 0, done.stdout
            assert "320x256" in done.stdout
            assert Seen([], done.stdout).complaints() == []
    finally:
        run.send_signal(signal.SIGINT)
        assert run.wait(40) == 0
