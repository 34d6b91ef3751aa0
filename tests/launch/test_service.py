"""The service file: its recipe works as written, and it asks for no more than it needs."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from irchroma.launch.run.settings.options import load
from irchroma.launch.run.settings.passwords import revealed

UNIT = Path(__file__).resolve().parents[2] / "launch" / "irchroma@.service"
_MOST_EXPOSED = 40  # tenths of what `systemd-analyze security` gives; it was 84 once


def recipe() -> list[str]:
    lines = UNIT.read_text().partition("[Unit]")[0].splitlines()
    return [line.removeprefix("#   ") for line in lines if line.startswith("#   ")]


def test_the_recipe_makes_a_service_with_its_passwords(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As its reader would do it, in a folder that stands for the system's."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for name, text in (
        ("sudo", 'exec "$@"'),
        ("systemctl", f'echo "$*" > {tmp_path}/systemctl'),
        ("systemd-ask-password", 'printf "%s\\n" "$1"'),
        ("irchroma", f'exec {sys.executable} -m irchroma.launch "$@"'),
    ):
        (tools / name).write_text(f"#!/bin/sh\n{text}\n")
        (tools / name).chmod(0o755)
    (tmp_path / "etc" / "systemd" / "system").mkdir(parents=True)
    assert not any("echo" in line for line in recipe()), "what is typed stays in the shell's history"
    script = "set -e\n" + "\n".join(recipe()).replace(" /etc/", f" {tmp_path}/etc/")
    environment = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", script], cwd=UNIT.parents[1], env=environment, check=False)
    assert done.returncode == 0
    made = tmp_path / "etc" / "irchroma"
    assert (tmp_path / "systemctl").read_text() == "enable --now irchroma@gate\n"
    assert (tmp_path / "etc" / "systemd" / "system" / UNIT.name).read_text() == UNIT.read_text()
    assert "password@" not in (made / "gate.toml").read_text()
    for folder, mode in (("", 0o755), ("gate.secrets", 0o700)):
        assert stat.S_IMODE((made / folder).stat().st_mode) == mode
    credentials = tmp_path / "credentials"  # as systemd hands a folder to a service, systemd.exec(5)
    credentials.mkdir()
    for file in (made / "gate.secrets").iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        (credentials / f"irchroma_{file.name}").write_bytes(file.read_bytes())
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
    config = revealed(load(made / "gate.toml", {}))
    assert config.source == "rtsp://user:Password%20of%20the%20camera@CAMERA/stream"
    assert config.to == ("rtsp://viewer:Password%20for%20viewers@:8554/gate",)


@pytest.mark.systemd
def test_systemd_understands_the_file_and_finds_little_exposed(tmp_path: Path) -> None:
    unit = tmp_path / "irchroma@gate.service"
    unit.write_text(UNIT.read_text().replace("/opt/irchroma/.venv/bin/irchroma", "/bin/true"))
    for words in (
        ("verify", "--man=no", str(unit)),
        ("security", "--offline=yes", f"--threshold={_MOST_EXPOSED}", "--no-pager", str(unit)),
    ):
        done = subprocess.run(
            ["systemd-analyze", *words], capture_output=True, encoding="utf-8", errors="replace", check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
    assert "irchroma@gate" not in done.stderr
