"""Options to and from TOML."""

import os
import subprocess
import sys
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Literal

import pytest

from irchroma.launch.config import ConfigError, from_file, from_table, load_toml, to_toml
from irchroma.launch.run.settings.options import load
from irchroma.stream.sensor.profile import load_profile


@dataclass(frozen=True)
class Inner:
    gain: float = 1.0
    span: tuple[int, int] | None = None


@dataclass(frozen=True)
class Mark:
    low: float = float("-inf")
    color: tuple[int, int, int] | None = None


@dataclass(frozen=True)
class View:
    """What is shown."""

    view: str = "color"
    wipe: float = 0.5


@dataclass(frozen=True)
class Outer:
    name: str = "a"
    mode: Literal["full", "chroma"] = "full"
    rate: Fraction = Fraction(25)
    to: tuple[str, ...] = ()
    live: bool = False
    inner: Inner = field(default_factory=Inner)
    marks: tuple[Mark, ...] = ()
    view: View = field(default_factory=View)


def test_there_and_back(tmp_path: Path) -> None:
    options = Outer(
        'q"uote\\',
        "chroma",
        Fraction(30000, 1001),
        ("a.mp4", "null"),
        True,
        Inner(2.5, (1, 9)),
        (Mark(), Mark(3.0, (1, 2, 3))),
    )
    path = tmp_path / "run.toml"
    path.write_text(to_toml(options), encoding="utf-8")
    assert from_table(Outer, load_toml(path)) == options


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"nmae": "x"}, "unknown key nmae, did you mean name?"),
        ({"inner": {"gian": 1}}, "unknown key inner.gian, did you mean gain?"),
        ({"zzz": 1}, "unknown key zzz; known: inner, live"),
        ({"mode": "half"}, "mode: expected one of full, chroma, got 'half'"),
        ({"live": 1}, "live: expected true or false, got 1"),
        ({"inner": {"gain": "x"}}, "inner.gain: expected a number, got 'x'"),
        ({"inner": {"span": [1]}}, "inner.span: expected 2 values, got 1"),
        ({"inner": 3}, "inner: expected a table, got 3"),
        ({"marks": [{"hi": 3}]}, "unknown key marks.hi"),
        ({"to": "null"}, "to: expected a list, got 'null': write to = [\"null\"]"),
        ({"rate": "1/0"}, "rate: expected a rate such as 30 or 30000/1001, got '1/0'"),
    ],
)
def test_a_bad_key_or_value_is_named(table: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        from_table(Outer, table)
    assert message in str(caught.value)


def test_keys_left_out_keep_the_base(tmp_path: Path) -> None:
    base = Outer(name="kept", inner=Inner(gain=3.0))
    assert from_table(Outer, {"inner": {"span": [0, 4]}}, base) == Outer(
        name="kept", inner=Inner(3.0, (0, 4))
    )


def test_a_name_in_the_home_folder_is_found_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """No shell sees a configuration file, and none expands `--to=~/a.mp4`."""
    monkeypatch.setenv("HOME", "/home/me")
    names = ["~/a.mp4", "hls:~/web", "raw:~/c?size=4x2", "~a.mp4", "rtsp://:8554/~/a", "/b/~/c"]
    found = from_table(Outer, {"name": "~/clips", "to": names})
    assert found.name == "/home/me/clips"
    assert found.to == ("/home/me/a.mp4", "hls:/home/me/web", "raw:/home/me/c?size=4x2", *names[3:])


def test_files_that_are_no_toml_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"missing\.toml: cannot be read"):
        load_toml(tmp_path / "missing.toml")
    bad = tmp_path / "bad.toml"
    bad.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not a TOML file"):
        load_toml(bad)


def test_files_may_begin_with_the_mark_of_windows_editors(tmp_path: Path) -> None:
    marked = tmp_path / "run.toml"
    marked.write_bytes(b'\xef\xbb\xbfsource = "night.mp4"\r\nto = ["color.mp4"]\r\n')
    assert load_toml(marked) == {"source": "night.mp4", "to": ["color.mp4"]}
    camera = tmp_path / "camera.toml"
    camera.write_bytes(b'\xef\xbb\xbfname = "gate"\r\n')
    assert load_profile(camera).name == "gate"


def test_the_configuration_may_come_through_a_pipe() -> None:
    """A run reads it more than once: whether it has cameras, what it says, which settings are said."""
    ours, theirs = os.pipe()
    os.write(theirs, b"source = 'test:nir'\nto = ['null']\nengine = 'palette:arctic'\n")
    os.close(theirs)
    command = [
        sys.executable,
        "-m",
        "irchroma.launch",
        "run",
        "--config",
        f"/dev/fd/{ours}",
        "--print-config",
    ]
    try:
        done = subprocess.run(
            command, pass_fds=[ours], capture_output=True, encoding="utf-8", errors="replace", timeout=60
        )
    finally:
        os.close(ours)
    assert done.returncode == 0, done.stderr
    assert 'engine = "palette:arctic"' in done.stdout
    assert 'source = "test:nir"' in done.stdout


def test_what_is_wrong_in_a_file_is_told_with_its_name(tmp_path: Path) -> None:
    path = tmp_path / "gate.toml"
    path.write_text("inner = { gian = 2 }\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"gate\.toml: unknown key inner\.gian, did you mean gain"):
        from_file(Outer, path)


def test_a_table_that_has_a_key_of_its_own_name_may_be_said_by_that_alone() -> None:
    assert from_table(Outer, {"view": "wipe"}, Outer(view=View(wipe=0.3))).view == View("wipe", 0.3)


def test_each_table_is_explained_in_what_is_written() -> None:
    assert "\n# What is shown.\n[view]\n" in to_toml(Outer())


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("camreas", "unknown key camreas, did you mean cameras?"),
        ("sharing", "sharing: expected a table, got 1"),
        ("zzz", "known: auto, "),
        ("zzz", ", sharing, source,"),
    ],
)
def test_what_several_cameras_share_is_among_the_known_keys(key: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(None, {key: 1})
    assert message in str(caught.value)


def test_what_cameras_share_is_said_to_need_cameras(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text("[sharing]\nnetworks = true\n", encoding="utf-8")
    told = r"sharing: is for several cameras, each in a table of its own: \[\[cameras\]\]"
    with pytest.raises(ConfigError, match=told):
        load(path, {})
