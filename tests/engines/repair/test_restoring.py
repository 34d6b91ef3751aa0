"""What goes on from what a decoder has made up is restored, until the picture is drawn anew."""

import cv2
import numpy as np
import pytest

from irchroma.engines.repair.restoring import LASTS_FRAMES, Restorer

SIZE, PAN_PX = (192, 256), 3
STEP_NS = 40_000_000
LOST, LASTS = 5, 6


def views(gain_from: int = 99, frames: int = LOST + LASTS) -> list[np.ndarray]:
    """A textured view that pans, whose camera's gain jumps once."""
    random = np.random.default_rng(0)
    wide = cv2.resize(random.integers(30, 180, (24, 60)).astype(np.uint8), (480, SIZE[0]))
    shown = [wide[:, PAN_PX * n : PAN_PX * n + SIZE[1]].copy() for n in range(frames)]
    return [np.rint(1.2 * v + 10).astype(np.uint8) if n >= gain_from else v for n, v in enumerate(shown)]


def moved(view: np.ndarray) -> np.ndarray:
    """As a coder moves it, by the pan."""
    return np.asarray(np.pad(view, ((0, 0), (0, PAN_PX)), mode="edge")[:, PAN_PX:].astype(np.int16))


def gone_on(truth: list[np.ndarray], came: list[np.ndarray]) -> list[np.ndarray]:
    """The pictures after those that came, drawn from the last of them by motion and difference."""
    for number in range(len(came), len(truth)):
        difference = truth[number] - moved(truth[number - 1])
        came.append(np.clip(moved(came[-1]) + difference, 0, 255).astype(np.uint8))
    return came


def told(first: float) -> list[float | None]:
    return [*[None] * LOST, first, *[1.0] * (LASTS - 1)]


def restored(
    came: list[np.ndarray], said: list[float | None], times: list[int] | None = None
) -> list[tuple[np.ndarray, np.ndarray | None]]:
    restorer = Restorer()
    times = times or list(range(len(came)))
    return [
        restorer.apply(one, at * STEP_NS, share, number == 0)
        for number, (one, at, share) in enumerate(zip(came, times, said, strict=True))
    ]


def off(one: np.ndarray, truth: np.ndarray) -> float:
    """Mean difference, less what came in over the border of a view that pans."""
    return float(np.abs(one.astype(int) - truth)[:, : -(LASTS + 3) * PAN_PX].mean())


def test_a_whole_stream_is_left_as_it_is() -> None:
    truth = views()
    assert all(one is came and mask is None for came, (one, mask) in
               zip(truth, restored(truth, [None] * len(truth)), strict=True))  # fmt: skip


@pytest.mark.parametrize("gain_from", [99, LOST])
def test_what_goes_on_from_a_slice_that_did_not_come_is_restored(gain_from: int) -> None:
    truth = views(gain_from)
    concealed = truth[LOST].copy()
    concealed[96:] = truth[LOST - 1][96:]
    came = gone_on(truth, [*truth[:LOST], concealed])
    made = restored(came, told(0.5))
    for number, (one, mask) in enumerate(made):
        if number < LOST:
            assert mask is None
            continue
        assert mask is not None
        assert off(one, truth[number]) < 0.5 * off(came[number], truth[number])
        assert np.array_equal(one[~mask], came[number][~mask])
        assert not mask[:80].any()


def test_what_is_drawn_from_a_picture_that_never_came_is_restored() -> None:
    truth = views(frames=LOST + LASTS + 1)
    came = truth[:LOST]  # the next is missing; the decoder takes the one before for it
    first = moved(came[-1]) + truth[LOST + 1] - moved(truth[LOST])
    seen = [one for number, one in enumerate(truth) if number != LOST]
    came = gone_on(seen, [*came, np.clip(first, 0, 255).astype(np.uint8)])
    times = [number for number in range(len(truth)) if number != LOST]
    for number, (one, mask) in list(enumerate(restored(came, told(0.0), times)))[LOST:]:
        assert mask is not None
        assert off(one, seen[number]) < 0.6 * off(came[number], seen[number])


def test_where_the_first_damaged_frame_was_left_out_one_picture_is_taken_for_missing() -> None:
    truth = views(frames=LOST + LASTS + 1)
    first = moved(truth[LOST - 1]) + truth[LOST + 1] - moved(truth[LOST])
    seen = [one for number, one in enumerate(truth) if number != LOST]
    came = gone_on(seen, [*truth[:LOST], np.clip(first, 0, 255).astype(np.uint8)])
    times = [number for number in range(len(truth)) if number != LOST]
    shown = [number for number in range(len(came)) if number != LOST]  # the run was busy
    made = restored(
        [came[n] for n in shown], [None if n < LOST else 1.0 for n in shown], [times[n] for n in shown]
    )
    for number, (one, mask) in list(zip(shown, made, strict=True))[LOST:]:
        assert mask is not None
        assert off(one, seen[number]) < 0.8 * off(came[number], seen[number])


def test_a_picture_that_is_drawn_anew_ends_it() -> None:
    truth = views()
    concealed = truth[LOST].copy()
    concealed[96:] = truth[LOST - 1][96:]
    came = [*truth[:LOST], concealed, *truth[LOST + 1 :]]
    made = restored(came, [*[None] * LOST, 0.5, *[None] * (LASTS - 1)])
    assert made[LOST][1] is not None
    assert all(one is came[number] and mask is None for number, (one, mask) in
               list(enumerate(made))[LOST + 1 :])  # fmt: skip


def test_blocks_that_come_anew_lose_the_error() -> None:
    truth = views()
    concealed = truth[LOST].copy()
    concealed[96:] = (
        truth[LOST][96:] + 40
    )  # made up too bright; all of the next comes anew, which nothing says
    made = restored([*truth[:LOST], concealed, *truth[LOST + 1 :]], told(0.5))
    assert off(made[LOST][0], truth[LOST]) < 0.3 * off(concealed, truth[LOST])
    assert all(off(one, truth[number]) < 1.0 for number, (one, _) in list(enumerate(made))[LOST + 1 :])


def test_what_a_decoder_has_grayed_out_is_left_to_others() -> None:
    truth = views()
    came = [*truth[:LOST], *[np.full(SIZE, 128, np.uint8)] * LASTS]
    assert all(mask is None for _, mask in restored(came, told(0.0)))


def test_a_damage_without_end_and_a_picture_of_another_size_are_given_up() -> None:
    truth = views()
    concealed = truth[LOST].copy()
    concealed[96:] = truth[LOST - 1][96:]
    restorer = Restorer()
    for number in range(LOST):
        restorer.apply(truth[number], number * STEP_NS, None)
    restorer.apply(concealed, LOST * STEP_NS, 0.5)
    assert restorer.active
    small = truth[0][:128, :128]
    assert restorer.apply(small, (LOST + 1) * STEP_NS, 1.0) == (small, None)
    assert not restorer.active
    for number in range(LASTS_FRAMES + 3):
        at = (LOST + 2 + number) * STEP_NS
        restorer.apply(small, at, 0.6 if number == 2 else None if number < 2 else 1.0)
        assert restorer.active == (2 <= number < LASTS_FRAMES + 2)
