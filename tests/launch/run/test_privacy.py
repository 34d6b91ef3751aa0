"""Privacy masks: on every output, snapshot and raw track, in the hash of evidence, and kept when drawn."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from tests.browser import WIDTH, opened
from tests.launch.run.control.test_control import running
from tests.waiting import wait_for

from irchroma.launch.cli import main
from irchroma.stream.errors import StreamOptionError
from irchroma.stream.frame import Frame
from irchroma.stream.picture.picture import Picture, planes_of
from irchroma.stream.protocols import Job
from irchroma.stream.sinks.evidence.verification import verify
from irchroma.stream.view.privacy import PrivacyMask, PrivacyMasks, PrivacyOptions, PrivateComposer

LEFT = ((0.0, 0.0), (0.4, 0.0), (0.4, 1.0), (0.0, 1.0))
RNG = np.random.default_rng(5)
PALETTE = np.asarray(cv2.applyColorMap(np.arange(256, dtype=np.uint8)[:, None], cv2.COLORMAP_JET))


def masks_of(style: str, points: Any = LEFT) -> PrivacyMasks:
    return PrivacyMasks(PrivacyOptions((PrivacyMask(points, style),)))


def decoded(path: Path, form: str) -> list[np.ndarray]:
    with av.open(str(path)) as file:
        return [frame.to_ndarray(format=form) for frame in file.decode(video=0)]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("style", ["black", "blocks"])
def test_what_is_under_a_mask_is_gone_and_the_rest_is_as_it_was(dtype: Any, style: str) -> None:
    pixels = RNG.integers(0, np.iinfo(dtype).max, (80, 100), dtype)
    frame = Frame(pixels, 0)
    masked = masks_of(style).apply(frame).pixels
    assert np.array_equal(masked[:, 42:], pixels[:, 42:])
    assert np.array_equal(frame.pixels, pixels)
    under = masked[:, :40]
    if style == "black":
        assert np.ptp(under) == 0
    else:
        assert len(np.unique(under)) <= 20 * 12  # blocks of 4 pixels
        assert np.abs(np.corrcoef(under.ravel(), pixels[:, :40].ravel())[0, 1]) < 0.45
    other = pixels.copy()
    other[:, :40] = other[::-1, ::-1][:, :40]
    if style == "black":  # nothing that depends on what was there
        assert np.array_equal(masks_of(style).apply(Frame(other, 0)).pixels, masked)


def test_a_polygon_covers_what_it_only_touches() -> None:
    masks = masks_of("black", ((0.5, 0.1), (0.9, 0.9), (0.1, 0.9)))
    pixels = RNG.integers(0, 250, (200, 300), np.uint8)
    changed = masks.apply(Frame(pixels, 0)).pixels != pixels
    inside = np.zeros((200, 300), np.uint8)
    corners = np.rint(np.array([(0.5, 0.1), (0.9, 0.9), (0.1, 0.9)]) * (299, 199)).astype(np.int32)
    cv2.fillConvexPoly(inside, corners, 1)
    assert changed[inside > 0].mean() > 0.98
    assert not changed[cv2.dilate(inside, np.ones((5, 5), np.uint8)) == 0].any()


class Colored:
    confidence = None

    def __init__(self, rgb: np.ndarray, planes: Any = None) -> None:
        self.rgb, self.planes = rgb, planes


class Passing:
    def compose(self, job: Job) -> Picture:
        return Picture.of_colored(job.colored)

    def no_signal(self, silent_s: float, reason: str) -> Picture:
        return Picture(np.full((80, 100, 3), 200, np.uint8))


def composed(style: str, planes: bool = False) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    luma = RNG.integers(0, 256, (80, 100), np.uint8)
    rgb = RNG.integers(0, 256, (80, 100, 3), np.uint8)
    made = planes_of(RNG.integers(16, 235, 80 * 100 * 3 // 2, dtype=np.uint8), (80, 100)) if planes else None
    colored: Any = Colored(rgb, made)
    before = Picture.of_colored(colored).rgb.copy()
    job = Job(Frame(luma, 0), luma, colored=colored)
    return PrivateComposer(Passing(), masks_of(style), PALETTE).compose(job).rgb, before, luma


@pytest.mark.parametrize("planes", [False, True])
def test_black_is_black_in_the_picture(planes: bool) -> None:
    shown, before, _ = composed("black", planes)
    assert shown[:, :40].max() == 0
    assert np.array_equal(shown[:, 44:], before[:, 44:])


def test_where_only_a_palette_may_be_no_color_is_guessed() -> None:
    shown, before, luma = composed("palette")
    assert np.array_equal(shown[:, :40], PALETTE[luma[:, :40], 0])
    assert np.array_equal(shown[:, 42:], before[:, 42:])


def test_a_card_made_of_a_picture_from_before_a_mask_is_blackened() -> None:
    masks = masks_of("blocks")
    composer = PrivateComposer(Passing(), masks, PALETTE)
    assert composer.no_signal(3, "gone").rgb[:, :40].max() == 0
    luma = np.zeros((80, 100), np.uint8)
    composer.compose(Job(Frame(luma, 0), luma, colored=Colored(np.zeros((80, 100, 3), np.uint8))))
    assert composer.no_signal(3, "gone").rgb[:, :40].min() == 200  # of what was masked already


@pytest.mark.gst
def test_recordings_and_raw_tracks_have_the_mask_and_evidence_counts_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
    config = tmp_path / "run.toml"
    points = json.dumps([list(point) for point in LEFT])
    config.write_text(f'[[privacy.masks]]\npoints = {points}\nname = "neighbor"\n')
    source = "test:nir?size=160x128&frames=12"
    words = ["run", source, "--config", str(config), "--engine", "nir", "--quiet"]
    color, raw = tmp_path / "color.mp4", tmp_path / "raw.mkv"
    assert main([*words, "--to", str(color), "--keep-raw", str(raw)]) == 0
    shown = decoded(color, "rgb24")
    assert len(shown) == 12
    assert max(picture[:, :60].max() for picture in shown) < 12
    assert min(picture[:, 70:].max() for picture in shown) > 60
    assert max(np.ptp(picture[:, :60]) for picture in decoded(raw, "gray")) == 0
    night = tmp_path / "night.mkv"
    assert main([*words, "--to", str(night), "--evidence"]) == 0
    report = verify(night)
    assert report.faults == []
    digest = PrivacyMasks(PrivacyOptions((PrivacyMask(LEFT, "black", "neighbor"),))).digest
    told = night.read_bytes()
    assert told.count(digest.encode()) == 12
    assert main([*words, "--to", str(color), "--keep-raw", str(raw), "--keep-raw-as", "bitstream"]) != 0


@pytest.mark.gst
def test_a_raw_track_is_whole_where_that_is_said(tmp_path: Path) -> None:
    config = tmp_path / "run.toml"
    points = json.dumps([list(point) for point in LEFT])
    config.write_text(f'[privacy]\nraw = "whole"\n[[privacy.masks]]\npoints = {points}\n')
    raw, color = tmp_path / "raw.mkv", tmp_path / "color.mp4"
    source = "test:nir?size=160x128&frames=3"
    words = ["run", source, "--to", str(color), "--keep-raw", str(raw), "--config", str(config), "--quiet"]
    assert main([*words, "--engine", "gray"]) == 0
    assert min(np.ptp(picture[:, :60]) for picture in decoded(raw, "gray")) > 20
    assert max(picture[:, :60].max() for picture in decoded(color, "rgb24")) < 12


@pytest.mark.gst
def test_masks_are_drawn_on_the_page_and_are_there_at_the_next_start(tmp_path: Path) -> None:
    file = tmp_path / "masks.json"
    drawn = [{"points": [list(point) for point in LEFT], "style": "black", "name": "door"}]
    options = PrivacyOptions(file=file)
    with running(privacy=options, engine="gray") as run:
        assert run.picture()[:, :60].max() > 30
        assert run.state()["privacy"] == {"fixed": [], "drawn": [], "can_be_drawn": True}
        status, state = run.change(masks=drawn)
        assert (status, state["privacy"]["drawn"]) == (200, drawn)
        wait_for(lambda: run.picture()[:, :60].max() < 12)
        data = np.frombuffer(run.request("GET", "/snapshot.jpg?show=pair")[1], np.uint8)
        pair = cv2.imdecode(data, cv2.IMREAD_COLOR)  # a viewer's own view has nothing else either
        assert pair.shape == (128, 320, 3)
        assert max(pair[:, :58].max(), pair[:, 164:218].max()) < 16
        for wrong in ([{"points": [[0, 0], [1, 1]]}], [{"points": [[0, 0], [2, 0], [1, 1]]}], "all", [{}]):
            status, problem = run.change(masks=wrong)
            assert status == 400
            assert "mask" in problem["error"]
        assert run.state()["privacy"]["drawn"] == drawn
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with running(privacy=options, engine="gray") as run:
        assert run.picture()[:, :60].max() < 12
        run.change(masks=[])
        wait_for(lambda: run.picture()[:, :60].max() > 30)


@pytest.mark.gst
@pytest.mark.browser
def test_an_operator_covers_a_place_with_the_mouse_and_another_by_the_keyboard(tmp_path: Path) -> None:
    source = "test:nir?size=320x256&rate=10&live=1"
    with (
        running(privacy=PrivacyOptions(file=tmp_path / "masks.json"), engine="gray", source=source) as run,
        opened(f"http://127.0.0.1:{run.port}/", tmp_path / "profile") as tab,
    ):
        tab.wait_for(f"{WIDTH} === 320 && ready && !at('privacy').hidden")
        tab.value("at('privacy').open = true; document.querySelector('[data-style=black]').click()")
        tab.value("new Promise((drawn) => setTimeout(drawn, 300))")  # the panel takes its place
        box = tab.value(
            "((box, v) => [box.left + v('--x'), box.top + v('--y'), v('--w'), v('--h')])"
            "(stage.getBoundingClientRect(), (n) => parseFloat(stage.style.getPropertyValue(n)))"
        )
        for x, y in ((0.1, 0.1), (0.4, 0.1), (0.4, 0.6), (0.1, 0.1)):  # back to the first corner closes it
            place = (box[0] + x * box[2], box[1] + y * box[3])
            tab.drag(place, place)
            if (x, y) == (0.4, 0.6):
                tab.wait_for("document.querySelector('#covers .new') && !at('close').hidden")
                tab.screenshot(tmp_path / "drawing.png")
        wait_for(lambda: len(run.state()["privacy"]["drawn"]) == 1)
        (mask,) = run.state()["privacy"]["drawn"]
        corners = [share for point in mask["points"] for share in point]
        assert corners == pytest.approx([0.1, 0.1, 0.4, 0.1, 0.4, 0.6], abs=0.03)
        wait_for(lambda: run.picture()[40:60, 110:125].max() < 12)
        tab.value("document.querySelector('[data-style=blocks]').click()")
        for key in (" ", "ArrowRight", " ", "ArrowDown", "ArrowDown", " ", "Backspace", " ", "Enter"):
            tab.press(key)
        wait_for(lambda: len(run.state()["privacy"]["drawn"]) == 2)
        assert run.state()["privacy"]["drawn"][1]["points"] == [[0.5, 0.5], [0.52, 0.5], [0.52, 0.54]]
        assert tab.value("still.hidden"), "the space bar froze nothing meanwhile"
        tab.wait_for("document.querySelectorAll('#masks li').length === 2 && cover === null")
        tab.screenshot(tmp_path / "masks.png")
        tab.value("document.querySelector('#masks button').click()")
        wait_for(lambda: len(run.state()["privacy"]["drawn"]) == 1)
        tab.value("at('reload').click()")
        tab.wait_for("at('reloaded').textContent.length > 5")


@pytest.mark.gst
def test_masks_of_the_configuration_stay_whatever_is_drawn_and_nothing_is_drawn_that_would_be_lost() -> None:
    fixed = PrivacyOptions((PrivacyMask(LEFT),))
    with running(privacy=fixed, engine="gray") as run:
        status, problem = run.change(masks=[])
        assert status == 400
        assert "--privacy FILE.json" in problem["error"]
        assert run.picture()[:, :60].max() < 12
    with running(engine="gray") as run:
        assert run.change(masks=[])[0] == 400


@pytest.mark.parametrize(
    "text", ["[]", "{", '{"masks": [{"points": 3}]}', '{"masks": [{"points": [[0, NaN]]}]}']
)
def test_a_file_that_holds_no_masks_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "masks.json"
    file.write_text(text)
    with pytest.raises(StreamOptionError, match=r"masks\.json"):
        PrivacyMasks(PrivacyOptions(file=file))
