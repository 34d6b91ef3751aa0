"""What decoders say of damage reaches the frames that were damaged, and those that are drawn from them."""

import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from irchroma.stream.errors import SourceError
from irchroma.stream.frame import Frame
from irchroma.stream.media.h264 import CodedPicture
from irchroma.stream.sources.decoding import Decoding
from irchroma.stream.sources.file_source import FileSource
from irchroma.stream.sources.gst_source import PictureOptions

pytestmark = pytest.mark.gst

FRAMES, KEYS, SPOILED = 120, 40, 25
OPEN_A_STREAM = """
import socket, sys, threading
from irchroma.stream.errors import SourceError
from irchroma.stream.sources.transport_source import TransportSource

listening = socket.create_server(("127.0.0.1", 0))

def serve():
    connection, _ = listening.accept()
    with connection, open(sys.argv[1], "rb") as file:
        connection.sendall(file.read())
        connection.recv(1)

threading.Thread(target=serve, daemon=True).start()
source = TransportSource(f"tcp://127.0.0.1:{listening.getsockname()[1]}")
try:
    source.open()
    print("opened", source.read(5).pixels.dtype)
except SourceError as error:
    print(type(error).__name__, error)
source.close()
"""
"""A file's bytes as a stream, and what comes of them."""
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
    source, frames = FileSource(path, PictureOptions(tell_damage=True)), []
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
    frames = frames_of(clip)
    assert [frame.damaged_from for frame in frames] == [None] * FRAMES
    assert [number for number, frame in enumerate(frames) if frame.drawn_anew] == [0, KEYS, 2 * KEYS]


