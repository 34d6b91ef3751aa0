"""Passwords come from outside the configuration, and are seen nowhere."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from tests.waiting import free_port

from irchroma.launch.arguments import secret_places
from irchroma.launch.cli import main
from irchroma.launch.config import ConfigError
from irchroma.launch.run.settings.options import OutputOptions, RunConfig, load
from irchroma.launch.run.settings.passwords import explanation, kept_token, masked, revealed
from irchroma.stream.sources.addresses import split_credentials

RUN = (sys.executable, "-m", "irchroma.launch", "run")
AWKWARD = "p@ss/w:rd#%?&"


def test_a_name_stands_for_what_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATE", AWKWARD)
    config = revealed(
        RunConfig(
            source="rtsp://ada:${GATE}@10.0.0.5/stream",
            to=("rtsp://u:${GATE}@:8554/x", "a$b.mkv", "${NOT-A-NAME}.mkv"),
            output=OutputOptions(page_token="${GATE}"),
        )
    )
    assert split_credentials(config.source) == ("rtsp://10.0.0.5/stream", "ada", AWKWARD)
    assert config.output.page_token == AWKWARD
    assert config.to[1:] == ("a$b.mkv", "${NOT-A-NAME}.mkv")


def test_a_whole_address_may_be_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAMERA", "rtsp://ada:pw@10.0.0.5/stream")
    assert revealed(RunConfig(source="${CAMERA}")).source == "rtsp://ada:pw@10.0.0.5/stream"


def test_a_name_is_looked_for_among_systemds_credentials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "irchroma_GATE").write_text("of a folder\n")
    (tmp_path / "YARD").write_text("of a file")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert revealed(RunConfig(source="rtsp://u:${GATE}@h/s")).source == "rtsp://u:of%20a%20folder@h/s"
    assert revealed(RunConfig(source="rtsp://u:${YARD}@h/s")).source == "rtsp://u:of%20a%20file@h/s"
    monkeypatch.setenv("GATE", "of the environment")
    assert "environment" in revealed(RunConfig(source="rtsp://u:${GATE}@h/s")).source


def test_a_file_may_hold_a_password(tmp_path: Path) -> None:
    (tmp_path / "pw").write_text("secret\n")
    assert revealed(RunConfig(source=f"rtsp://u:${{file:{tmp_path}/pw}}@h/s")).source == "rtsp://u:secret@h/s"
    with pytest.raises(ConfigError, match=rf"source: the password file {tmp_path}/none cannot be read"):
        revealed(RunConfig(source=f"rtsp://u:${{file:{tmp_path}/none}}@h/s"))
    with pytest.raises(ConfigError, match=r"to\.1: \$\{NOWHERE_TO_BE_FOUND\} is not known: set"):
        revealed(RunConfig(to=("rtsp://u:${NOWHERE_TO_BE_FOUND}@:8554/x",)))


def test_of_several_cameras_the_one_whose_password_is_missing_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "cameras.toml"
    file.write_text(
        '[[cameras]]\nname = "gate"\nsource = "test:nir?seconds=1"\nto = ["null"]\n\n'
        '[[cameras]]\nname = "yard"\nsource = "rtsp://u:${NOWHERE_TO_BE_FOUND}@h/s"\nto = ["null"]\n'
    )
    assert main(["run", "--config", str(file)]) == 1
    assert "cameras.yard.source: ${NOWHERE_TO_BE_FOUND} is not known" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("address", "secrets"),
    [
        ("rtsp://ada:pw@h/s", ["pw"]),
        ("rtsp://ada:p@w/x#y:z@h:554/s", ["p@w/x#y:z"]),
        ("rtsp://h:554/a@b", []),
        ("rtsp://h/s", []),
        ("rtsp://ada@h/s", []),
        ("srt://h:7001?mode=caller&passphrase=longenough&latency=5", ["longenough"]),
        ("rtsp://ada:pw@h/s?token=tok&channel=1", ["pw", "tok"]),
        ("rtsp://ada:@h/s", [""]),
        ("http://h/v.cgi?loginuse=ada&loginpas=one&passwd=two&rate=5", ["ada", "one", "two"]),
        ("night.mp4", []),
    ],
)
def test_the_secrets_of_addresses_are_found(address: str, secrets: list[str]) -> None:
    assert [address[place] for place in secret_places(address)] == secrets


def test_a_listing_has_no_passwords_and_can_be_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["rtsp://ada:pass@word@10.0.0.5/s", "--to", "rtsp://u:outward@:8554/x", "--to", "http://:8080"]
    words += ["--to", "srt://:7001?passphrase=longenough", "--token", "operators"]
    words += ["--viewer-token", "${LOOK}"]
    assert main(["run", *words, "--print-config"]) == 0
    shown = capsys.readouterr().out
    for secret in ("pass@word", "outward", "longenough", "operators"):
        assert secret not in shown
    assert "sudo install -m 600 /dev/stdin /etc/irchroma/NAME.secrets/IRCHROMA_SOURCE_PASSWORD" in shown
    (tmp_path / "run.toml").write_text(shown)
    for name, value in (
        ("IRCHROMA_SOURCE_PASSWORD", "pass@word"),
        ("IRCHROMA_TO_1_PASSWORD", "outward"),
        ("IRCHROMA_TO_3_PASSPHRASE", "longenough"),
        ("IRCHROMA_PAGE_TOKEN", "operators"),
        ("LOOK", "lookers-on"),
    ):
        assert f"{name}   of " in shown or name == "LOOK"
        monkeypatch.setenv(name, value)
    config = revealed(load(tmp_path / "run.toml", {}))
    assert config.source == "rtsp://ada:pass%40word@10.0.0.5/s"
    assert config.to == ("rtsp://u:outward@:8554/x", "http://:8080", "srt://:7001?passphrase=longenough")
    assert (config.output.page_token, config.output.page_viewer_token) == ("operators", "lookers-on")


def test_a_listing_without_passwords_says_nothing_of_them() -> None:
    config = RunConfig(source="rtsp://u:${NAME}@h/s", to=("a.mkv",))
    assert masked(config) == (config, [])
    assert explanation([]) == ""


@pytest.mark.gst
def test_the_process_list_shows_no_password() -> None:
    port = free_port()
    words = [
        "test:nir?size=64x48&live=1",
        "--engine",
        "gray",
        "--to",
        f"rtsp://ada:s3cret@127.0.0.1:{port}/x",
        "--to",
        "http://127.0.0.1:0",
    ]
    process = subprocess.Popen(
        [*RUN, *words, "--viewer-token=lookers-on"],
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
    )
    listing = Path(f"/proc/{process.pid}/cmdline")
    try:
        assert process.stderr is not None
        shown = ""
        for line in process.stderr:
            shown += line
            if "http://" in line and "sink:" in line:
                break
        listed = listing.read_bytes().decode()
    finally:
        process.terminate()
        threading.Thread(target=process.stderr.read, daemon=True).start()
        process.wait(30)
        process.stderr.close()
    for secret in ("s3cret", "operators-token", "lookers-on"):
        assert secret not in listed
        assert secret not in shown
    assert f"rtsp://ada:******@127.0.0.1:{port}/x" in listed
    assert "\0gray\0" in listed


def test_a_token_is_made_once_and_kept_for_its_owner_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "irchroma"))
    token, path, made = kept_token()
    assert made
    assert path is not None
    assert len(token) >= 20
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert kept_token() == (token, path, False)
    monkeypatch.setenv("STATE_DIRECTORY", "/proc/none")
    other, nowhere, made = kept_token()
    assert other != token
    assert (nowhere, made) == (None, True)


@pytest.mark.gst
def test_statistics_are_their_owners_alone(tmp_path: Path) -> None:
    stats = tmp_path / "stats.json"
    words = ["test:nir?size=64x48&frames=3", "--to", "null", "--engine", "gray", "--quiet"]
    before = os.umask(0o022)
    try:
        assert main(["run", *words, "--stats", str(stats)]) == 0
    finally:
        os.umask(before)
    assert stat.S_IMODE(stats.stat().st_mode) == 0o600


@pytest.mark.gst
def test_a_page_for_other_machines_gets_a_token_of_its_own(tmp_path: Path) -> None:
    port = free_port()
    words = ["test:nir?size=64x48&live=1", "--engine", "gray", "--to", f"http://0.0.0.0:{port}"]
    environment = {**os.environ, "STATE_DIRECTORY": str(tmp_path)}
    with subprocess.Popen(
        [*RUN, *words], stderr=subprocess.PIPE, encoding="utf-8", errors="replace", env=environment
    ) as process:
        assert process.stderr is not None
        said = ""
        for line in process.stderr:
            said += line
            if "sink: " in line:
                process.terminate()
    assert "which asks for a token: kept in" in said
    assert (tmp_path / "page-token").read_text().strip() not in said  # no terminal: a log would keep it
