"""`irchroma references`: pictures in, out and found, and one line for what cannot be done."""

from __future__ import annotations

import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from tests import daytime_scene

from irchroma.launch.cli import main

pytest.importorskip("voyager", reason="libraries are searched with voyager")


def write(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    bgr = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR) if pixels.ndim == 3 else pixels
    assert cv2.imwrite(str(path), bgr)
    return path


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    for seed in range(5):
        write(tmp_path / "day" / f"scene{seed}.png", daytime_scene.draw(seed)[0])
    return tmp_path / "day"


def said(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    code = main(["references", *map(str, words)])
    out, err = capsys.readouterr()
    return code, out, err


def test_pictures_go_in_once_are_found_and_go_out(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    library = tmp_path / "library"
    code, out, _ = said(capsys, "add", pictures, "--library", library)
    assert (code, out) == (0, f"{library}: 5 added, 0 there already; 5 pictures\n")
    code, out, _ = said(capsys, "add", pictures, pictures / "scene1.png", "--library", library)
    assert (code, out) == (0, f"{library}: 0 added, 6 there already; 5 pictures\n")
    frame = write(tmp_path / "night.png", daytime_scene.draw(2)[1])
    found, sheet = tmp_path / "found.json", tmp_path / "found.png"
    words = ("search", frame, "--top", 3, "--library", library, "--json", found, "--sheet", sheet)
    code, out, _ = said(capsys, *words)
    assert code == 0
    assert re.match(r" 0\.\d{3} alike  \w+  \S+\.", out), out
    matches = json.loads(found.read_text())["matches"]
    assert [len(matches), matches[0]["source"], matches[0]["alike"]] == [3, "scene2.png", True]
    assert Path(matches[0]["file"]).is_file()
    assert matches[0]["score"] > matches[1]["score"]
    assert cv2.imread(str(sheet)).shape[1] > 4 * 320
    code, out, err = said(capsys, *words[:6], "--json", "-")
    assert (code, len(json.loads(out)["matches"])) == (0, 3)
    assert "scene2.png" in err
    code, out, _ = said(capsys, "remove", matches[0]["key"], "--library", library)
    assert (code, out.startswith(f"removed {matches[0]['key']}")) == (0, True)
    code, out, _ = said(capsys, "list", "--library", library)
    assert (code, out.splitlines()[-1]) == (0, f"{library}: 4 pictures")
    assert "scene2" not in out


def test_a_collected_folder_gives_its_colors_and_monochrome_ones_are_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rgb, infrared = daytime_scene.draw(0)
    write(tmp_path / "pairs" / "ir" / "a.png", infrared)
    write(tmp_path / "pairs" / "rgb" / "a.png", rgb)
    write(tmp_path / "pairs" / "rgb" / "b.png", infrared)
    code, out, _ = said(capsys, "add", tmp_path / "pairs", "--library", tmp_path / "library")
    assert code == 0
    assert out.endswith("1 added, 0 there already, 1 monochrome left out; 1 picture\n")


def test_a_broken_picture_is_said_and_the_others_are_taken(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (pictures / "scene3.png").write_bytes(b"no picture")
    code, out, err = said(capsys, "add", pictures, "--library", tmp_path / "library")
    assert code == 1
    assert err == f"irchroma references: cannot read {pictures / 'scene3.png'} as a picture\n"
    assert out.endswith("4 added, 0 there already, 1 not taken; 4 pictures\n")


def test_a_speck_does_not_go_in(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    speck = write(tmp_path / "speck.png", np.full((9, 400, 3), (200, 90, 20), np.uint8))
    code, out, err = said(capsys, "add", speck, "--library", tmp_path / "library")
    assert code == 1
    assert err == "irchroma references: speck.png is 400x9: a reference has sides of 32 or more\n"
    assert out.endswith("0 added, 0 there already, 1 not taken; 0 pictures\n")


@pytest.mark.gst
def test_a_recording_gives_its_views_without_what_passes_by(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rgb, _ = daytime_scene.draw(4)
    for number in range(12):
        frame = rgb.copy()
        cv2.rectangle(frame, (20 * number, 150), (20 * number + 25, 200), (250, 40, 40), -1)
        write(tmp_path / "walk" / f"{number:02}.png", frame)
    words = ("add", "--from-run", tmp_path / "walk", "--library", tmp_path / "library")
    code, out, _ = said(capsys, *words)
    assert code == 0
    assert out.endswith("1 added, 0 there already; 1 picture\n")
    (kept,) = (tmp_path / "library").glob("*.[jp][pn]g")
    after = cv2.imread(str(kept), cv2.IMREAD_COLOR)[..., ::-1]
    assert np.abs(after.astype(int) - rgb).mean() < 3
    assert "still" in said(capsys, "list", "--library", tmp_path / "library")[1]


@pytest.mark.gst
def test_what_is_true_of_every_picture_of_a_recording_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    rgb, _ = daytime_scene.draw(4)
    for number in range(5):
        write(tmp_path / "day" / f"{number:02}.png", rgb.astype(np.uint16) * 257)
    assert said(capsys, "add", "--from-run", tmp_path / "day", "--library", tmp_path / "library")[0] == 0
    assert [one.message for one in caplog.records if "8 bits" in one.message] == [
        "16-bit color was brought to 8 bits"
    ]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["add"], "nothing to add"),
        (["add", "nowhere.png"], "no such picture or folder"),
        (["add", "x.png", "--every", "0"], "expected --every above 0"),
        (["list"], "there is no library of references in"),
        (["search", "frame.png"], "there is no library of references in"),
        (["remove", "abcd"], "there is no library of references in"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    words: list[str], expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = said(capsys, *words, "--library", tmp_path / "library")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert expected in err


def test_every_action_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    for action in ("add", "list", "remove", "search"):
        with pytest.raises(SystemExit):
            main(["references", action, "--help"])
        assert f"irchroma references {action}" in capsys.readouterr().out.partition("example:")[2]


def test_a_folder_that_gives_nothing_has_failed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "night" / "a.png", daytime_scene.draw(0)[1])
    code, out, _ = said(capsys, "add", tmp_path / "night", "--library", tmp_path / "library")
    assert (code, out.endswith("0 added, 0 there already, 1 monochrome left out; 0 pictures\n")) == (1, True)
