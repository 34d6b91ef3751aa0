"""Blocks that a damaged stream leaves flat are found; what a scene does by itself is not."""

import cv2
import numpy as np

from irchroma.engines.repair.lost_blocks import LostBlocks

SIZE = (120, 164)  # no multiple of a block


def scene(seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    picture = cv2.resize(random.integers(20, 230, (15, 21)).astype(np.uint8), SIZE[::-1]).astype(float)
    return np.clip(picture + random.normal(0, 3, SIZE), 1, 254).astype(np.uint8)


def found(*frames: np.ndarray) -> np.ndarray | None:
    finder = LostBlocks()
    for frame in frames:
        mask = finder.find(frame)
    return mask


def test_a_run_of_gray_macroblocks_is_found_to_the_pixel() -> None:
    frame = scene()
    frame[32:48, 16:112] = 128
    truth = np.zeros(SIZE, bool)
    truth[32:48, 16:112] = True
    mask = found(scene(), frame)
    assert mask is not None
    assert np.array_equal(mask, truth)


def test_the_gray_end_of_a_cut_jpeg_picture_is_found() -> None:
    frame = scene()
    frame[64:] = 128
    mask = found(scene(), frame)
    assert mask is not None
    assert mask[64:, :160].all()
    assert not mask[:64].any()


def test_a_second_damaged_frame_is_held_against_the_last_whole_one() -> None:
    frame = scene()
    frame[32:64, 16:80] = 128
    finder = LostBlocks()
    assert finder.find(scene()) is None
    assert finder.find(frame) is not None
    assert finder.find(frame) is not None
    assert finder.find(scene()) is None


def test_counts_are_looked_at_too() -> None:
    frame = scene().astype(np.uint16) * 40 + 20_000
    broken = frame.copy()
    broken[16:48, 16:80] = 24_000
    mask = found(frame, broken)
    assert mask is not None
    assert mask[16:48, 16:80].all()


def test_what_a_scene_does_by_itself_is_not_taken_for_a_loss() -> None:
    sky = np.full(SIZE, 90, np.uint8)
    bird = sky.copy()
    bird[40:80, 40:100] = scene()[40:80, 40:100]
    assert found(bird, sky) is None  # it has flown away
    blinded = scene()
    blinded[20:90, 20:120] = 255
    assert found(scene(), blinded) is None  # saturated
    assert found(scene(), np.full(SIZE, 77, np.uint8)) is None  # a shutter
    assert found(scene(), scene(1)) is None
    patch = scene()
    patch[32:48, 32:48] = 128
    assert found(scene(), patch) is None  # too little to be sure


def test_a_change_of_size_begins_anew() -> None:
    frame = scene()[:80, :80].copy()
    frame[16:48, 16:64] = 128
    assert found(scene(), frame) is None
