"""`--repair` of runs and pictures: what is marked is filled before anything sees it, the raw track is not."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from tests.reading import frames_of

from irchroma.engines.network.network import NetworkOptions
from irchroma.engines.repair.mask import MaskError
from irchroma.launch.cli import main
from irchroma.launch.config import ConfigError
from irchroma.launch.run.repairing import DOUBTED, RunRepair, mask_of
from irchroma.launch.run.settings.options import RepairChoice, load
from irchroma.stream.frame import Frame
from irchroma.stream.protocols import Job
from irchroma.stream.sensor.profile import CameraProfile, save_profile, with_faults
from irchroma.stream.view.composer import ViewComposer
from irchroma.stream.view.views import ViewOptions

SIZE = (64, 96)


def white(path: Path, *parts: tuple[slice, slice], size: tuple[int, int] = SIZE) -> str:
    mask = np.zeros(size, np.uint8)
    for part in parts:
        mask[part] = 255
    cv2.imwrite(str(path), mask)
    return str(path)


@pytest.mark.gst
def test_counts_are_repaired_in_the_picture_and_never_in_the_raw_track(tmp_path: Path) -> None:
    clip = tmp_path / "clip.mkv"
    source = f"test:thermal?size={SIZE[1]}x{SIZE[0]}&frames=8"
    assert main(["run", source, "--to", "null", "--keep-raw", str(clip), "--engine", "gray", "--quiet"]) == 0
    folder = tmp_path / "spoiled"
    folder.mkdir()
    for number, frame in enumerate(frames_of(clip)):
        pixels = frame.pixels.copy()
        pixels[20:34, 30:44] = 65535
        cv2.imwrite(str(folder / f"{number}.png"), pixels)
    mask = white(tmp_path / "mask.png", np.s_[20:34, 30:44])
    raw, out, stats = tmp_path / "raw.mkv", tmp_path / "out.mkv", tmp_path / "stats.json"
    words = ["--to", str(out), "--keep-raw", str(raw), "--stats", str(stats), "--engine", "gray", "--quiet"]
    assert main(["run", str(folder), *words, "--repair", mask, "--repair-with", "telea"]) == 0
    assert all((frame.pixels[20:34, 30:44] == 65535).all() for frame in frames_of(raw))
    for frame in frames_of(out):
        luma = frame.pixels if frame.pixels.ndim == 2 else frame.pixels[..., 1]
        inside, around = luma[20:34, 30:44].mean(), luma[14:40, 24:50].mean()
        assert abs(inside - around) < 40
    told = json.loads(stats.read_text())
    assert told["repair"]["frames"] == 8
    assert told["repair"]["pixels_a_frame"] == 14 * 14
    assert told["repair"]["method"] == "telea"
    assert told["stages"]["repair"]["count"] == 8


@pytest.mark.gst
def test_a_mask_of_another_size_ends_the_run_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mask = white(tmp_path / "mask.png", np.s_[2:9, 2:9], size=(32, 32))
    source = f"test:nir?size={SIZE[1]}x{SIZE[0]}&frames=3"
    assert main(["run", source, "--to", "null", "--engine", "gray", "--repair", mask, "--quiet"]) == 1
    (line,) = [one for one in capsys.readouterr().err.splitlines() if one.startswith("irchroma run")]
    assert "is 32x32, the picture 96x64: a mask must be of the picture's size" in line


def test_later_pictures_of_another_size_pass_with_a_remark(tmp_path: Path) -> None:
    mask = white(tmp_path / "mask.png", np.s_[2:9, 2:9])
    repair = RunRepair(RepairChoice(mask, "telea"), NetworkOptions())
    assert repair.apply(np.full(SIZE, 90, np.uint8), 0)[1] is not None
    other = np.full((32, 32), 90, np.uint8)
    assert repair.apply(other, 10)[0] is other


def test_a_camera_s_profile_is_a_mask_too(tmp_path: Path) -> None:
    kinds = np.zeros(SIZE, np.uint8)
    kinds[5, 7] = 1
    profile = with_faults(CameraProfile("yard"), SIZE, bad_pixels=kinds, missing=((20, 30, 4, 2),))
    save_profile(tmp_path / "camera.toml", profile)
    mask = mask_of(str(tmp_path / "camera.toml"))
    assert mask[5, 7]
    assert mask[30:32, 20:24].all()
    assert mask.sum() == 9


def test_auto_finds_a_clock_after_some_seconds_and_fills_it() -> None:
    random = np.random.default_rng(0)
    scene = cv2.resize(random.integers(40, 120, (10, 16)).astype(np.uint8), (320, 180))
    repair = RunRepair(RepairChoice("auto", "navier-stokes"), NetworkOptions())
    marked = []
    for number in range(40):
        frame = scene.copy()
        cv2.putText(frame, f"CAM 10:24:{number:02d}", (20, 30), cv2.FONT_HERSHEY_SIMPLEX, 0.6, 255, 2)
        out, mark = repair.apply(frame, number * 250_000_000)
        marked.append(mark is not None)
    assert not marked[0]
    assert marked[-1]
    assert (out[10:35] >= 200).sum() < 0.1 * (frame[10:35] >= 200).sum()
    assert np.array_equal(out[60:], scene[60:])


def test_auto_fills_the_blocks_that_a_frame_lacks() -> None:
    random = np.random.default_rng(0)
    scene = cv2.resize(random.integers(40, 220, (23, 40)).astype(np.uint8), (320, 184))
    repair = RunRepair(RepairChoice("auto", "navier-stokes"), NetworkOptions())
    repair.apply(scene, 0)
    broken = scene.copy()
    broken[64:80, 32:288] = 128
    out, mark = repair.apply(broken, 40_000_000)
    assert mark is not None
    assert (mark[64:80, 32:288] == 255).all()
    assert np.abs(out.astype(int) - scene).max() <= 2
    assert repair.summary()["damaged_frames"] == 1


def test_auto_restores_what_a_decoder_made_up_and_marks_what_goes_on_from_it() -> None:
    random = np.random.default_rng(0)
    scene = cv2.resize(random.integers(40, 220, (23, 40)).astype(np.uint8), (320, 184))
    repair = RunRepair(RepairChoice("auto", "navier-stokes"), NetworkOptions())
    walks = cv2.resize(random.integers(0, 256, (12, 6)).astype(np.uint8), (40, 80))
    truth = [scene.copy() for _ in range(8)]
    for number, frame in enumerate(truth):
        frame[98:178, 60 + 5 * number : 100 + 5 * number] = walks
    marks, off = [], []
    for number, frame in enumerate(truth):
        came = frame.copy()
        if number in (4, 5):  # the lower half is made up of the frame before; the next goes on from it
            came[92:] = truth[number - 1][92:]
        said = {4: 0.5, 5: 1.0}.get(number)
        out, mark = repair.apply(came, number * 40_000_000, False, said, number in (0, 6))
        marks.append(mark)
        off.append([np.abs(one.astype(int) - frame)[98:178].mean() for one in (came, out)])
        unmarked = np.ones(came.shape, bool) if mark is None else mark < 255
        assert np.array_equal(out[unmarked], came[unmarked])
    assert [mark is not None for mark in marks] == [number in (4, 5) for number in range(8)]
    assert all(after < 0.6 * before for before, after in off[4:6])
    assert marks[5] is not None
    assert set(np.unique(marks[5])) == {0, DOUBTED, 255}
    assert repair.summary()["doubted_frames"] == 2
    assert repair.summary()["damaged_frames"] == 2


def test_what_is_doubted_is_less_sure_in_the_confidence_view() -> None:
    luma, repaired = np.full(SIZE, 120, np.uint8), np.zeros(SIZE, np.uint8)
    repaired[20:40, 30:60], repaired[20:40, 70:90] = 255, DOUBTED
    composer = ViewComposer(ViewOptions("confidence"))
    shown = composer.compose(Job(Frame(luma, 0), luma, repaired=repaired)).rgb.astype(int)
    red_less_blue = shown[..., 0] - shown[..., 2]
    sure, doubted, made = (red_less_blue[25:35, at].mean() for at in (10, 80, 45))
    assert sure + 20 < doubted < made - 20


def test_repaired_places_are_unsure_in_the_confidence_view() -> None:
    luma, repaired = np.full(SIZE, 120, np.uint8), np.zeros(SIZE, np.uint8)
    repaired[20:40, 30:60] = 255
    composer = ViewComposer(ViewOptions("confidence"))
    shown = composer.compose(Job(Frame(luma, 0), luma, repaired=repaired)).rgb
    red, _, blue = (shown[..., channel].astype(int) for channel in range(3))
    assert (red - blue)[25:35, 35:55].min() > 40  # vermilion
    assert (red - blue)[2:10, 70:90].max() < 0  # teal


def test_a_picture_is_repaired_before_it_is_colored(tmp_path: Path) -> None:
    picture = np.tile(np.linspace(60, 180, SIZE[1]).astype(np.uint8), (SIZE[0], 1))
    spoiled = picture.copy()
    spoiled[20:23] = 255
    cv2.imwrite(str(tmp_path / "in.png"), spoiled)
    mask = white(tmp_path / "mask.png", np.s_[20:23, :])
    words = [str(tmp_path / "in.png"), str(tmp_path / "out.png"), "--engine", "gray", "--repair", mask]
    assert main(["image", *words]) == 0
    made = cv2.imread(str(tmp_path / "out.png"))[..., 1]
    assert np.abs(made.astype(int) - picture).max() <= 3


def test_pictures_of_a_folder_are_repaired_by_the_masks_of_their_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, masks = tmp_path / "in", tmp_path / "masks"
    folder.mkdir()
    masks.mkdir()
    spoiled = {"wide": np.s_[20:23, :], "tall": np.s_[:, 30:33], "whole": None}
    for name, place in spoiled.items():
        size = (96, 64) if name == "tall" else SIZE
        picture = np.full(size, 120, np.uint8)
        if place is not None:
            white(masks / f"{name}.png", place, size=size)
            picture[place] = 255
        cv2.imwrite(str(folder / f"{name}.png"), picture)
    words = [str(folder), str(tmp_path / "out"), "--engine", "gray", "--repair", str(masks)]
    assert main(["image", *words]) == 0
    assert "whole.png: not repaired, without a mask of its name" in capsys.readouterr().out
    for name in spoiled:
        made = cv2.imread(str(tmp_path / "out" / f"{name}.png"))
        assert np.abs(made.astype(int) - 120).max() <= 12, name  # 135 where it was spoiled
    for path in masks.iterdir():
        path.unlink()
    assert main(["image", *words]) == 1
    assert "no masks in it" in capsys.readouterr().err


def test_what_makes_no_sense_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigError, match="unknown method 'magic'"):
        RepairChoice("mask.png", "magic")
    with pytest.raises(ConfigError, match="add --repair"):
        load(None, {"repair.method": "telea"})
    assert main(["image", "a.png", "b.png", "--repair", "auto"]) == 1
    assert "calibrate burn-in" in capsys.readouterr().err
    cv2.imwrite(str(tmp_path / "in.png"), np.zeros((20, 20), np.uint8))
    mask = white(tmp_path / "mask.png", np.s_[2:9, 2:9])
    words = [str(tmp_path / "in.png"), str(tmp_path / "out.png"), "--engine", "gray", "--repair", mask]
    assert main(["image", *words]) == 1
    assert "the picture 20x20" in capsys.readouterr().err


@pytest.mark.gst
def test_calibrate_burn_in_writes_a_mask_that_a_run_takes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    random = np.random.default_rng(0)
    scene = cv2.resize(random.integers(40, 120, (10, 16)).astype(np.uint8), (320, 180))
    for number in range(24):
        frame = np.roll(scene, 9 * number, axis=1)
        cv2.putText(frame, f"GATE {number:02d}", (20, 30), cv2.FONT_HERSHEY_SIMPLEX, 0.6, 255, 2)
        cv2.imwrite(str(folder / f"{number:03d}.png"), frame)
    mask = tmp_path / "mask.png"
    assert main(["calibrate", "burn-in", str(folder), "--out", str(mask), "--seconds", "0"]) == 0
    assert "written, for run --repair" in capsys.readouterr().out
    assert cv2.imread(str(mask), 0)[16:31, 20:100].mean() > 100
    assert (tmp_path / "mask-overview.png").is_file()
    words = ["--to", "null", "--engine", "gray", "--repair", str(mask), "--repair-with", "telea", "--quiet"]
    assert main(["run", str(folder), *words]) == 0
    assert main(["calibrate", "burn-in", str(folder), "--out", str(tmp_path / "mask.jpg")]) == 1
    assert "ends in .png" in capsys.readouterr().err


@pytest.mark.gst
def test_a_folder_of_masks_repairs_each_frame_by_its_own(tmp_path: Path) -> None:
    frames, masks = tmp_path / "frames", tmp_path / "masks"
    frames.mkdir()
    masks.mkdir()
    smooth = np.tile(np.linspace(60, 180, SIZE[1]).astype(np.uint8), (SIZE[0], 1))
    for number in range(4):
        picture = smooth.copy()
        part = np.s_[20:34, 10 + 15 * number : 24 + 15 * number]
        picture[part] = 255
        cv2.imwrite(str(frames / f"{number}.png"), picture)
        if number != 2:  # which has no mask, and stays as it came
            white(masks / f"mask_{number:04d}.png", part)
    cv2.imwrite(str(masks / "mask_0003.png"), np.zeros(SIZE, np.uint8))  # nor does this mark anything
    out, stats = tmp_path / "out.mkv", tmp_path / "stats.json"
    words = ["--to", str(out), "--stats", str(stats), "--engine", "gray", "--quiet"]
    assert main(["run", str(frames), *words, "--repair", str(masks), "--repair-with", "telea"]) == 0
    made = [frame.pixels if frame.pixels.ndim == 2 else frame.pixels[..., 1] for frame in frames_of(out)]
    for number, luma in enumerate(made):
        inside = luma[24:30, 14 + 15 * number : 20 + 15 * number]
        truth = smooth[24:30, 14 + 15 * number : 20 + 15 * number]
        assert (np.abs(inside.astype(int) - truth).mean() < 12) == (number < 2)
    assert json.loads(stats.read_text())["repair"]["frames"] == 2


def test_a_folder_of_masks_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    def refused(text: str) -> None:
        with pytest.raises(MaskError, match=text):
            RunRepair(RepairChoice(str(tmp_path), "telea"), NetworkOptions())

    refused("no masks in it")
    white(tmp_path / "hole.png", np.s_[2:9, 2:9])
    refused("expected its frame's number")
    (tmp_path / "hole.png").rename(tmp_path / "a7.png")
    (tmp_path / "._a7.png").write_bytes(b"of a file system")  # hidden files are no masks
    white(tmp_path / "b07.png", np.s_[2:9, 2:9])
    refused("is for frame 7 as a7.png is")
    (tmp_path / "b07.png").unlink()
    (tmp_path / "a7.png").write_bytes(b"no picture")
    refused("not a picture")
    with pytest.raises(MaskError, match="name one mask"):
        mask_of(str(tmp_path))
