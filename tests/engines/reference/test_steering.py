"""Steering color by a picture of the scene by day."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from tests import daytime_scene

from irchroma.engines import catalog
from irchroma.engines.measures.ghost import ghost
from irchroma.engines.measures.metrics import psnr
from irchroma.engines.network.network import RUNTIMES, NetworkOptions, installed
from irchroma.engines.neural.colorizer import NeuralColorizer, NeuralOptions
from irchroma.engines.recolor import color_space
from irchroma.engines.recolor.recoloring import Recoloring
from irchroma.engines.reference import overlay, preference, steering
from irchroma.engines.reference.pictures import AUTO, Reference, load_references
from irchroma.engines.reference.preference import BAND
from irchroma.engines.reference.steering import ReferenceOptions, ReferenceSteering

FRAME_NS = 33_333_333
OPTIONS = ReferenceOptions(Path("scene.png"))
HEIGHTS = np.repeat(np.linspace(-1.0, 1.0, 120, dtype=np.float32), 160)


def as_reference(rgb: NDArray[np.uint8], still: bool = False) -> Reference:
    return Reference(rgb, np.full(rgb.shape[:2], 255, np.uint8), "scene.png", still)


def gray_color(infrared: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What a network without an idea says."""
    ycc = np.zeros((*infrared.shape, 3), np.float32)
    ycc[..., 0] = infrared / np.float32(255)
    return ycc, np.full(infrared.shape, 0.3, np.float32)


def test_a_static_scene_takes_its_real_color_and_is_sure_of_it() -> None:
    rgb, infrared = daytime_scene.draw(3)
    steering = ReferenceSteering(OPTIONS, [as_reference(rgb)])
    ycc, confidence = steering.apply(infrared, *gray_color(infrared), 0)
    without = psnr(color_space.ycc_to_rgb(gray_color(infrared)[0]), rgb)
    assert psnr(color_space.ycc_to_rgb(ycc), rgb) > without + 10
    assert confidence.mean() > 0.9


def test_a_little_of_a_reference_does_not_show_what_the_network_guesses() -> None:
    rgb, infrared = daytime_scene.draw(3)
    look = catalog.BANDS["thermal"].look
    guess, unsure = np.zeros((*infrared.shape, 3), np.float32), np.zeros(infrared.shape, np.float32)
    guess[...] = 0.6, -0.2, 0.3
    shown = []
    for weight in (0.0, 0.2, 0.5):
        options = replace(OPTIONS, weight=weight, look=look)
        steering = ReferenceSteering(options, [as_reference(rgb, still=True)])
        recoloring = Recoloring(look=look)
        shown.append(recoloring.apply(infrared, infrared, *steering.apply(infrared, guess, unsure, 0)))
    alone = Recoloring(look=look).apply(infrared, infrared, guess, unsure).astype(np.float32)
    away = [float(np.abs(one - alone).mean()) for one in shown]
    assert away[0] < 0.1 * away[1]
    assert away[1] < 0.7 * away[2]


def test_scenery_stays_in_the_band_around_the_own_tone_where_that_is_kept() -> None:
    rgb, infrared = daytime_scene.draw(3)
    bright = np.asarray(255 - (255 - rgb.astype(np.float32)) * 0.6, np.uint8)
    plain = gray_color(infrared)
    base = color_space.ycc_to_rgb(plain[0])
    rose = []
    for own_tone in (False, True):
        options = replace(OPTIONS, careful=True, held=1.0, own_tone=own_tone)
        steering = ReferenceSteering(options, [as_reference(bright, still=True)])
        steering.apply(infrared, plain[0] * np.float32(0.4), plain[1], 0)
        assert steering.scenery is not None
        shown = steering.scenery.put_behind(cv2.convertScaleAbs(base, alpha=0.4))
        rose.append(shown.mean() / 255 - 0.4 * base.mean() / 255)
    assert rose[0] > rose[1] + 0.05
    assert 0.02 < rose[1] < BAND[1] + 0.02


