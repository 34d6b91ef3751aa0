"""The temporal stage on scenes whose motion, gain and cuts are known."""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
import pytest
from tests.engines.moving_scene import FRAME_NS, SIZE, flickering, noisy, texture, toy_color

from irchroma.engines.errors import EngineOptionError
from irchroma.engines.temporal.stage import TemporalOptions, TemporalStage
from irchroma.stream.sources.open_source import open_source
from irchroma.stream.tone import tone_map
from irchroma.stream.tone.options import ToneMapOptions


def chroma_error(first: np.ndarray, second: np.ndarray, where: np.ndarray | None = None) -> float:
    """Mean |difference| of Cb and Cr."""
    error = np.abs(first - second)[..., 1:].mean(axis=2)
    return float(error.mean() if where is None else error[where].mean())


def test_flicker_of_a_still_scene_falls_more_than_five_times() -> None:
    rng = np.random.default_rng(0)
    scene, stage = texture(SIZE, 40, 160, seed=1), TemporalStage()
    raw, steady = [], []
    for number in range(40):
        luma = noisy(scene, rng)
        ycc = flickering(toy_color(luma), rng)
        raw.append(ycc)
        steady.append(stage.update(stage.observe(luma, number * FRAME_NS), ycc)[0])
    before = np.mean([chroma_error(a, b) for a, b in pairwise(raw[10:])])
    after = np.mean([chroma_error(a, b) for a, b in pairwise(steady[10:])])
    assert after < before / 5


def test_colors_settle_in_seconds_however_many_frames_were_dropped() -> None:
    settled = []
    for step in (1, 3):
        rng = np.random.default_rng(0)
        scene, stage = texture(SIZE, 40, 160, seed=1), TemporalStage(TemporalOptions(settle_s=0.6))
        old, new = np.full((*SIZE, 3), 0.1, np.float32), np.full((*SIZE, 3), 0.3, np.float32)
        for number in range(0, 91, step):
            out, _ = stage.update(stage.observe(noisy(scene, rng), number * FRAME_NS), old)
        for number in range(90 + step, 91 + 18, step):  # 0.6 s later
            out, _ = stage.update(stage.observe(noisy(scene, rng), number * FRAME_NS), new)
        settled.append((out[..., 1].mean() - 0.1) / 0.2)
    assert settled[0] == pytest.approx(1 - np.exp(-1), abs=0.06)
    assert settled[1] == pytest.approx(settled[0], abs=0.05)


def test_duplicated_frames_do_not_slow_the_settling_of_colors() -> None:
    settled = []
    for repeat in (1, 2):
        rng = np.random.default_rng(0)
        scene, stage = texture(SIZE, 40, 160, seed=1), TemporalStage(TemporalOptions(settle_s=0.6))
        old, new = np.full((*SIZE, 3), 0.1, np.float32), np.full((*SIZE, 3), 0.3, np.float32)
        for number in range(80):
            if number % repeat == 0:
                luma = noisy(scene, rng)
            seen = stage.observe(luma, number * FRAME_NS)
            out, _ = stage.update(seen, new if number > 61 else old)
        settled.append((out[..., 1].mean() - 0.1) / 0.2)
    assert settled[1] == pytest.approx(settled[0], abs=0.05)


def test_a_still_color_does_not_fade_in_a_thousand_frames() -> None:
    rng = np.random.default_rng(0)
    size = (64, 64)
    scene, stage = texture(size, 40, 160, seed=1), TemporalStage()
    ycc = np.full((*size, 3), 0.25, np.float32)
    for number in range(1000):
        out, _ = stage.update(stage.observe(noisy(scene, rng), number * FRAME_NS), ycc)
    np.testing.assert_allclose(out, 0.25, atol=2e-4)