def test_a_damaged_picture_says_from_where_and_those_after_it_that_it_lasts(
    clip: Path, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.mkv"
    ffmpeg("-i", clip, "-c", "copy", "-bsf:v", f"noise=amount='if(eq(n,{SPOILED}),20,0)'", bad)
    frames = [frames_of(bad) for _ in range(3)]
    said = [frame.damaged_from for frame in frames[0]]
    assert len(said) == FRAMES
    at = said[SPOILED]
    assert at is not None
    assert at < 1.0
    assert said[:SPOILED] == [None] * SPOILED
    assert said[SPOILED + 1 : KEYS] == [1.0] * (KEYS - SPOILED - 1)
    assert said[KEYS:] == [None] * (FRAMES - KEYS)
    for again in frames[1:]:  # a decoder's threads play no part in what is said of which picture
        assert [frame.damaged_from for frame in again] == said
        assert all(np.array_equal(one.pixels, two.pixels) for one, two in zip(again, frames[0], strict=True))


def test_a_missing_picture_is_noticed_by_those_drawn_from_it(clip: Path, tmp_path: Path) -> None:
    annex_b, short = tmp_path / "whole.h264", tmp_path / "short.ts"
    ffmpeg("-i", clip, "-c", "copy", "-bsf:v", "h264_mp4toannexb", annex_b)
    for out, words in ((short, ["-r", "25", "-i", annex_b]), (tmp_path / "short.mkv", ["-i", clip])):
        ffmpeg(*words, "-c", "copy", "-bsf:v", f"noise=drop='eq(n,{SPOILED})'", out)
        said = [frame.damaged_from for frame in frames_of(out)]
        assert len(said) == FRAMES - 1
        assert said[:KEYS] == [None] * SPOILED + [0.0] + [1.0] * (KEYS - SPOILED - 2) + [None]
        assert said[KEYS:] == [None] * (FRAMES - 1 - KEYS)


def test_nothing_is_said_by_a_source_that_was_not_asked(clip: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.mkv"
    ffmpeg("-i", clip, "-c", "copy", "-bsf:v", f"noise=amount='if(eq(n,{SPOILED}),20,0)'", bad)
    source = FileSource(bad)
    source.open()
    assert [source.read(20).damaged_from for _ in range(KEYS)] == [None] * KEYS  # type: ignore[union-attr]
    source.close()


def damage(decoding: Decoding, at: int) -> float | None:
    return decoding.said_of(at)[0]


class Coded:
    """A buffer of a coded picture."""

    def __init__(self, key: bool = False, data: bytes = b"") -> None:
        self._key, self._data = key, data

    def has_flags(self, _flags: object) -> bool:
        return not self._key

    def get_size(self) -> int:
        return len(self._data)

    def extract_dup(self, first: int, size: int) -> bytes:
        return self._data[first : first + size]


@pytest.fixture
def fed() -> Iterator[Decoding]:
    """A decoder of 320x192 that this thread feeds: a picture in 40 ms, the first drawn from no other."""
    found = Decoding("camera", 10.0, tell_damage=True)
    found._thread, found._blocks = threading.get_ident(), (12, 20)
    found._begins(0, Coded(key=True))
    found._begins(40, Coded())
    yield found
    found.close()


def test_the_place_is_where_the_decoder_fell_less_what_it_may_have_read_wrong_before(fed: Decoding) -> None:
    fed._complain("error while decoding MB 10 6, bytestream 184")
    fed._begins(80, Coded())
    fed._begins(120, Coded(key=True))
    assert damage(fed, 0) is None
    assert damage(fed, 40) == pytest.approx(4 / 12)  # (6 * 20 + 10 - 50) // 20 rows
    assert damage(fed, 80) == 1.0
    assert fed.said_of(120) == (None, True)  # drawn from no other


def test_what_is_shown_before_a_damaged_picture_and_drawn_from_it_is_doubted_too(fed: Decoding) -> None:
    fed._begins(160, Coded())
    fed._complain("concealing 60 DC, 60 AC, 60 MV errors in P frame")
    fed._begins(80, Coded())  # B pictures come after what they are drawn from
    fed._begins(120, Coded())
    assert [damage(fed, at) for at in (40, 80, 120, 160)] == [None, 1.0, 1.0, pytest.approx(9 / 12)]


def test_the_place_is_where_concealment_begins(fed: Decoding) -> None:
    fed._complain("concealing 60 DC, 60 AC, 60 MV errors in P frame")
    assert damage(fed, 40) == pytest.approx(9 / 12)  # the last 60 of 240 are three rows


def test_of_several_slices_the_one_that_is_missing_is_the_place(fed: Decoding) -> None:
    fed._coded = CodedPicture((0, 160), False, 80)
    fed._complain("concealing 80 DC, 80 AC, 80 MV errors in P frame")
    assert damage(fed, 40) == pytest.approx(4 / 12)
    fed._begins(80, Coded())
    fed._coded = CodedPicture((0, 77), False, None)  # slices of any length: it may be anywhere
    fed._complain("concealing 80 DC, 80 AC, 80 MV errors in P frame")
    assert damage(fed, 80) == 0.0


def test_a_frame_that_was_left_out_leaves_the_next_in_doubt(fed: Decoding) -> None:
    fed._complain("Could not find ref with POC 7")
    fed._begins(80, Coded())
    fed._begins(120, Coded())
    assert damage(fed, 80) == 1.0
    assert damage(fed, 120) == 1.0
    assert not fed._damage


def test_damage_ends_where_no_picture_of_itself_comes(fed: Decoding) -> None:
    fed._complain("concealing 60 DC, 60 AC, 60 MV errors in P frame")
    for at in (9 * SECOND_NS, 11 * SECOND_NS):
        fed._begins(at, Coded())
    assert damage(fed, 40) is not None
    assert damage(fed, 9 * SECOND_NS) == 1.0
    assert damage(fed, 11 * SECOND_NS) is None


def test_what_another_camera_s_decoder_says_is_not_for_this_one(fed: Decoding) -> None:
    other = Decoding("other", 10.0, tell_damage=True)
    other._begins(40, Coded())
    try:
        other._complain("concealing 60 DC, 60 AC, 60 MV errors in P frame")
        assert damage(other, 40) is None
        assert other.complaints == 0
        assert damage(fed, 40) is None  # the listener of each is told, and this one was not
    finally:
        other.close()


@pytest.mark.parametrize(
    ("pixels", "words"), [("gray12le", "cannot decode FFV1 of this depth"), ("gray16le", "opened uint16")]
)
def test_a_stream_whose_depth_has_no_name_in_gstreamer_ends_with_an_error_and_not_with_the_process(
    tmp_path: Path, pixels: str, words: str
) -> None:
    if shutil.which("ffmpeg") is None:
        pytest.skip("no ffmpeg here to write FFV1 of 12 bits")
    path = tmp_path / "counts.mkv"
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=64x48:r=10:d=1", "-pix_fmt", pixels, "-c:v", "ffv1", path)
    command = [sys.executable, "-c", OPEN_A_STREAM, str(path)]
    opened = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert opened.returncode == 0, opened.stderr
    assert words in opened.stdout
