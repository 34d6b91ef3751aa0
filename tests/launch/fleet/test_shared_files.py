"""Files of cameras by their content: from a folder or a store, fetched once, and a change is seen."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from irchroma.launch.config import ConfigError
from irchroma.launch.fleet.host import CameraHost
from irchroma.launch.fleet.shared_files import SharedFiles, local
from irchroma.stream.errors import StreamError

fsspec = pytest.importorskip("fsspec", reason="fsspec is not here: pip install 'irchroma[fleet]'")

TEXT = 'camera = "shared:gate/lens.toml"\n[neural]\nreference = "shared:gate/days"\n'


@pytest.fixture(params=["folder", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Where the files lie, and what writes one there."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    place = str(tmp_path / "site") if request.param == "folder" else "memory://site"
    system, root = fsspec.core.url_to_fs(place)

    def write(name: str, content: bytes) -> None:
        system.makedirs(f"{root}/{name}".rpartition("/")[0], exist_ok=True)
        system.pipe(f"{root}/{name}", content)

    write("gate/lens.toml", b"layout = 1")
    write("gate/days/1.png", b"one")
    write("gate/days/more/2.png", b"two")
    yield place, write
    if system.exists(root):
        system.rm(root, recursive=True)


def test_a_camera_finds_on_its_machine_what_its_configuration_names(store: Any, tmp_path: Path) -> None:
    place, _ = store
    found = re.findall('"(.*)"', local(SharedFiles(place).stamped(TEXT)))
    lens, days = map(Path, found)
    assert lens.name == "lens.toml"
    assert lens.read_bytes() == b"layout = 1"
    assert sorted(str(path.relative_to(days)) for path in days.rglob("*.png")) == ["1.png", "more/2.png"]
    assert lens.is_relative_to(tmp_path / "cache")


def test_the_text_changes_with_the_content_and_not_with_a_second_look(store: Any) -> None:
    place, write = store
    files = SharedFiles(place)
    first = files.stamped(TEXT)
    assert files.stamped(TEXT) == first
    write("gate/lens.toml", b"layout = 1")  # written again, the same content
    assert files.stamped(TEXT) == first
    write("gate/days/more/2.png", b"another two")
    second = files.stamped(TEXT)
    assert second != first
    assert second.splitlines()[0] == first.splitlines()[0]
    before, after = (Path(re.findall('"(.*)"', local(text))[1]) for text in (second, second))
    assert before == after
    assert (before / "more" / "2.png").read_bytes() == b"another two"


def test_content_that_is_another_by_now_is_refused(store: Any) -> None:
    place, write = store
    text = SharedFiles(place).stamped(TEXT)
    write("gate/lens.toml", b"layout = 2")
    with pytest.raises(ConfigError, match="has just changed"):
        local(text)


def test_what_is_not_there_or_not_below_the_place_is_one_line(store: Any) -> None:
    files = SharedFiles(store[0])
    with pytest.raises(ConfigError, match=r"shared:gate/none.toml: .*no such file"):
        files.stamped('camera = "shared:gate/none.toml"')
    with pytest.raises(ConfigError, match="expected a name below"):
        files.stamped('camera = "shared:../../etc/passwd"')


def test_a_store_that_is_gone_for_a_while_changes_nothing(store: Any, tmp_path: Path) -> None:
    place, _ = store
    files = SharedFiles(place)
    first = files.stamped(TEXT)
    system, root = fsspec.core.url_to_fs(place)
    system.mv(root, f"{root}-away", recursive=True)
    assert files.stamped(TEXT) == first
    system.mv(f"{root}-away", root, recursive=True)


def test_places_that_make_no_sense_are_one_line() -> None:
    with pytest.raises(ConfigError, match="holds a password"):
        SharedFiles("ftp://user:secret@site/x")
    with pytest.raises(StreamError, match="pip install"):
        SharedFiles("nothing-like-it://site").stamped(TEXT)
    with pytest.raises(ConfigError, match=r"need \[fleet\] files"):
        SharedFiles("").stamped(TEXT)
    assert SharedFiles("").stamped("engine = 1") == "engine = 1"


def settled(host: CameraHost, camera: str, more_than: int = 0) -> int:
    """Its frames, once it has given some."""
    deadline_s = time.monotonic() + 60
    while (frames := host.figures().get(camera, {}).get("frames", 0)) <= more_than:
        assert time.monotonic() < deadline_s, host.figures()
        time.sleep(0.05)
    return int(frames)


@pytest.mark.gst
@pytest.mark.parametrize("store", ["memory"], indirect=True)
def test_only_the_camera_whose_mask_has_changed_begins_anew(store: Any) -> None:
    place, write = store
    mask = np.zeros((48, 64), np.uint8)
    for column in (10, 30):
        mask[10:14, column : column + 4] = 255
        write(f"mask{column}.png", cv2.imencode(".png", mask)[1].tobytes())
    files, host = SharedFiles(place), CameraHost("here")
    text = (
        'name = "{0}"\nsource = "test:nir?live=1&rate=20&size=64x48"\nto = ["null"]\nengine = "gray"\n'
        'fixed = true\n[repair]\nmask = "shared:mask{1}.png"\n'
    )
    texts = {"gate": text.format("gate", 10), "roof": text.format("roof", 30)}
    try:
        for name, one in texts.items():
            host.begin(name, files.stamped(one))
        settled(host, "gate", 20)
        roof = settled(host, "roof", 20)
        write("mask10.png", cv2.imencode(".png", mask)[1].tobytes())
        for name, one in texts.items():
            host.begin(name, files.stamped(one))
        assert host.figures()["gate"]["frames"] < 20
        settled(host, "gate")
        assert settled(host, "roof", roof) > roof
        lines = [line["message"] for line in host.lines(0)[1]]
        assert "gate: begins anew, as its configuration has changed" in lines
        assert "roof: begins anew, as its configuration has changed" not in lines

        # One that cannot be used is told, and the camera goes on.
        write("mask30.png", b"no picture")
        host.begin("roof", files.stamped(texts["roof"]))
        assert any("roof: its configuration cannot be used" in line["message"] for line in host.lines(0)[1])
        assert settled(host, "roof", roof) > roof
    finally:
        host.close()
