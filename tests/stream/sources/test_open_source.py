"""What the user typed, and the one clear line when nothing is called that."""

import time
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from irchroma.stream.errors import SourceError, StreamOptionError
from irchroma.stream.sources.addresses import masked, split_credentials
from irchroma.stream.sources.file_source import FileSource
from irchroma.stream.sources.open_source import SourceOptions, open_source
from irchroma.stream.sources.pictures.picture_source import PictureSource
from irchroma.stream.sources.rtsp_source import RtspOptions, RtspSource
from irchroma.stream.sources.transport_source import HttpSource, TransportSource
from irchroma.stream.sources.v4l2_source import V4l2Source
from irchroma.stream.synthetic.source import SyntheticSource


def test_every_form_finds_its_source(tmp_path: Path) -> None:
    video = tmp_path / "clip: 1.mkv"
    video.touch()
    picture = tmp_path / "one.PNG"
    picture.touch()
    for text, kind in {
        "test:nir": SyntheticSource,
        "rtsp://camera/stream": RtspSource,
        "RTSP://camera:8554/stream": RtspSource,
        "http://camera/video.mjpg": HttpSource,
        "https://camera/video.mjpg": HttpSource,
        "srt://:7001": TransportSource,
        "tcp://host:7001": TransportSource,
        "/dev/video3": V4l2Source,
        str(video): FileSource,
        video.as_uri(): FileSource,
        str(picture): PictureSource,
        str(tmp_path): PictureSource,
    }.items():
        assert isinstance(open_source(text), kind), text


def test_a_rate_of_pictures_is_for_pictures(tmp_path: Path) -> None:
    (tmp_path / "one.png").touch()
    options = SourceOptions(picture_rate=Fraction(9))
    assert isinstance(open_source(str(tmp_path), options), PictureSource)
    for other in ("test:nir", "/dev/video0", "rtsp://camera/stream"):
        with pytest.raises(StreamOptionError, match="is for folders and arrays of pictures"):
            open_source(other, options)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no source: expected a video file"),
        ("rtps://me:secret@camera/x", "rtps://\\*\\*\\*@camera/x: irchroma cannot read rtps: .*mean rtsp:"),
        ("htp://host/x", "cannot read htp"),
        ("rtsp://", "got no host"),
        ("rtsp://camera:port/x", "expected rtsp://host:port/path"),
        ("srt://host", "expected srt://host:port"),
        ("srt://host:99?mod=listener", "unknown key 'mod', known are: mode"),
        ("srt://host:99?passphrase=short", "a passphrase of 10 to 79 characters"),
        ("tcp://:99", r"expected tcp://host:port$"),
        ("tcp://a:b:99", r"expected tcp://host:port$"),
        ("rtsp://::1:8554/x", r"path \(an IPv6 address stands in brackets: rtsp://\[::1\]:8554\)$"),
        ("rtsp://me:secret@fe80::1/x", r"in brackets: rtsp://\[fe80::1\]\)$"),
        ("rtsp://2001:db8:0:0:0:0:0:1:554/x", r"in brackets: rtsp://\[2001:db8:0:0:0:0:0:1\]:554\)$"),
        ("http://::1:8080", r"path \(an IPv6 address stands in brackets: http://\[::1\]:8080\)$"),
        ("srt://2001:db8::7:7001", r"in brackets: srt://\[2001:db8::7\]:7001\)$"),
        ("/nowhere/at/all.mp4", "no such file: there is no folder /nowhere/at"),
        ("test:mir", "did you mean test:nir"),
        ("0", "no such file, did you mean /dev/video0"),
        ("webcam", "irchroma find lists"),
        ("rtsp:/10.0.0.5/stream", r"did you mean rtsp://10\.0\.0\.5/stream\?"),
        ("rtsp//camera/stream", r"did you mean rtsp://camera/stream\?"),
        ("rtsp;//me:secret@camera/x", r"did you mean rtsp://\*\*\*@camera/x\?"),
        ("http:/10.0.0.5:8080/video", r"did you mean http://10\.0\.0\.5:8080/video\?"),
        ("10.0.0.5", r"did you mean rtsp://10\.0\.0\.5\?"),
        ("10.0.0.5:554/stream", r"did you mean rtsp://10\.0\.0\.5:554/stream\?"),
        ("10.0.0.5:8080/video.mjpg", r"did you mean http://10\.0\.0\.5:8080/video\.mjpg\?"),
        ("camera.local:8554/gate", r"did you mean rtsp://camera\.local:8554/gate\?"),
        ("me:secret@camera/stream", r"did you mean rtsp://\*\*\*@camera/stream\?"),
        ("me:sec/ret@10.0.0.5/stream", r"did you mean rtsp://\*\*\*@10\.0\.0\.5/stream\?"),
        ("-", r"^-: expected a file: raw video from a pipe is `raw:-\?size=\.\.`"),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_line(text: str, words: str) -> None:
    with pytest.raises((SourceError, StreamOptionError), match=words) as caught:
        open_source(text)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "short" not in str(caught.value)


def test_a_misspelled_file_is_named_beside_its_neighbor(tmp_path: Path) -> None:
    (tmp_path / "night.mp4").touch()
    for typed in ("nigth.mp4", "night.mkv", "night"):
        with pytest.raises(SourceError, match=r"no such file, did you mean .*night\.mp4\?"):
            open_source(str(tmp_path / typed))


def test_a_link_to_nothing_is_named_as_one(tmp_path: Path) -> None:
    link = tmp_path / "night.mp4"
    link.symlink_to("gone.mp4")
    with pytest.raises(SourceError, match=r"night\.mp4: is a link to gone\.mp4, which is not there$"):
        open_source(str(link))


