"""Burnt-in text, logos and scratches are found while the view changes; a still scene's own edges are not."""

import cv2
import numpy as np
import pytest

from irchroma.calibration.burn_in import BurnInFinder
from irchroma.calibration.errors import CalibrationError

SIZE = (180, 320)


def view(number: int, step: int) -> np.ndarray:
    random = np.random.default_rng(4)
    coarse = cv2.resize(random.integers(20, 170, (12, 60)).astype(np.uint8), (960, SIZE[0]))
    coarse[:, ::48] = 10  # posts
    noise = np.random.default_rng(number).normal(0, 2, SIZE)
    return np.clip(coarse[:, step * number : step * number + SIZE[1]] + noise, 0, 255).astype(np.uint8)


def text(frame: np.ndarray, words: str, place: tuple[int, int], ink: int = 255) -> np.ndarray:
    cv2.putText(frame, words, place, cv2.FONT_HERSHEY_SIMPLEX, 0.6, ink, 2)
    return frame


def found(frames: list[np.ndarray]) -> np.ndarray:
    finder = BurnInFinder()
    for frame in frames:
        finder.add(frame)
    return finder.mask()


def test_a_name_a_logo_and_a_scratch_are_found_while_the_camera_pans() -> None:
    frames = []
    for number in range(30):
        frame = text(view(number, 12), "GATE 7", (20, 30))
        cv2.circle(frame, (270, 150), 14, 120, -1)
        cv2.line(frame, (200, 20), (230, 90), 230, 3)
        frames.append(frame)
    mask = found(frames)
    truth = text(np.zeros(SIZE, np.uint8), "GATE 7", (20, 30))
    cv2.line(truth, (200, 20), (230, 90), 255, 3)
    assert mask[truth > 0].mean() > 0.9
    assert mask[140:160, 260:280].mean() > 0.5
    assert mask.mean() < 0.06


def test_a_clock_is_found_on_a_still_view_with_its_changing_digits() -> None:
    frames = [text(view(number % 2, 0), f"CAM 10:24:{number:02d}", (20, 30)) for number in range(40)]
    mask = found(frames)
    assert mask[16:31, 20:200].mean() > 0.4
    assert mask[40:].mean() == 0.0  # the posts of the scene stand still too


def test_a_still_view_without_letters_gives_nothing() -> None:
    assert not found([view(0, 0) + np.uint8(number % 3) for number in range(20)]).any()


def test_a_panning_view_without_anything_burnt_in_gives_next_to_nothing() -> None:
    assert found([view(number, 12) for number in range(30)]).mean() < 0.002


def counts(number: int) -> np.ndarray:
    """(120, 160) uint16: a lawn of 40 counts with something cold on it, in noise, drifting."""
    random = np.random.default_rng(4)
    lawn = cv2.GaussianBlur(random.normal(0, 1, (120, 160)).astype(np.float32), (0, 0), 2.5)
    lawn = 3000 + 10 * lawn / lawn.std()
    lawn[100:110, 60:72] -= 150
    drift = cv2.resize(random.normal(0, 1, (3, 4)), (160, 120), interpolation=cv2.INTER_CUBIC)
    noise = np.random.default_rng(100 + number).normal(0, 6, lawn.shape)
    return np.round(lawn + 0.3 * number * drift + noise).astype(np.uint16)


def test_noise_and_drift_of_a_cool_night_in_counts_are_no_change_of_the_view() -> None:
    frames = [counts(number) for number in range(60)]
    assert not found(frames).any()
    name = text(np.zeros((120, 160), np.uint8), "GATE 7", (20, 30)) > 128
    for frame in frames:
        frame[name] = 65535
    assert found(frames)[name].mean() > 0.9


def pan_in_counts(number: int, low: int, high: int) -> np.ndarray:
    """(180, 320) uint16: the pan between two counts."""
    return np.round(low + view(number, 12) * ((high - low) / 172.0)).astype(np.uint16)


@pytest.mark.parametrize("ink", [0, 65535])
@pytest.mark.parametrize("ends", [(1200, 4600), (2000, 58000)])
def test_letters_at_either_end_of_counts_are_found_however_wide_the_scene_is(
    ends: tuple[int, int], ink: int
) -> None:
    name = text(np.zeros(SIZE, np.uint8), "GATE 7", (20, 30)) > 128
    frames = [pan_in_counts(number, *ends) for number in range(30)]
    for frame in frames:
        frame[name] = ink
    mask = found(frames)
    assert mask[name].mean() > 0.95
    assert mask.mean() - (mask & name).mean() < 0.06


@pytest.mark.parametrize("first", [0, 3000])
def test_counts_that_begin_with_a_frame_without_a_picture_have_no_more_burnt_in(first: int) -> None:
    frames = [counts(number) for number in range(60)]
    assert not found([np.full_like(frames[0], first), *frames]).any()


def test_too_few_frames_and_another_size_are_told() -> None:
    finder = BurnInFinder()
    finder.add(view(0, 0))
    finder.add(view(0, 0))  # a repetition
    with pytest.raises(CalibrationError, match="only 1 different frames"):
        finder.mask()
    with pytest.raises(CalibrationError, match="size changed"):
        finder.add(np.zeros((20, 20), np.uint8))
