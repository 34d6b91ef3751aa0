from __future__ import annotations

import numpy as np
import pytest

from irchroma.stream.view.cards import elapsed, error_banner, for_viewers, no_signal_card

LAST = np.random.default_rng(0).integers(0, 256, (120, 160, 3)).astype(np.uint8)


@pytest.mark.parametrize("size", [(1, 1), (16, 16), (33, 47), (96, 96), (512, 640), (1080, 1920), (600, 97)])
@pytest.mark.parametrize("last", [None, LAST])
def test_a_card_of_any_size_is_dark_and_says_something_where_it_can(
    size: tuple[int, int], last: np.ndarray | None
) -> None:
    card = no_signal_card(size, last, 12.3, "the camera closed the connection")
    assert card.shape == (*size, 3)
    assert card.dtype == np.uint8
    assert card.mean() < 80
    assert (card.max() > 240) == (min(size) >= 96)


def test_the_time_and_the_reason_are_on_the_card() -> None:
    cards = [no_signal_card((480, 640), None, s, r) for s, r in ((1, "a"), (2, "a"), (1, "b"), (1, ""))]
    assert len({card.tobytes() for card in cards}) == 4
    assert np.array_equal(no_signal_card((480, 640), None, 1.9, "a"), cards[0])


def test_the_source_s_address_is_not_shown_in_front_of_the_reason() -> None:
    said = "rtsp://***@10.0.0.5:554/stream: the camera refuses this user and password"
    shown = no_signal_card((480, 640), None, 5, said)
    assert np.array_equal(shown, no_signal_card((480, 640), None, 5, said.partition(": ")[2]))


REFUSED = "127.0.0.1 refuses connections at port 554: is the camera or server running, is the port right?"


@pytest.mark.parametrize(
    ("reason", "page", "card"),
    [
        (
            f"rtsp://127.0.0.1:554/cam: {REFUSED}",
            "the camera refuses connections: is the camera or server running, is the port right?",
            "the camera refuses connections",
        ),
        (
            f"no picture came: rtsp://h/c: {REFUSED}",
            "no picture came: the camera refuses connections: ...",
            "",
        ),
        (
            "rtsp://roof.lan/c: no host is called roof.lan",
            "the camera's name leads nowhere",
            "the camera's name leads nowhere",
        ),
        (
            "tcp://10.0.0.5:5000: 10.0.0.5 cannot be reached at port 5000: no route to host",
            "the camera cannot be reached: no route to host",
            "the camera cannot be reached",
        ),
        (
            "http://10.0.0.5/v: the camera sends on to http://10.0.0.6/v, which is told none: give that one",
            "the camera sends on to another address, which is told none: give that one",
            "the camera sends on to another address, which is told none",
        ),
        (
            "rtsp://10.0.0.5/c: the camera wants a user and password: rtsp://user:password@host/...",
            "the camera wants a user and password: another address",
            "the camera wants a user and password",
        ),
        (
            "srt://:1: no picture came within 5 s, is the other side running?",
            "",
            "no picture came within 5 s",
        ),
        ("/dev/video0: the camera is gone (unplugged?)", "", "the camera is gone"),
        ("webrtc: the stream has ended", "", "the stream has ended"),
        ("standard input: it ended; give more", "", "it ended"),
        (f"no picture came: rtsp://h/c: {REFUSED}", "", "the camera refuses connections"),
        ("night.mkv: no space left on device", "night.mkv: no space left on device", ""),
        ("the connection broke", "the connection broke", "the connection broke"),
    ],
)
def test_viewers_read_why_and_not_where_the_camera_is(reason: str, page: str, card: str) -> None:
    assert not page or for_viewers(reason) == page.replace("...", REFUSED.partition(": ")[2])
    if card:
        shown = no_signal_card((480, 1600), None, 9, reason)
        assert np.array_equal(shown, no_signal_card((480, 1600), None, 9, card))


def test_a_camera_among_several_is_named_where_there_is_room() -> None:
    plain = no_signal_card((480, 640), None, 9, "a")
    assert not np.array_equal(plain, no_signal_card((480, 640), None, 9, "a", "gate"))
    assert np.array_equal(plain, no_signal_card((480, 640), None, 9, "a", "gate" * 30))


def test_the_last_picture_is_still_to_be_guessed_behind() -> None:
    last = np.zeros((480, 640, 3), np.uint8)
    last[:, 320:] = 255
    card = no_signal_card((480, 640), last, 5)
    assert card[:100, 500:].mean() > card[:100, :140].mean() + 30
    assert (last[:, 320:] == 255).all()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0 s"),
        (7.9, "7 s"),
        (60, "1:00 min"),
        (185, "3:05 min"),
        (3729, "1:02:09 h"),
        (90000, "25:00:00 h"),
    ],
)
def test_elapsed_time_reads_well(seconds: float, text: str) -> None:
    assert elapsed(seconds) == text


@pytest.mark.parametrize("size", [(1, 1), (16, 16), (95, 300), (96, 96), (480, 640)])
@pytest.mark.parametrize("reason", ["the engine failed", "a very long reason " * 30, ""])
def test_a_banner_stands_at_the_lower_edge_of_a_copy(size: tuple[int, int], reason: str) -> None:
    picture = np.full((*size, 3), 120, np.uint8)
    out = error_banner(picture, reason)
    assert (picture == 120).all()
    assert out.shape == picture.shape
    changed = np.any(out != 120, axis=2)
    assert changed.any() == (min(size) >= 96)
    assert not changed[: size[0] // 2].any()
