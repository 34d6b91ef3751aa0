"""A live source's sound for any number of outputs: in time, without gaps, and nothing kept for nobody."""

from __future__ import annotations

import numpy as np
import pytest
from tests.waiting import wait_for

from irchroma.stream.frame import SOUND_HZ, Sound
from irchroma.stream.sinks.encoding.sound import LiveSound, Piece, SoundReader

pytestmark = pytest.mark.gst

STEP_NS = 20_000_000


def piece(number: int, level: int = 8000) -> Sound:
    return Sound(np.full((SOUND_HZ // 50, 2), level, np.int16), number * STEP_NS)


def read(reader: SoundReader, end_ns: int, last_ns: int) -> list[Piece]:
    """All up to `end_ns`, once one that ends at `last_ns` or later has been coded."""
    found: list[Piece] = []

    def enough() -> bool:
        found.extend(reader.until(end_ns))
        return bool(found) and found[-1].pts_ns + found[-1].buffer.duration >= last_ns

    wait_for(enough, 10)
    return found


def steps(pieces: list[Piece]) -> np.ndarray:
    return np.diff([one.pts_ns for one in pieces])


@pytest.mark.parametrize("coding", ["audio/mpeg", "audio/x-opus"])
def test_each_reader_gets_every_piece_in_time(coding: str) -> None:
    sound = LiveSound()
    readers = [sound.reader(coding), sound.reader(coding)]
    for number in range(100):
        sound.put([piece(number)])
    for reader in readers:
        got = read(reader, 10**10, 1_900_000_000)
        assert abs(got[0].pts_ns) < 30_000_000
        assert steps(got)[1:] == pytest.approx(got[1].buffer.duration, abs=100)
    sound.close()
    sound.close()


def test_silence_stands_in_for_what_does_not_come_and_late_sound_is_not_played_twice() -> None:
    sound = LiveSound()
    reader = sound.reader()
    sound.put([piece(0)])
    got = read(reader, 2_000_000_000, 1_400_000_000)
    assert got[-1].pts_ns < 1_600_000_000, "half a second is waited for it"
    sound.put([piece(n) for n in range(60, 120)])
    got += read(reader, 10**10, 2_300_000_000)
    assert steps(got) == pytest.approx(1024e9 / SOUND_HZ, abs=100)
    sound.close()


def test_an_output_that_comes_later_begins_some_seconds_ago() -> None:
    sound = LiveSound()
    first = sound.reader()
    for number in range(500):
        sound.put([piece(number)])
    read(first, 10**10, 9_900_000_000)
    later = read(sound.reader(), 10**10, 9_900_000_000)
    assert 6_500_000_000 < later[0].pts_ns < 7_500_000_000
    sound.close()
