"""What another scene's picture gives: light, how leaves and sky look; never one thing's color to another."""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.engines.recolor.color_space import rgb_to_ycc
from irchroma.engines.reference.influence import CHOSEN, VEGETATION
from irchroma.engines.reference.influence import SKY as SKY_RULES
from irchroma.engines.reference.mood import (
    GLIDE_S,
    SEE_S,
    Mood,
    MoodOverFrames,
    lay_mood,
)

COLD_MOST, WARM_MOST, MOST = CHOSEN.cold_most, CHOSEN.warm_most, CHOSEN.most
LEAVES_LIT, LIT_UP_TO = CHOSEN.leaves_lit, CHOSEN.lit_up_to
SKY, LEAVES, BRICK, ROAD = (140, 180, 230), (90, 110, 60), (150, 110, 90), (120, 120, 120)
PALE_SKY, OLIVE = (165, 185, 210), (105, 110, 85)
"""R'G'B'."""
Ycc = NDArray[np.float32]


def picture(*bands: tuple[int, int, int]) -> Ycc:
    """(1, 3, 64, 64) Y'CbCr: stripes of equal height."""
    rgb = np.repeat(np.array(bands, np.uint8), 64 // len(bands), axis=0)[:, None].repeat(64, 1)
    return np.ascontiguousarray(rgb_to_ycc(rgb).transpose(2, 0, 1)[None])


def mood(ycc: Ycc, wished: bool = False) -> Mood:
    height = np.linspace(-1, 1, 64, dtype=np.float32).repeat(64)
    return Mood.of(np.ascontiguousarray(ycc[0].reshape(3, -1).T), height, wished)


def steered(frame: Ycc, given: Ycc, share: float = 1.0, wished: bool = False) -> Ycc:
    made = frame.copy()
    lay_mood(made[0, 0], made[0, 1], made[0, 2], mood(given, wished).given_to(mood(frame)), share)
    return made


def at(ycc: Ycc, band: int, of: int = 4) -> tuple[float, float]:
    """Saturation and hue (degrees in the plane of Cb and Cr) of a stripe's middle."""
    blue, red = ycc[0, 1:3, (2 * band + 1) * 32 // of, 32]
    return float(np.hypot(blue, red)), float(np.degrees(np.arctan2(red, blue)) % 360)


def test_leaves_are_turned_towards_the_picture_s_leaves_and_a_sky_towards_its_sky() -> None:
    frame = picture(PALE_SKY, OLIVE, BRICK, ROAD)
    vivid = steered(frame, picture((90, 150, 240), (60, 125, 50), ROAD, ROAD))
    for band in (0, 1):
        assert at(vivid, band)[0] > 1.2 * at(frame, band)[0]
    assert 3 < at(vivid, 1)[1] - at(frame, 1)[1] < 25  # from olive to green
    assert np.abs(vivid[0, 1:3, 40:] - frame[0, 1:3, 40:]).max() < 0.01  # brick and road: hardly
    np.testing.assert_array_equal(vivid[0, 0, 40:], frame[0, 0, 40:])


def test_leaves_and_sky_are_as_light_or_dark_as_the_picture_s_within_bounds_and_nothing_gray_is() -> None:
    frame = picture(SKY, LEAVES, ROAD, ROAD)
    for sky, leaves, way in (((190, 215, 245), (130, 165, 95), 1), ((70, 110, 175), (45, 65, 25), -1)):
        tone = (steered(frame, picture(sky, leaves, ROAD, ROAD)) - frame)[0, 0, :, 32]
        for band, material in ((0, SKY_RULES), (1, VEGETATION)):
            _, darker, lighter = material.tone
            assert 0.02 < way * tone[16 * band + 8] < max(lighter, -darker) + 1e-6
        assert np.abs(tone[40:]).max() < 0.01


def test_what_the_frame_has_not_and_what_the_picture_has_not_changes_nothing() -> None:
    frame = picture(SKY, LEAVES, BRICK, ROAD)
    evening = picture((250, 170, 60), ROAD, ROAD, ROAD)
    made = steered(frame, evening)
    assert np.abs(made - frame).max() < 0.01  # an orange sky lies on nothing, not even on the sky
    street = picture(BRICK, BRICK, ROAD, ROAD)
    made = steered(street, picture((90, 150, 240), (60, 125, 50), ROAD, ROAD))
    assert np.abs(made - street).max() < 0.01


def test_dry_leaves_teal_ones_and_a_violet_sky_are_not_taken_over() -> None:
    frame = picture(SKY, LEAVES, BRICK, ROAD)
    made = steered(frame, picture((190, 150, 240), (40, 120, 100), ROAD, ROAD))
    assert 308 < at(made, 0)[1] < 326
    assert at(made, 1)[1] < 205
    dry = steered(frame, picture((140, 180, 230), (130, 115, 70), ROAD, ROAD))
    assert at(dry, 1)[1] > 184
    assert at(dry, 1)[0] > 0.95 * at(frame, 1)[0]


def test_what_is_blue_but_low_or_dark_is_no_sky() -> None:
    given = picture((90, 150, 240), ROAD, ROAD, ROAD)
    for frame in (picture(ROAD, ROAD, ROAD, PALE_SKY), picture((30, 45, 62), ROAD, ROAD, ROAD)):
        assert np.abs(steered(frame, given) - frame).max() < COLD_MOST  # light alone
    frame = picture(PALE_SKY, ROAD, ROAD, ROAD)
    assert np.abs(steered(frame, given) - frame).max() > 0.03


def test_the_light_s_cast_is_small_smaller_if_warm_and_hardly_on_leaves() -> None:
    frame = picture(SKY, LEAVES, BRICK, ROAD)
    for low in (108, 105):
        warm, cold = (steered(frame, picture(*[color] * 4)) for color in ((135, 120, low), (low, 120, 135)))
        for row in (40, 56):  # of brick and road
            away = warm[0, 1:3, row, 32] - cold[0, 1:3, row, 32]
            assert away[0] < -0.015
            assert away[1] > 0.008
            for made, most in ((warm, WARM_MOST), (cold, COLD_MOST)):
                lit, leaves = (np.hypot(*(made - frame)[0, 1:3, at_row, 32]) for at_row in (row, 24))
                assert 0.99 * most < lit < 1.005 * most
                assert LEAVES_LIT - 0.01 < leaves / lit < 0.4  # by how much they are leaves
        bright = (LIT_UP_TO[0] - frame[0, 0, 8, 32]) / (LIT_UP_TO[0] - LIT_UP_TO[1])
        assert 0.8 < bright < 0.9
        for made, most in ((warm, WARM_MOST), (cold, COLD_MOST))[: 2 if low == 108 else 1]:
            lit = np.hypot(*(made - frame)[0, 1:3, 8, 32])  # of the sky; at 105 one is turned, too
            assert 0.99 * bright * most < lit < 1.005 * bright * most
    lamp = steered(frame, picture(*[(160, 110, 40)] * 4)) - frame
    assert np.abs(lamp).max() < 0.5 * WARM_MOST
    lawn = steered(frame, picture((60, 125, 50), (60, 125, 50), (60, 125, 50), (60, 125, 50)))
    assert np.abs(lawn[0, 1:3, 40:] - frame[0, 1:3, 40:]).max() < 0.005  # paint is no light


def test_blotches_of_leaves_gather_around_one_hue() -> None:
    frame = picture(PALE_SKY, OLIVE, (75, 105, 60), ROAD)
    made = steered(frame, picture(SKY, LEAVES, LEAVES, ROAD))
    assert abs(at(made, 1)[1] - at(made, 2)[1]) < 0.8 * abs(at(frame, 1)[1] - at(frame, 2)[1])


def test_more_is_further_and_never_far() -> None:
    random = np.random.default_rng(1)
    blocks = random.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    rgb = np.asarray(cv2.resize(blocks, (64, 64), interpolation=cv2.INTER_LINEAR), np.uint8)
    frame = np.ascontiguousarray(rgb_to_ycc(rgb).transpose(2, 0, 1)[None])
    before = frame.copy()
    for bands in ((SKY, LEAVES), (LEAVES, ROAD), (BRICK, SKY)):
        away = [np.abs(steered(frame, picture(*bands), share) - frame).max() for share in (0.0, 0.5, 1.0)]
        assert away[0] == 0.0 or away[0] < 1e-6
        assert away[0] < away[1] < away[2] <= MOST + 0.01
    np.testing.assert_array_equal(frame, before)


def test_a_picture_of_one_s_own_kind_changes_its_light_alone() -> None:
    frame = picture(SKY, LEAVES, ROAD, ROAD)
    assert np.abs(steered(frame, frame) - frame).max() < 0.02


def test_beyond_a_strength_of_1_leaves_go_on_turning_and_become_no_acid_green() -> None:
    frame = picture(PALE_SKY, OLIVE, BRICK, ROAD)
    given = picture((90, 150, 240), (60, 125, 50), ROAD, ROAD)
    (none, _), (once, hue), (half, turned), (twice, further) = (
        at(steered(frame, given, share), 1) for share in (0.0, 1.0, 1.5, 2.0)
    )
    assert hue < turned < further
    assert once < half < twice < once + 0.5 * (once - none)


def test_from_one_picture_s_mood_to_another_s_frames_glide_by_time_and_a_cut_begins_anew() -> None:
    frame, layer = picture(SKY, LEAVES, BRICK, ROAD), MoodOverFrames()
    skies = ((70, 110, 200), (200, 215, 235))
    moods = [
        mood(picture(sky, leaves, ROAD, ROAD)) for sky, leaves in zip(skies, (LEAVES, OLIVE), strict=True)
    ]

    def laid(at_s: float) -> Ycc:
        made = frame.copy()
        layer.lay(made[0, 0], made[0, 1], made[0, 2], 1.0, round(at_s * 1e9))
        return made

    np.testing.assert_array_equal(laid(0.0), frame)
    layer.follow(moods[0])
    first = laid(0.0)
    for at_s in (0.1, 0.5, 3.0):
        np.testing.assert_allclose(laid(at_s), first, atol=1e-6)
    layer.follow(moods[1])
    second = laid(3.0)
    layer.forget()
    whole = laid(3.1) - first
    assert 0 < np.abs(second - first).max() < 0.5 * np.abs(whole).max()
    for rate in (5, 30, 60):  # however many frames there are, and however many of them are made
        layer.forget()
        layer.follow(moods[0])
        laid(0.0)
        layer.follow(moods[1])
        for number in range(1, rate + 1):
            made = laid(number / rate)
        away = float((made - first).ravel() @ whole.ravel() / (whole.ravel() @ whole.ravel()))
        assert abs(away - (1.0 - math.exp(-(1.0 + SEE_S) / GLIDE_S))) < 0.1


def test_a_named_picture_s_mood_is_clearly_visible_and_still_of_colors_alone() -> None:
    frame = picture(SKY, LEAVES, BRICK, ROAD)
    evening = ((250, 190, 120), (230, 150, 90), (90, 70, 60), (70, 55, 45))
    autumn, meadow = (
        ((140, 180, 230), (165, 130, 45), (150, 120, 50), ROAD),
        (SKY, (60, 140, 40), LEAVES, ROAD),
    )
    snow, night = (PALE_SKY, (235, 240, 245), (225, 232, 240), (200, 205, 215)), (SKY, BRICK, BRICK, ROAD)
    made = {
        name: steered(frame, picture(*bands), wished=True)
        for name, bands in (("evening", evening), ("autumn", autumn), ("meadow", meadow), ("snow", snow))
    }
    assert made["evening"][0, 1, 8, 32] < 0.0 < made["evening"][0, 2, 8, 32]  # its sky is warm
    assert made["evening"][0, 0, 56, 32] < frame[0, 0, 56, 32] - 0.02
    assert made["evening"][0, 1, 56, 32] < frame[0, 1, 56, 32] - 0.01  # so is its road
    assert at(made["autumn"], 1)[1] < at(frame, 1)[1] - 8 < at(made["meadow"], 1)[1] - 8
    assert at(made["snow"], 1)[0] < 0.85 * at(frame, 1)[0]
    assert made["snow"][0, 0, 56, 32] > frame[0, 0, 56, 32] + 0.025
    brick = steered(frame, picture(*night), wished=True)
    assert at(brick, 1)[1] > at(frame, 1)[1] - 5  # under a warm light, a wall of bricks is no dry leaf
    for one in made.values():
        assert np.abs(np.diff(one[0], axis=2)).max() < 1e-5
        assert np.abs(one - frame).max() < 0.2
    assert np.abs(steered(frame, frame, wished=True) - frame).max() < 0.03


def test_a_wall_in_the_upper_half_of_a_named_picture_is_no_sky() -> None:
    frame = picture(SKY, LEAVES, BRICK, ROAD)
    wall = steered(frame, picture(BRICK, BRICK, BRICK, BRICK), wished=True)
    assert wall[0, 1, 8, 32] > 0.6 * frame[0, 1, 8, 32]
