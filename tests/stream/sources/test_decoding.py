"""What decoders say of damage reaches the frames that were damaged, and those that are drawn from them."""

import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from irchroma.stream.errors import SourceError
from irchroma.stream.frame import Frame
from irchroma.stream.sources import decoding as module
from irchroma.stream.sources.decoding import Decoding
from irchroma.stream.sources.file_source import FileSource

pytestmark = pytest.mark.gst

FRAMES, KEYS, SPOILED = 120, 40, 25
SECOND_NS = 1_000_000_000


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """H.264 of 160x128 whose every fortieth picture is drawn from no other."""
    if shutil.which("ffmpeg") is None:
        pytest.skip("streams are damaged with ffmpeg")
    random = np.random.default_rng(0)
    view = np.repeat(np.repeat(random.integers(40, 200, (16, 20)), 8, 0), 8, 1)
    noise = random.normal(0, 8, (FRAMES, *view.shape))
    raw = np.clip(view + noise, 0, 255).astype(np.uint8).tobytes()
    path = tmp_path_factory.mktemp("damage") / "whole.mkv"
    ffmpeg("-f", "rawvideo", "-pix_fmt", "gray", "-s", "160x128", "-r", "25", "-i", "-", "-threads", "1",
           "-pix_fmt", "yuv420p", "-c:v", "libx264", "-preset", "ultrafast", "-coder", "1",
           "-g", str(KEYS), "-sc_threshold", "0", path, given=raw)  # fmt: skip
    return path


def ffmpeg(*words: object, given: bytes = b"") -> None:
    subprocess.run(
        ["ffmpeg", "-v", "error", "-y", *map(str, words)],
        input=given, capture_output=True, check=True, timeout=60,
    )  # fmt: skip


def frames_of(path: Path) -> list[Frame]:
    source, frames = FileSource(path), []
    try:
        source.open()
        while (frame := source.read(20)) is not None:
            frames.append(frame)
    except SourceError as error:
        assert "shown with errors" in str(error)  # noqa: PT017
    finally:
        source.close()
    return frames


def test_nothing_is_said_of_a_whole_stream(clip: Path) -> None:
    assert [frame.damaged_from for frame in frames_of(clip)] == [None] * FRAMES


def test_a_damaged_picture_says_from_where_and_those_after_it_that_it_lasts(
    clip: Path, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.mkv"
    ffmpeg("-i", clip, "-c", "copy", "-bsf:v", f"noise=amount='if(eq(n,{SPOILED}),20,0)'", bad)
    said = [frame.damaged_from for frame in frames_of(bad)]
    assert len(said) == FRAMES
    first = next(number for number, share in enumerate(said) if share is not None)
    # a decoder works on some pictures at once, and does not say of which one it speaks
    assert SPOILED - module._TOGETHER <= first <= SPOILED
    at = said[SPOILED]
    assert at is not None
    assert at < 1.0
    assert all(share is not None for share in said[first:KEYS])
    assert said[2 * KEYS :] == [None] * (FRAMES - 2 * KEYS)


@pytest.fixture
def fed() -> Iterator[Decoding]:
    """A decoder of 320x192 that this thread feeds: a picture in 40 ms, two of them drawn from no other."""
    found = Decoding("camera", 10.0)
    found._thread, found._blocks = threading.get_ident(), (12, 20)
    found._fed.extend([0, 40])
    found._keys = [0, 200]
    yield found
    found.close()


def test_the_place_is_where_the_decoder_fell_less_what_it_may_have_read_wrong_before(fed: Decoding) -> None:
    fed._complain("error while decoding MB 10 6, bytestream 184")
    assert fed.damaged_from(0) is None
    assert fed.damaged_from(40) == pytest.approx(4 / 12)  # (6 * 20 + 10 - 50) // 20 rows
    assert fed.damaged_from(80) == 1.0
    assert fed.damaged_from(200) is None  # drawn from no other


def test_the_place_is_where_concealment_begins(fed: Decoding) -> None:
    fed._complain("concealing 60 DC, 60 AC, 60 MV errors in P frame")
    assert fed.damaged_from(40) == pytest.approx(9 / 12)  # the last 60 of 240 are three rows


def test_what_was_said_of_a_frame_that_was_left_out_is_said_of_the_next(fed: Decoding) -> None:
    fed._complain("Could not find ref with POC 7")
    assert fed.damaged_from(80) == 0.0
    assert fed.damaged_from(120) == 1.0


def test_damage_ends_where_no_picture_of_itself_comes(fed: Decoding) -> None:
    fed._keys = [0]
    fed._complain("concealing 60 DC, 60 AC, 60 MV errors in P frame")
    assert fed.damaged_from(40) is not None
    assert fed.damaged_from(9 * SECOND_NS) == 1.0
    assert fed.damaged_from(11 * SECOND_NS) is None


def test_what_another_camera_s_decoder_says_is_not_for_this_one(fed: Decoding) -> None:
    other = Decoding("other", 10.0)
    other._fed.append(40)
    try:
        other._complain("concealing 60 DC, 60 AC, 60 MV errors in P frame")
        assert other.damaged_from(40) is None
        assert other.complaints == 0
        assert fed.damaged_from(40) is None  # the listener of each is told, and this one was not
    finally:
        other.close()