def test_a_cut_gives_exactly_the_new_scenes_own_color() -> None:
    rng = np.random.default_rng(0)
    stage = TemporalStage()
    for number in range(10):
        luma = noisy(texture(SIZE, 40, 160, seed=1), rng)
        stage.update(stage.observe(luma, number * FRAME_NS), toy_color(luma))
    luma = noisy(texture(SIZE, 30, 170, seed=2), rng)
    seen = stage.observe(luma, 10 * FRAME_NS)
    assert seen.cut
    assert seen.needs_color
    ycc, _ = stage.update(seen, toy_color(luma))
    np.testing.assert_array_equal(ycc, toy_color(luma))


def test_half_a_picture_tells_what_the_whole_does() -> None:
    """Still, the same twice, panning, brighter at once, another scene."""
    rng = np.random.default_rng(0)
    wide, other = texture((SIZE[0], SIZE[1] + 80), 30, 160, seed=3), texture(SIZE, 30, 200, seed=9)
    scenes = [
        *(wide[:, : SIZE[1]] for _ in range(5)),
        *(wide[:, at : at + SIZE[1]] for at in range(8, 80, 8)),
    ]
    lumas = [noisy(scene, rng) for scene in (*scenes, *(1.4 * scenes[-1],) * 3, other, other)]
    lumas.insert(4, lumas[3])
    whole, halved = TemporalStage(), TemporalStage()
    whole.carries_half = halved.carries_half = True
    said = []
    for number, luma in enumerate(lumas):
        half = cv2.resize(luma, (SIZE[1] // 2, SIZE[0] // 2), interpolation=cv2.INTER_AREA)
        one = whole.observe(luma, number * FRAME_NS)
        two = halved.observe_half(np.asarray(half, np.uint8), SIZE, number * FRAME_NS)
        said.append((one.cut, one.held, one.gain_jump, one.needs_color))
        assert said[-1] == (two.cut, two.held, two.gain_jump, two.needs_color)
        for name in ("trust", "tolerance", "shown", "half_source"):
            np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
        assert (one.half_area, one.speed_px) == (two.half_area, two.speed_px)
    assert [sum(column) for column in zip(*said, strict=True)][:3] == [2, 1, 1]


@pytest.mark.parametrize("shift", [(2, 0), (8, 3), (20, 6), (40, 0)])
def test_a_pan_is_not_a_cut_and_colors_move_with_it(shift: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    frames = 5
    wide = texture((SIZE[0] + shift[1] * frames, SIZE[1] + shift[0] * frames), 30, 200, seed=3)
    colors = cv2.merge([wide / 255, *(texture(wide.shape, -0.3, 0.3, seed=seed) for seed in (4, 5))])
    stage = TemporalStage()
    for number in range(frames):
        top, left = shift[1] * number, shift[0] * number
        part = (slice(top, top + SIZE[0]), slice(left, left + SIZE[1]))
        seen = stage.observe(noisy(wide[part], rng), number * FRAME_NS)
        assert seen.cut == (number == 0)
        steady, _ = stage.update(seen, colors[part])
        assert chroma_error(steady, colors[part]) < 0.01  # of 0.6


def test_a_gain_jump_is_no_cut_and_neither_color_nor_shown_luma_follow_it() -> None:
    rng = np.random.default_rng(0)
    scene, stage = texture(SIZE, 30, 150, seed=1), TemporalStage()
    still = []
    for number in range(20):
        luma = noisy(scene, rng)
        still.append(
            stage.update(stage.observe(luma, number * FRAME_NS), flickering(toy_color(luma), rng))[0]
        )
    luma = noisy(1.2 * scene + 12, rng)
    seen = stage.observe(luma, 20 * FRAME_NS)
    assert seen.gain_jump
    assert not seen.cut
    assert seen.luma_levels is not None
    shown = seen.luma_levels[luma]
    assert abs(float(shown.mean()) - float(scene.mean())) < 1.0
    wrong = toy_color(luma)
    after, _ = stage.update(seen, wrong)
    assert chroma_error(after, still[-1]) < 0.12 * chroma_error(wrong, still[-1])


def test_a_gain_jump_is_let_in_over_seconds() -> None:
    rng = np.random.default_rng(0)
    scene, stage = texture(SIZE, 30, 150, seed=1), TemporalStage(TemporalOptions(gain_settle_s=2.0))
    stage.observe(noisy(scene, rng), 0)
    shown = []
    for number in range(1, 181):
        luma = noisy(scene + 30, rng)
        levels = stage.observe(luma, number * FRAME_NS).luma_levels
        shown.append(float(luma.mean()) if levels is None else float(levels[luma].mean()))
    rise = np.array(shown) - scene.mean()
    assert abs(rise[0]) < 1.0
    assert rise[59] == pytest.approx(30 * (1 - np.exp(-1)), abs=2.0)  # 2 s
    assert rise[-1] > 27
    assert np.abs(np.diff(rise)).max() < 1.0


def test_brightness_is_left_alone_when_the_user_says_so() -> None:
    rng = np.random.default_rng(0)
    scene, stage = texture(SIZE, 30, 150, seed=1), TemporalStage(TemporalOptions(steady_brightness=False))
    stage.observe(noisy(scene, rng), 0)
    seen = stage.observe(noisy(scene + 30, rng), FRAME_NS)
    assert seen.gain_jump
    assert seen.luma_levels is None


@pytest.mark.parametrize(
    ("speed", "levels"), [(4, (160, 230)), (9, (160, 230)), (20, (160, 230)), (9, (40, 110)), (20, (40, 110))]
)
def test_a_moving_object_leaves_no_trail_and_brings_its_own_color(
    speed: int, levels: tuple[int, int]
) -> None:
    rng = np.random.default_rng(0)
    background, thing = texture(SIZE, 40, 110, seed=1), texture((60, 50), *levels, seed=2)
    stage = TemporalStage()
    covered = np.zeros(SIZE, bool)
    trails, own = [], []
    for number in range(9):
        frame, now = background.copy(), np.zeros(SIZE, bool)
        left = 10 + speed * number
        frame[70:130, left : left + 50] = thing[:, : SIZE[1] - left]
        now[70:130, left : left + 50] = True
        luma = noisy(frame, rng)
        ycc = np.dstack([frame / 255, np.where(now, 0.3, -0.2), np.where(now, -0.1, 0.2)]).astype(np.float32)
        steady, _ = stage.update(stage.observe(luma, number * FRAME_NS), ycc)
        if number > 2:
            trails.append(chroma_error(steady, ycc, covered & ~now))
            own.append(chroma_error(steady, ycc, now & ~covered))
        covered = now
    contrast = 0.4  # mean of |0.5| and |0.3|
    assert np.mean(trails) < 0.1 * contrast
    assert np.mean(own) < 0.1 * contrast


@pytest.mark.parametrize("telemetry", [True, False])
def test_color_is_held_through_a_freeze_and_anchored_within_three_frames_after_it(telemetry: bool) -> None:
    rng = np.random.default_rng(0)
    scene, stage = texture(SIZE, 40, 160, seed=1), TemporalStage()
    old, new = np.full((*SIZE, 3), 0.1, np.float32), np.full((*SIZE, 3), 0.3, np.float32)
    for number in range(20):
        luma = noisy(scene, rng)
        before, _ = stage.update(stage.observe(luma, number * FRAME_NS), old)
    for number in range(20, 35):
        frozen = np.clip(luma + np.int16(4), 0, 255).astype(np.uint8) if telemetry else luma
        seen = stage.observe(frozen, number * FRAME_NS, held=telemetry)
        assert seen.held
        assert not seen.needs_color
        np.testing.assert_array_equal(stage.update(seen, None)[0], before)
    for number in range(35, 38):
        seen = stage.observe(noisy(scene, rng), number * FRAME_NS)
        assert not seen.held
        assert not seen.cut
        assert seen.needs_color
        after, _ = stage.update(seen, new)
    assert abs(float(after[..., 1].mean()) - 0.3) < 0.05 * 0.2


def test_a_duplicated_frame_is_no_freeze_and_does_not_shake_the_color() -> None:
    rng = np.random.default_rng(0)
    scene, stage = texture(SIZE, 40, 160, seed=1), TemporalStage()
    out = []
    luma = noisy(scene, rng)
    for number in range(40):
        if number % 5:
            luma = noisy(scene, rng)
        seen = stage.observe(luma, number * FRAME_NS)
        assert not seen.anchor
        out.append(stage.update(seen, flickering(toy_color(luma), rng))[0])
    changes = [chroma_error(a, b) for a, b in pairwise(out[15:])]
    assert max(changes) < 0.005


def test_the_network_is_skipped_on_a_still_scene_and_asked_at_once_for_something_new() -> None:
    rng = np.random.default_rng(0)
    scene, stage = texture(SIZE, 40, 110, seed=1), TemporalStage(TemporalOptions(color_every="auto"))
    asked = []
    for number in range(60):
        luma = noisy(scene, rng)
        seen = stage.observe(luma, number * FRAME_NS)
        asked.append(seen.needs_color)
        stage.update(seen, toy_color(luma) if seen.needs_color else None)
    assert np.mean(asked[30:]) < 0.35
    scene[80:120, 100:140] = 220
    assert stage.observe(noisy(scene, rng), 60 * FRAME_NS).needs_color


def test_a_slow_network_is_asked_less_often_for_small_motion() -> None:
    asked = []
    for cost_s in (0.01, 0.1):
        rng = np.random.default_rng(0)
        scene, thing = texture(SIZE, 40, 110, seed=1), texture((24, 24), 150, 220, seed=2)
        stage = TemporalStage(TemporalOptions(color_every="auto"))
        count = 0
        for number in range(60):
            frame = scene.copy()
            frame[60:84, 20 + 3 * number : 44 + 3 * number] = thing
            luma = noisy(frame, rng)
            seen = stage.observe(luma, number * FRAME_NS)
            count += seen.needs_color
            stage.update(seen, toy_color(luma) if seen.needs_color else None, cost_s=cost_s)
        asked.append(count)
    assert asked[1] < 0.6 * asked[0]


def test_every_third_frame_means_every_third_frame() -> None:
    rng = np.random.default_rng(0)
    scene, stage = texture(SIZE, 40, 110, seed=1), TemporalStage(TemporalOptions(color_every=3))
    asked = [stage.observe(noisy(scene, rng), number * FRAME_NS).needs_color for number in range(10)]
    assert asked == [True, False, False] * 3 + [True]


def test_color_moves_with_the_camera_while_the_network_is_skipped() -> None:
    rng = np.random.default_rng(0)
    wide = texture((SIZE[0], SIZE[1] + 40), 30, 200, seed=3)
    stage = TemporalStage(TemporalOptions(color_every=4))
    for number in range(9):
        part = wide[:, 3 * number : 3 * number + SIZE[1]]
        seen = stage.observe(noisy(part, rng), number * FRAME_NS)
        truth = toy_color(np.rint(part).astype(np.uint8))
        steady, _ = stage.update(seen, truth if seen.needs_color else None)
        inner = np.zeros(SIZE, bool)
        inner[:, : SIZE[1] - 16] = True
        assert chroma_error(steady, truth, inner) < 0.02


@pytest.mark.parametrize("pts_ns", [-1, 10_000_000_000])
def test_time_that_jumps_forgets_the_past(pts_ns: int) -> None:
    rng = np.random.default_rng(0)
    scene, stage = texture(SIZE, 40, 110, seed=1), TemporalStage()
    stage.observe(noisy(scene, rng), 0)
    assert stage.observe(noisy(scene, rng), pts_ns).cut


def test_a_change_of_size_starts_anew() -> None:
    stage = TemporalStage()
    for size in ((64, 80), (96, 128), (31, 17), (8, 8), (1, 1)):
        luma = np.random.default_rng(0).integers(0, 255, size, np.uint8)
        for number in range(3):
            seen = stage.observe(np.roll(luma, number, axis=1), number * FRAME_NS)
            ycc, confidence = stage.update(seen, toy_color(luma), np.ones(size, np.float32))
            assert ycc.shape == (*size, 3)
            assert confidence.shape == size
        assert np.isfinite(ycc).all()


def test_unsure_colors_weigh_less_than_sure_ones() -> None:
    rng = np.random.default_rng(0)
    scene, stage = texture(SIZE, 40, 110, seed=1), TemporalStage()
    sure, unsure = np.ones(SIZE, np.float32), np.full(SIZE, 0.1, np.float32)
    stage.update(stage.observe(noisy(scene, rng), 0), np.full((*SIZE, 3), 0.1, np.float32), sure)
    seen = stage.observe(noisy(scene, rng), FRAME_NS)
    ycc, confidence = stage.update(seen, np.full((*SIZE, 3), 0.3, np.float32), unsure)
    assert ycc[..., 1].mean() < 0.13
    assert 0.8 < confidence.mean() < 1.0


def test_a_scene_without_any_color_is_refused() -> None:
    stage = TemporalStage()
    seen = stage.observe(np.zeros((64, 64), np.uint8), 0)
    with pytest.raises(EngineOptionError, match="needs the network's color"):
        stage.update(seen, None)


def test_observing_ahead_of_updating_gives_the_same_colors() -> None:
    results = []
    for ahead in (0, 1):
        rng = np.random.default_rng(0)
        scene, stage = texture(SIZE, 40, 160, seed=1), TemporalStage()
        waiting, out = [], []
        for number in range(8):
            luma = noisy(np.roll(scene, 2 * number, axis=1), rng)
            waiting.append((stage.observe(luma, number * FRAME_NS), toy_color(luma)))
            if len(waiting) > ahead:
                out.append(stage.update(*waiting.pop(0))[0])
        out += [stage.update(*job)[0] for job in waiting]
        results.append(out)
    for first, second in zip(*results, strict=True):
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("bad", [{"color_every": 0}, {"color_every": "often"}, {"settle_s": 0.0}])
def test_options_that_make_no_sense_are_refused(bad: dict[str, object]) -> None:
    with pytest.raises(EngineOptionError):
        TemporalOptions(**bad)


@pytest.mark.parametrize(
    ("address", "by_tone_map", "by_stage"),
    [
        ("test:thermal?size=160x128&rate=5&seconds=14&jumps=every:4", 3, 0),
        ("test:nir?size=160x128&rate=5&seconds=14&jumps=every:4", 0, 3),
        ("test:thermal?size=320x256&rate=10&seconds=9&jumps=every:4&pan=40", 1, 1),
    ],
)
def test_a_jump_of_the_camera_is_found_once(
    address: str, by_tone_map: int, by_stage: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of counts the tone map finds it and takes it out of what the stage sees; 8-bit luma that goes on as it
    came is left to the stage, which alone sees the whole picture twice, and knows the motion of a pan."""
    jumps = []

    def find(*about: object) -> tone_map.GainJump | None:
        found = find_gain_jump(*about)  # type: ignore[arg-type]
        jumps.append(found)
        return found

    find_gain_jump = tone_map.find_gain_jump
    monkeypatch.setattr(tone_map, "find_gain_jump", find)
    source = open_source(address)
    source.open()
    tone, stage = tone_map.ToneMap(ToneMapOptions()), TemporalStage(TemporalOptions())
    seen = []
    while (frame := source.read(5.0)) is not None:
        luma = tone.apply(frame.pixels, frame.pts_ns, held=frame.held)
        seen.append(stage.observe(luma, frame.pts_ns, frame.held))
    source.close()
    found_by = (sum(jump is not None for jump in jumps), sum(one.gain_jump for one in seen))
    assert found_by == (by_tone_map, by_stage)
    assert [one.cut for one in seen].count(True) == 1, "the first frame"