def test_a_light_night_that_is_wished_for_lies_over_edges_that_it_lacks_but_over_nobody() -> None:
    """A wood whose leaves the infrared shows in another way, and somebody who stands out of it."""
    rows, columns = np.mgrid[:240, :320]
    infrared = np.asarray(np.where((rows + columns) // 8 % 2 == 0, 50, 90), np.uint8)
    cv2.circle(infrared, (160, 120), 12, 230, -1)
    wood = overlay.Laid(as_reference(np.full((240, 320, 3), (70, 90, 60), np.uint8)), np.eye(2, 3), infrared)
    small = preference.small_size(infrared.shape)[::-1]
    all_worth, none_kept = np.ones(small, np.float32), np.zeros(small, np.float32)
    chosen, wished = (wood.where_sure(infrared, all_worth, none_kept, share) for share in (0.0, 1.0))
    assert chosen.max() == 0.0
    elsewhere = wished[30:-30, 30:100]
    assert elsewhere.min() > 0.95 * overlay.WISHED_OVER
    assert wished[116:124, 156:164].max() < 0.05


def test_of_a_single_night_the_light_of_cars_is_left_out_and_of_several_pictures_nothing() -> None:
    rgb, infrared = daytime_scene.draw(3)
    night = np.asarray(rgb // 6, np.uint8)
    height, width = infrared.shape
    pool = np.zeros((height, width), np.float32)
    pool[height // 3 : 2 * height // 3, width // 4 : width // 2] = 1.0
    pool = cv2.GaussianBlur(pool, (0, 0), 8)[..., None]
    lit = np.asarray(night + pool * (230 - night.astype(np.float32)), np.uint8)
    inside = np.s_[height * 4 // 9 : height * 5 // 9, width // 3 : width * 5 // 12]
    luma = {}
    for name, given, options in (
        ("dark", as_reference(night), OPTIONS),
        ("single", as_reference(lit), OPTIONS),
        ("several", as_reference(lit, still=True), OPTIONS),
    ):
        steering = ReferenceSteering(replace(options, own_tone=True), [given])
        luma[name] = steering.apply(infrared, *gray_color(infrared), 0)[0][inside][..., 0].mean()
        assert steering.alignment is not None
    assert luma["several"] > luma["dark"] + 0.4
    assert luma["single"] < luma["dark"] + 0.25
    looked_at = ReferenceSteering(replace(OPTIONS, careful=True), [as_reference(lit)])
    assert looked_at.references[0].rgb is lit  # the network beside it takes less of it in ways of its own


def test_an_evening_is_laid_with_its_bright_sky_and_a_wood_as_it_is() -> None:
    evening = np.full((120, 160, 3), (70, 68, 64), np.uint8)
    evening[60:, 40:], evening[:40, :50] = 25, (250, 225, 190)
    wood = np.full_like(evening, 70)
    wood[::3], wood[:10, ::7] = 30, 240
    for picture in (evening, wood):
        given = as_reference(picture)
        assert overlay.Light.of(color_space.rgb_to_ycc(picture).reshape(-1, 3), HEIGHTS).by_night(True) > 0.5
        assert overlay.by_steady_light(given, thermal=True) is given


def test_whoever_exchanges_references_waits_for_no_light_that_is_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rgb, infrared = daytime_scene.draw(3)
    threads: list[str] = []

    def noted(reference: Reference, thermal: bool) -> Reference:
        threads.append(threading.current_thread().name)
        return overlay.by_steady_light(reference, thermal)

    monkeypatch.setattr(steering, "by_steady_light", noted)
    found = ReferenceSteering(ReferenceOptions(AUTO), [], beside=lambda: None)
    found.exchange([as_reference(rgb)])
    assert threads == []
    number, deadline_s = 0, time.monotonic() + 20
    while found.alignment is None:
        assert time.monotonic() < deadline_s
        found.apply(infrared, *gray_color(infrared), number * FRAME_NS)
        number += 1
    found.close()
    assert len(threads) == 1
    assert threads[0].startswith("reference")


@pytest.mark.parametrize("size", [(240, 320), (241, 321)])
@pytest.mark.parametrize("still", [True, False])
def test_scenery_lies_behind_video_as_it_does_behind_a_picture(size: tuple[int, int], still: bool) -> None:
    rgb, infrared = daytime_scene.draw(3)
    steering = ReferenceSteering(OPTIONS, [as_reference(rgb, still)])
    ycc, _ = steering.apply(infrared, *gray_color(infrared), 0)
    assert steering.scenery is not None
    lifted = replace(steering.scenery, lift=np.full(infrared.shape, 0.05, np.float32))
    colored = cv2.resize(color_space.ycc_to_rgb(ycc), size[::-1])
    half = (-(-size[1] // 2), -(-size[0] // 2))
    for scenery in (steering.scenery, lifted):
        y, *chroma = cv2.split(color_space.rgb_to_video(colored))
        cb, cr = (cv2.resize(plane, half, interpolation=cv2.INTER_AREA) for plane in chroma)
        found = scenery.put_behind_video(y, cb, cr)
        assert [plane.shape for plane in found] == [size, half[::-1], half[::-1]]
        assert all(one is given for one, given in zip(found, (y, cb, cr), strict=True))
        expected = cv2.cvtColor(scenery.put_behind(colored), cv2.COLOR_RGB2GRAY)
        shown = cv2.cvtColor(color_space.video_to_rgb(*found), cv2.COLOR_RGB2GRAY)
        assert psnr(shown, expected) > 38
        assert abs(float(shown.mean()) - float(expected.mean())) < 1.0


@pytest.mark.parametrize(
    ("careful", "said"), [(False, "network's color is used"), (True, "mood of the first")]
)
def test_with_a_picture_of_another_scene_nothing_changes_at_all(
    careful: bool, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    _, infrared = daytime_scene.draw(3)
    other, _ = daytime_scene.draw(4)
    steering = ReferenceSteering(replace(OPTIONS, careful=careful), [as_reference(other)])
    before = gray_color(infrared)
    for number in range(3):
        after = steering.apply(infrared, *before, number * FRAME_NS)
        assert after[0] is before[0]
        assert after[1] is before[1]
        assert steering.scenery is None
    assert said in caplog.text


@pytest.mark.parametrize("right_one", [True, False])
def test_a_reference_that_the_scene_chooses_is_said_to_be_of_another_only_once_the_choice_stands(
    right_one: bool, caplog: pytest.LogCaptureFixture
) -> None:
    rgb, infrared = daytime_scene.draw(3)
    other, _ = daytime_scene.draw(4)
    steering = ReferenceSteering(ReferenceOptions(AUTO), [as_reference(other)])
    before = gray_color(infrared)
    for number in range(20):
        if number == 7 and right_one:
            steering.exchange([as_reference(rgb)])
        steering.apply(infrared, *before, round(number * 0.2e9))
        if number < 15:
            assert "no reference" not in caplog.text
    assert [record.message[:12] for record in caplog.records] == ["no reference"] * (not right_one)


def test_what_the_reference_does_not_show_keeps_the_color_of_the_network() -> None:
    rgb, infrared = daytime_scene.draw(3, pieces=16)
    with_person = infrared.copy()
    cv2.ellipse(with_person, (150, 150), (14, 36), 0, 0, 360, 255, -1)
    person = cv2.ellipse(np.zeros_like(infrared), (150, 150), (11, 32), 0, 0, 360, 1, -1) > 0
    steering = ReferenceSteering(OPTIONS, [as_reference(rgb)])
    before = gray_color(with_person)
    after, confidence = steering.apply(with_person, *before, 0)
    assert np.abs(after - before[0]).max(2)[person].mean() < 0.08
    assert confidence[person].mean() < 0.5
    away = cv2.dilate(person.astype(np.uint8), np.ones((25, 25))) == 0
    truth = color_space.rgb_to_ycc(rgb)
    assert np.abs(after - truth).max(2)[away].mean() < 0.03


def test_the_color_stays_on_the_scene_while_the_camera_shakes() -> None:
    rgb, infrared = daytime_scene.draw(6)
    steering = ReferenceSteering(OPTIONS, [as_reference(rgb, still=True)])
    for number, shift in enumerate([(0, 0), (3, -2), (-4, 1), (6, 5), (0, 0)]):
        frame = daytime_scene.moved(infrared, 1.0, 0.0, shift)
        truth = daytime_scene.moved(rgb, 1.0, 0.0, shift)
        ycc, _ = steering.apply(frame, *gray_color(frame), number * FRAME_NS)
        inside = (slice(12, -12), slice(12, -12))
        assert psnr(color_space.ycc_to_rgb(ycc)[inside], truth[inside]) > 22, (number, shift)


def test_the_reference_that_fits_is_chosen_and_a_cut_to_an_unknown_view_lets_go_of_it() -> None:
    scenes = [daytime_scene.draw(seed) for seed in (11, 12, 13)]
    steering = ReferenceSteering(OPTIONS, [as_reference(rgb, still=True) for rgb, _ in scenes[:2]])
    for number, (rgb, infrared) in enumerate(scenes[:2]):
        ycc, _ = steering.apply(infrared, *gray_color(infrared), number * FRAME_NS)
        assert psnr(color_space.ycc_to_rgb(ycc), rgb) > 22
    before = gray_color(scenes[2][1])
    assert steering.apply(scenes[2][1], *before, 2 * FRAME_NS)[0] is before[0]
    assert steering.alignment is None


def test_a_reference_is_looked_for_beside_the_frames_and_fades_in() -> None:
    rgb, infrared = daytime_scene.draw(3)
    begun, may_look = threading.Event(), threading.Event()

    def first() -> None:
        begun.set()
        assert may_look.wait(20)

    steering = ReferenceSteering(OPTIONS, [as_reference(rgb, still=True)], beside=first)
    plain = gray_color(infrared)
    for number in range(5):  # the look does not end meanwhile, and no frame waits for it
        assert steering.apply(infrared, *plain, number * FRAME_NS)[0] is plain[0]
    assert begun.wait(20)
    may_look.set()
    shown, number = [plain[0]], 5
    deadline_s = time.monotonic() + 20
    while steering.alignment is None or number < 40:
        assert time.monotonic() < deadline_s
        shown.append(steering.apply(infrared, *plain, number * FRAME_NS)[0])
        number = number + 1 if steering.alignment is not None else number
    steering.close()
    steps = [float(np.abs(after - before).mean()) for before, after in pairwise(shown)]
    whole = float(np.abs(shown[-1] - shown[0]).mean())
    assert 0 < max(steps) < 0.1 * whole
    assert psnr(color_space.ycc_to_rgb(shown[-1]), rgb) > 22
    steering.close()


def test_references_that_are_exchanged_while_frames_come_fade_and_never_jump() -> None:
    rgb, infrared = daytime_scene.draw(3)
    other = np.ascontiguousarray(rgb[..., ::-1])
    steering = ReferenceSteering(ReferenceOptions(AUTO), load_references(AUTO))
    plain = gray_color(infrared)
    assert steering.apply(infrared, *plain, 0)[0] is plain[0]
    shown, steps = [plain[0]], []
    for number in range(1, 90):
        if number == 2:
            steering.exchange([as_reference(rgb, still=True)])
        if number == 40:
            steering.exchange([as_reference(other, still=True)])
        shown.append(steering.apply(infrared, *plain, number * FRAME_NS)[0])
        steps.append(float(np.abs(shown[-1] - shown[-2]).mean()))
    whole = float(np.abs(shown[39] - shown[0]).mean())
    assert whole > 0.05
    assert max(steps) < 0.1 * whole
    assert psnr(color_space.ycc_to_rgb(shown[39]), rgb) > 22
    assert psnr(color_space.ycc_to_rgb(shown[-1]), other) > 22
    steering.exchange([])
    for number in range(90, 120):
        shown.append(steering.apply(infrared, *plain, number * FRAME_NS)[0])
    assert shown[-1] is plain[0]


def test_untrusted_places_keep_the_color_of_the_network() -> None:
    rgb, infrared = daytime_scene.draw(3)
    trust = np.full(infrared.shape, 255, np.uint8)
    trust[:, :160] = 0
    steering = ReferenceSteering(OPTIONS, [Reference(rgb, trust, "half")])
    before = gray_color(infrared)
    after, _ = steering.apply(infrared, *before, 0)
    assert np.abs(after - before[0])[:, :150].max() < 1e-3
    assert np.abs(after - before[0])[:, 170:].mean() > 0.05


@pytest.mark.skipif(not any(map(installed, RUNTIMES)), reason="no runtime is installed")
def test_a_neural_colorizer_takes_a_reference_and_a_wrong_one_changes_nothing(
    tiny_network: Path, tmp_path: Path
) -> None:
    rgb, infrared = daytime_scene.draw(3)
    other, _ = daytime_scene.draw(4)
    for name, picture in (("right.png", rgb), ("wrong.png", other)):
        cv2.imwrite(str(tmp_path / name), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))

    def colored(reference: Path | None) -> NDArray[np.uint8]:
        network = NetworkOptions(cache=None, threads=1)
        colorizer = NeuralColorizer(NeuralOptions(weights=tiny_network, reference=reference, network=network))
        colorizer.submit(infrared, 0)
        try:
            return colorizer.collect().rgb
        finally:
            colorizer.close()

    without = colored(None)
    assert np.array_equal(colored(tmp_path / "wrong.png"), without)
    assert psnr(colored(tmp_path / "right.png"), rgb) > psnr(without, rgb) + 4


def near_infrared(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """What a near-infrared camera sees of the drawn scene: brightness, and green that shines."""
    light = rgb.astype(np.float32)
    shining = 0.5 * light[..., 0] + 0.3 * light[..., 1] + 0.2 * light[..., 2]
    shining += 0.6 * np.maximum(light[..., 1] - np.maximum(light[..., 0], light[..., 2]), 0)
    return np.asarray(
        np.clip(shining + np.random.default_rng(0).normal(0, 1.5, shining.shape), 0, 255), np.uint8
    )


@pytest.mark.parametrize("band", ["thermal", "nir"])
def test_who_stood_in_the_only_reference_is_not_shown_where_the_sensor_sees_nobody(band: str) -> None:
    rgb, infrared = daytime_scene.draw(3, pieces=16)
    infrared = infrared if band == "thermal" else near_infrared(rgb)
    with_mover = rgb.copy()
    cv2.ellipse(with_mover, (150, 200), (14, 34), 0, 0, 360, (210, 40, 50), -1)
    mover = cv2.ellipse(np.zeros_like(infrared), (150, 200), (15, 35), 0, 0, 360, 1, -1) > 0
    near = np.s_[155:240, 126:174]
    found = {}
    for still in (False, True):
        steering = ReferenceSteering(OPTIONS, [as_reference(with_mover, still)])
        ycc, _ = steering.apply(infrared, *gray_color(infrared), 0)
        full = color_space.luma_to_rgb(infrared)
        assert steering.scenery is not None
        shown = steering.scenery.put_behind(full)
        found[still] = [ghost(made[near], [infrared[near]]) for made in (color_space.ycc_to_rgb(ycc), shown)]
        error = np.abs(color_space.ycc_to_rgb(ycc).astype(int) - rgb).max(2)[mover].mean()
        assert error < 25 if not still else error > 25  # the lawn of before, not the red of the mover
    assert max(found[False]) < 0.1 * min(found[True])
