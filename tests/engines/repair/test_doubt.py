"""What is drawn from what a decoder has made up is marked where it has changed, until it is drawn anew."""

import cv2
import numpy as np
import pytest

from irchroma.engines.repair import doubt as module
from irchroma.engines.repair.doubt import Doubt

SIZE = (192, 256)
WALKS_PX = 4
DAMAGED = 5


def view(number: int, pan: int = 0) -> np.ndarray:
    """A textured view with noise, and somebody who walks before it."""
    wide = cv2.resize(np.random.default_rng(0).integers(60, 140, (24, 64)).astype(np.uint8), (640, SIZE[0]))
    frame = wide[:, pan * number : pan * number + SIZE[1]].copy()
    cv2.ellipse(frame, (60 + WALKS_PX * number, 120), (9, 30), 0, 0, 360, 240, -1)
    noise = np.random.default_rng(number).normal(0, 1.5, SIZE)
    return np.clip(frame + noise, 0, 255).astype(np.uint8)


def walk(said: dict[int, float], keys: tuple[int, ...] = (0,), frames: int = 16) -> list[np.ndarray | None]:
    doubt = Doubt()
    return [doubt.find(view(n), said.get(n), n in keys, None) for n in range(frames)]


def lasting(first: float, until: int) -> dict[int, float]:
    return {DAMAGED: first} | dict.fromkeys(range(DAMAGED + 1, until), 1.0)


def test_nothing_is_doubted_of_a_whole_stream() -> None:
    assert walk({}, tuple(range(0, 16, 4))) == [None] * 16


def test_what_changes_after_a_damage_is_doubted_until_the_picture_is_drawn_anew() -> None:
    masks = walk(lasting(0.3, 12), (0, 12))
    assert masks[:DAMAGED] + masks[12:] == [None] * (DAMAGED + 4)
    for number in range(DAMAGED, 12):
        mask = masks[number]
        assert mask is not None
        assert mask.shape == SIZE
        first, last = 60 + WALKS_PX * DAMAGED, 60 + WALKS_PX * number
        assert mask[100:140, first : last + 1].all()  # all the way that somebody went
        assert not mask[:, 190:].any()  # where nothing happens what is made up is right
        assert not mask[:32].any()  # above what was damaged


def test_only_what_is_below_the_damage_is_doubted() -> None:
    masks = walk(lasting(0.75, 12), (0, 12))
    assert masks[11] is not None
    assert not masks[11][:112].any()
    assert masks[11][130:140].any()


def test_a_picture_drawn_anew_that_is_damaged_itself_is_whole_above() -> None:
    masks = walk(lasting(0.0, 8) | {8: 0.7} | dict.fromkeys(range(9, 12), 1.0), (0, 8))
    assert masks[7] is not None
    assert masks[7][92:100].any()
    assert masks[8] is not None
    assert not masks[8][:104].any()
    assert masks[8][126:140].any()


def test_damage_of_a_frame_that_was_left_out_leaves_all_in_doubt() -> None:
    masks = walk(dict.fromkeys(range(DAMAGED, 9), 1.0))
    assert masks[DAMAGED] is not None
    assert masks[9:] == [None] * 7  # the decoder says no more


def test_doubt_moves_with_the_picture() -> None:
    doubt, pan = Doubt(), 3
    masks = [
        doubt.find(view(n, pan), {4: 0.5}.get(n, None if n < 4 else 1.0), n == 0, None) for n in range(9)
    ]
    found = [mask.mean() for mask in masks if mask is not None]
    assert len(found) == 5
    assert min(found) > 0.2  # a view that pans is drawn from what was made up nearly everywhere
    assert not any(mask[:64].any() for mask in masks if mask is not None)


def test_what_is_found_without_a_word_begins_a_doubt_where_keys_are_known() -> None:
    found = np.zeros(SIZE, bool)
    found[130:140, 10:60] = True
    for keys, doubted in (((0, 9), True), ((), False)):
        doubt = Doubt()
        masks = [doubt.find(view(n), None, n in keys, found if n == 5 else None) for n in range(12)]
        assert [mask is not None for mask in masks] == [doubted and 5 <= n < 9 for n in range(12)]


def test_a_doubt_ends_after_a_while_and_with_a_picture_of_another_size(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "LASTS_FRAMES", 4)
    masks = walk(lasting(0.0, 16))
    assert [mask is not None for mask in masks] == [DAMAGED <= n < DAMAGED + 4 for n in range(16)]
    doubt = Doubt()
    assert doubt.find(view(0), None, True, None) is None
    assert doubt.find(view(1), 0.0, False, None) is not None
    assert doubt.find(view(2)[:128], 1.0, False, None) is None
    assert doubt.find(np.zeros((16, 16), np.uint8), 0.0, False, None) is None