def test_an_absurdly_long_name_is_refused() -> None:
    with pytest.raises(SourceError, match="name too long"):
        open_source("a" * 5000)


def test_a_long_line_is_masked_in_no_time() -> None:
    """It took five seconds, and every line of the log goes by it."""
    text = "a" * 100_000
    began_s = time.process_time()
    assert masked(text) == text
    assert time.process_time() - began_s < 0.5


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("rtsp://me:p@ss@camera:554/x", "rtsp://***@camera:554/x"),
        ("could not open rtsp://me:pw@c/x, retrying", "could not open rtsp://***@c/x, retrying"),
        ("srt://h:1?mode=caller&passphrase=abc&latency=3", "srt://h:1?mode=caller&passphrase=***&latency=3"),
        ("rtsp://c/x?user=me&password=pw", "rtsp://c/x?user=***&password=***"),
        ("rtsp://c/x", "rtsp://c/x"),
        ("mail@example.mp4", "mail@example.mp4"),
        ("rtsp:/me:p@ss@camera:554/x: no such file", "rtsp:/***@camera:554/x: no such file"),
        ("srt://h:1?passphrase=abc: refused", "srt://h:1?passphrase=***: refused"),
        ("srt://h:1?passphrase=geheim)&latency=3", "srt://h:1?passphrase=***&latency=3"),
        ("expected rtsp://user:password@:8554/name", "expected rtsp://user:password@:8554/name"),
    ],
)
def test_secrets_are_masked(text: str, shown: str) -> None:
    assert masked(text) == shown
    assert masked(shown) == shown


def test_credentials_are_decoded_and_taken_out() -> None:
    assert split_credentials("rtsp://me:p%40s%3A@h:1/x?y=1") == ("rtsp://h:1/x?y=1", "me", "p@s:")
    assert split_credentials("rtsp://h/x") == ("rtsp://h/x", "", "")


def test_rtsp_options_out_of_range_are_refused() -> None:
    with pytest.raises(StreamOptionError, match="latency_ms"):
        RtspOptions(latency_ms=-1)
    with pytest.raises(StreamOptionError, match="timeout_s"):
        RtspOptions(timeout_s=0)


@pytest.mark.parametrize(
    ("address", "parts"),
    [
        ("rtsp://user:se@cr#et/9@127.0.0.1:9/cam", ("rtsp://127.0.0.1:9/cam", "user", "se@cr#et/9")),
        ("rtsp://user:first@S#rest@camera.local/c", ("rtsp://camera.local/c", "user", "first@S#rest")),
        ("rtsp://user:a/b@camera:554/c", ("rtsp://camera:554/c", "user", "a/b")),
        ("rtsp://user:100%@[fe80::1]/c", ("rtsp://[fe80::1]/c", "user", "100%")),
        ("rtsp://user:pw@10.0.0.5/profile@1", ("rtsp://10.0.0.5/profile@1", "user", "pw")),
        ("rtsp://camera:554/a?user=b@c", ("rtsp://camera:554/a?user=b@c", "", "")),
        ("rtsp://camera/profile@1", ("rtsp://camera/profile@1", "", "")),
        ("rtsp://ada@camera/c", ("rtsp://camera/c", "ada", "")),
        ("srt://me:x?y@10.0.0.5:9000?mode=caller", ("srt://10.0.0.5:9000?mode=caller", "me", "x?y")),
    ],
)
def test_addresses_are_taken_apart_as_people_write_them(address: str, parts: tuple[str, str, str]) -> None:
    assert split_credentials(address) == parts
    if parts[2]:
        assert parts[2] not in masked(f"opening {address} now")
        assert "***@" in masked(address)


def test_letters_that_must_be_escaped_are_hinted_at_and_nothing_of_a_password_is_shown() -> None:
    source = open_source("rtsp://user:se@cr#et/9@127.0.0.1:9/cam")
    with pytest.raises(SourceError, match=r"^rtsp://127\.0\.0\.1:9/cam: .*@ is written %40, # %23, / %2F"):
        source.open()
    with pytest.raises(SourceError) as caught:
        open_source("rtsp://user:se@cr#et/9@127.0.0.1:1x/cam").open()
    assert not any(part in str(caught.value) for part in ("se@", "cr#", "et/9", "user:"))


def test_what_is_to_be_repeated_begins_again_at_its_end_and_times_go_on(tmp_path: Path) -> None:
    for number in range(3):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((8, 8), 40 * number, np.uint8))
    source = open_source(str(tmp_path), SourceOptions(picture_rate=Fraction(10), loop=True))
    info = source.open()
    assert (info.frame_count, info.duration_ns, info.endless, info.live) == (None, None, True, False)
    frames = [source.read(1) for _ in range(8)]
    source.close()
    assert [int(frame.pixels[0, 0]) for frame in frames if frame] == [0, 40, 80, 0, 40, 80, 0, 40]
    assert [frame.pts_ns // 10**8 for frame in frames if frame] == list(range(8))
    assert [frame.gap for frame in frames if frame] == [number in (3, 6) for number in range(8)]


@pytest.mark.parametrize("text", ["test:nir?size=64x48&live=1", "raw:-?size=4x4"])
def test_what_has_no_end_or_cannot_begin_again_is_not_repeated(text: str) -> None:
    with pytest.raises(StreamOptionError, match="--loop"):
        open_source(text, SourceOptions(loop=True)).open()
