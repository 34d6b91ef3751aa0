"""What a decoder has made up is found, in streams that were really damaged; a scene's own changes are not."""

import shutil
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest

from irchroma.engines.repair.damaged_blocks import DamagedBlocks
from irchroma.launch.bench.clips import CODECS, code, spoil
from irchroma.launch.bench.color.damage import wrong_pixels

SIZE = (192, 256)
FRAMES = 60
HITS = {0: 44, 2: 40}
"""Bytes that are spoiled, by the pan."""
needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="streams are damaged with ffmpeg")


def view(step: int = 0, seed: int = 0) -> list[np.ndarray]:
    """A textured view with something that walks before it; the camera pans by `step` pixels a frame."""
    random = np.random.default_rng(seed)
    long = SIZE[1] + step * FRAMES
    wide = cv2.resize(random.integers(40, 200, (24, long // 8)).astype(np.uint8), (long, SIZE[0]))
    frames = []
    for number in range(FRAMES):
        frame = wide[:, step * number : step * number + SIZE[1]].copy()
        cv2.ellipse(frame, (40 + 3 * number, 120), (9, 30), 0, 0, 360, 235, -1)
        noise = random.normal(0, 1.5, SIZE)
        frames.append(np.clip(frame + noise, 0, 255).astype(np.uint8))
    return frames


def decode(path: Path) -> list[np.ndarray]:
    """The luma of every frame that comes out, as FFmpeg conceals what it cannot read."""
    words = ["-threads", "1", "-i", str(path), "-vf", "extractplanes=y", "-vsync", "passthrough"]
    command = ["ffmpeg", "-v", "quiet", *words, "-f", "rawvideo", "-"]
    raw = np.frombuffer(subprocess.run(command, capture_output=True, check=False).stdout, np.uint8)
    return list(raw[: raw.size // (SIZE[0] * SIZE[1]) * SIZE[0] * SIZE[1]].reshape(-1, *SIZE))


def found_in(frames: list[np.ndarray]) -> list[np.ndarray | None]:
    finder = DamagedBlocks()
    return [finder.find(frame) for frame in frames]


@needs_ffmpeg
@pytest.mark.parametrize("step", [0, 2])
@pytest.mark.parametrize("codec", CODECS)
def test_nothing_is_found_in_a_whole_stream(codec: str, step: int, tmp_path: Path) -> None:
    frames = decode(code(view(step), tmp_path / "whole.mkv", codec))
    assert len(frames) == FRAMES
    assert not any(mask is not None for mask in found_in(frames))


@needs_ffmpeg
@pytest.mark.parametrize("step", [0, 2])
def test_what_noise_in_the_stream_has_spoiled_is_found(step: int, tmp_path: Path) -> None:
    whole = code(view(step), tmp_path / "whole.mkv", "mjpeg")
    truth, came = decode(whole), decode(spoil(whole, tmp_path / "bad.mkv", HITS[step]))
    assert len(came) == FRAMES
    spoiled = [wrong_pixels(one, other) for one, other in zip(truth, came, strict=True)]
    masks = found_in(came)
    right = marked = 0
    found = []
    for mask, wrong in zip(masks, spoiled, strict=True):
        if 0.05 < wrong.mean() < 0.6:  # beyond it, it may be another picture
            found.append(mask is not None and (mask & wrong).sum() > 0.8 * wrong.sum())
        if mask is not None:
            near = cv2.dilate(wrong.astype(np.uint8), np.ones((17, 17), np.uint8)) > 0
            marked, right = marked + mask.sum(), right + (mask & near).sum()
    assert len(found) >= 2  # there is something to find
    assert np.mean(found) >= 0.5
    assert right > 0.85 * marked


def test_a_bar_that_a_decoder_leaves_green_or_gray_is_found_to_the_block() -> None:
    for level in (0, 128):  # luma of green (0, 0, 0) and of gray
        frames = view()[:2]
        frames[1][16:32, 32:224] = level
        mask = found_in(frames)[1]
        assert mask is not None
        assert mask[16:32, 32:224].mean() > 0.9
        assert mask[:16].sum() + mask[32:].sum() == 0


def test_a_copy_is_found_where_everything_else_goes_on() -> None:
    frames = view(2)[:8]
    frames[6][96:] = frames[5][96:]
    masks = found_in(frames)
    assert masks[6] is not None
    assert masks[6][96:].mean() > 0.95
    assert masks[6][:96].sum() == 0
    assert all(mask is None for mask in masks[:6] + masks[7:])
    still = view()[:8]
    still[6][96:] = still[5][96:]  # of a view that stands still: nothing is wrong with that
    assert not any(mask is not None for mask in found_in(still))


def test_what_lasts_is_followed_until_it_is_drawn_anew() -> None:
    frames = view()
    for frame in frames[5:15]:
        frame[64:128, :] = 250 - frame[64:128, ::-1] // 3
    masks = found_in(frames[:20])
    assert all(mask is not None and mask[72:120].mean() > 0.8 for mask in masks[5:15])
    assert all(mask is None for mask in masks[:5] + masks[15:])


def test_a_scene_s_own_changes_are_its_own() -> None:
    still, other = view(), view(seed=1)
    cut = [*still[:5], *other[:5]]
    assert not any(mask is not None for mask in found_in(cut))
    jumping = [frame if number < 5 else np.clip(frame * 1.2 + 12, 0, 255).astype(np.uint8)
               for number, frame in enumerate(still[:10])]  # fmt: skip
    assert not any(mask is not None for mask in found_in(jumping))
    lamp = still[:6]
    for frame in lamp[3:]:
        cv2.circle(frame, (130, 90), 30, 250, -1)
    assert not any(mask is not None for mask in found_in(lamp))
    assert found_in([still[0], other[0][:160]])[1] is None  # another size


def test_what_never_becomes_whole_is_taken_for_the_scene() -> None:
    frames = [view()[0]] + [frame.copy() for frame in view()[:1] * 120]
    for frame in frames[1:]:
        frame[64:96, 64:192] = 240
    masks = found_in(frames)
    assert masks[1] is not None
    assert masks[-1] is None


def test_what_an_encoder_leaves_as_it_was_here_and_there_is_no_copy() -> None:
    frames = view(2)[:8]
    skipped = np.kron(np.random.default_rng(3).random((24, 32)) < 0.6, np.ones((8, 8))) > 0
    frames[6][skipped] = frames[5][skipped]
    assert found_in(frames)[6] is None


def smeared(frames: list[np.ndarray], numbers: range, row: int = 96) -> list[np.ndarray]:
    """From a row on, these frames show that row again and again, as a decoder conceals what it has not."""
    frames = [frame.copy() for frame in frames]
    for number in numbers:
        frames[number][row:] = cv2.blur(frames[4], (1, 5))[row]
    return frames


def test_where_the_decoder_says_that_it_made_something_up_it_is_found_without_any_edge() -> None:
    plain = [frame.copy() for frame in view()[:16]]
    bad = smeared(plain, range(5, 12))
    finder = DamagedBlocks()
    said = [None] * 5 + [0.5] + [1.0] * 6 + [None] * 4
    masks = [finder.find(frame, share) for frame, share in zip(bad, said, strict=True)]
    assert all(mask is None for mask in masks[:5] + masks[12:])
    for mask in masks[5:12]:
        assert mask is not None
        assert mask[100:].mean() > 0.8
        assert mask[:72].sum() == 0
    whole = (
        DamagedBlocks()
    )  # a warning of a picture that is whole all the same marks what moves there at most
    marked = [whole.find(frame, 0.5 if number == 5 else None) for number, frame in enumerate(plain)]
    assert all(mask is None or mask.mean() < 0.1 for mask in marked)


def test_a_picture_that_is_lost_wholly_is_all_marked_until_it_comes_back() -> None:
    frames = [frame.copy() for frame in view()[:12]]
    for number in range(5, 10):  # drawn from a gray that the decoder made up, as those of HEVC are
        frames[number] = np.clip(128.0 + frames[number] - frames[4].astype(float), 0, 255).astype(np.uint8)
    finder = DamagedBlocks()
    said = [None] * 5 + [0.0] + [1.0] * 4 + [None] * 2
    lasting = []
    for number, (frame, share) in enumerate(zip(frames, said, strict=True)):
        mask = finder.find(frame, share)
        assert (mask is not None and bool(mask.all())) == (5 <= number < 10)
        lasting.append(finder.lasting is not None)
    assert lasting == [False] * 6 + [True] * 4 + [False] * 2
    gone = DamagedBlocks()
    for frame in frames[:5]:
        gone.find(frame)
    assert gone.find(frames[5]) is None  # nobody says so: another scene


def test_a_jump_of_gain_is_no_damage_and_a_gray_picture_is_no_jump_of_gain() -> None:
    scene = (60 + 0.1 * view()[0].astype(float)).astype(np.uint8)
    finder = DamagedBlocks()
    finder.find(scene)
    assert finder._least_off(scene, scene, scene + np.uint8(40), scene).mean() < 1
    assert finder._least_off(scene, scene, np.full_like(scene, 128), scene).mean() > 40


def test_a_view_that_goes_on_moving_is_followed_for_a_while_only() -> None:
    frames = smeared(view(2), range(5, 40))
    finder = DamagedBlocks()
    masks = [finder.find(one, None if number < 5 else 0.5 if number == 5 else 1.0)
             for number, one in enumerate(frames[:40])]  # fmt: skip
    assert masks[5] is not None
    assert masks[6] is not None
    assert masks[-1] is None


def test_damage_of_a_frame_that_was_left_out_is_looked_for_in_the_next() -> None:
    frames = smeared(view(), range(6, 10))
    finder = DamagedBlocks()
    masks = [finder.find(frame, 1.0 if number >= 6 else None) for number, frame in enumerate(frames[:10])]
    assert all(mask is None for mask in masks[:6])
    assert all(mask is not None and mask[100:].mean() > 0.8 for mask in masks[6:])
