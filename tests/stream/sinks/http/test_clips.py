"""Clips of what a page has just shown: where they begin, how long they are, that they play."""

from __future__ import annotations

import json
import subprocess
import urllib.error
import urllib.request
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from tests.stream.sinks.feeding import fed
from tests.waiting import wait_for

from irchroma.stream.errors import SinkError
from irchroma.stream.gstreamer.sample import Unit
from irchroma.stream.picture.picture import Picture
from irchroma.stream.protocols import VideoInfo
from irchroma.stream.sinks.encoding.shared_encoder import EncoderPool
from irchroma.stream.sinks.encoding.task import EncoderOptions
from irchroma.stream.sinks.http.clips import PRE_ROLL_S, Clip, PreRoll
from irchroma.stream.sinks.http.sink import HttpSink, HttpSinkOptions

pytestmark = pytest.mark.gst

SIZE = (64, 96)
STEP_NS = 100_000_000
INFO = VideoInfo(SIZE, Fraction(10), live=True)


class Noting(PreRoll):
    """Knows what has come out of the encoder."""

    newest_ns = -1

    def _take(self, unit: Unit) -> None:
        super()._take(unit)
        self.newest_ns = unit.pts_ns


class Shown:
    """A feed whose pictures say by their gray how many came before."""

    def __init__(self) -> None:
        self.pre_roll = Noting(INFO, EncoderOptions(keyframe_s=1.0), EncoderPool())
        self.number = 0
        self.masks = ""

    def go_on(self, pictures: int, size: tuple[int, int] = SIZE, watched: bool = True) -> None:
        for _ in range(pictures):
            picture = Picture(np.full((*size, 3), 20 + self.number % 200, np.uint8))
            picture.masks = self.masks
            before = self.pre_roll.newest_ns
            self.pre_roll.offer(picture, self.number * STEP_NS, STEP_NS, watched)
            if watched or self.pre_roll.recording:
                wait_for(lambda before=before: self.pre_roll.newest_ns > before)
            self.number += 1


def probed(file: Path) -> list[dict[str, str]]:
    done = subprocess.run(
        ["ffprobe", "-v", "error", "-show_frames", "-select_streams", "v", "-of", "json", str(file)],
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=True,
        timeout=60,
    )
    assert done.stderr == "", done.stderr
    return list(json.loads(done.stdout)["frames"])


def grays(file: Path) -> list[int]:
    with av.open(str(file)) as video:
        return [int(frame.to_ndarray(format="rgb24").mean().round()) for frame in video.decode(video=0)]


def saved(clip: Clip, folder: Path) -> Path:
    file = folder / "clip.mp4"
    file.write_bytes(clip.file())
    return file


def test_a_clip_begins_before_it_was_asked_for_and_plays_from_its_first_frame(tmp_path: Path) -> None:
    shown = Shown()
    shown.go_on(45)
    clip = shown.pre_roll.begin(2.0, 0.5)
    assert 2.0 <= clip.before_s < 3.1
    assert not clip.done
    shown.go_on(5)
    assert clip.done
    file = saved(clip, tmp_path)
    frames = probed(file)
    assert frames[0]["key_frame"] == 1
    assert float(frames[0]["pts_time"]) == 0
    seen = grays(file)
    assert len(seen) == len(frames)
    assert np.abs(np.array(seen) - np.arange(70 - len(seen), 70)).max() <= 2, "each frame, the last one too"
    assert float(frames[-1]["pts_time"]) == pytest.approx(0.1 * (len(frames) - 1), abs=0.001)
    shown.pre_roll.close()


def test_only_the_last_seconds_are_kept_and_nothing_where_nobody_watches(tmp_path: Path) -> None:
    shown = Shown()
    shown.go_on(140)
    assert PRE_ROLL_S <= shown.pre_roll.kept_s <= PRE_ROLL_S + 1.2
    shown.go_on(1, watched=False)
    assert shown.pre_roll.kept_s == 0
    nothing = shown.pre_roll.begin(5.0, 0.0)
    shown.pre_roll.give_up(nothing)
    with pytest.raises(SinkError, match="no picture yet"):
        nothing.file()
    clip = shown.pre_roll.begin(5.0, 0.4)  # whoever asks has an encoder begun for it
    shown.go_on(6, watched=False)
    assert clip.before_s == 0
    assert len(probed(saved(clip, tmp_path))) == 5
    shown.pre_roll.give_up(clip)
    shown.go_on(1, watched=False)
    assert shown.pre_roll.kept_s == 0


def test_what_was_seen_before_a_privacy_mask_was_drawn_is_in_no_clip(tmp_path: Path) -> None:
    shown = Shown()
    shown.go_on(25)
    before = shown.pre_roll.begin(2.0, 1.5)
    assert before.before_s > 0
    shown.masks = "a mask"
    shown.go_on(14, watched=False)
    after = shown.pre_roll.begin(10.0, 0.3)
    shown.go_on(5)
    for clip in (before, after):
        assert clip.done
        assert min(grays(saved(clip, tmp_path))) >= 20 + 25 - 2
    shown.pre_roll.close()


def test_a_clip_ends_where_the_picture_gets_another_size_and_there_are_few_at_once(tmp_path: Path) -> None:
    shown = Shown()
    shown.go_on(15)
    clips = [shown.pre_roll.begin(1.0, 30.0) for _ in range(4)]
    with pytest.raises(SinkError, match="too many"):
        shown.pre_roll.begin(1.0, 1.0)
    shown.go_on(3, (48, 128))
    assert all(clip.done for clip in clips)
    file = saved(clips[0], tmp_path)
    with av.open(str(file)) as video:
        assert {frame.height for frame in video.decode(video=0)} == {SIZE[0]}
    shown.pre_roll.close()


def test_a_port_gives_clips_of_each_feed(tmp_path: Path) -> None:
    sink = HttpSink("127.0.0.1", 0, HttpSinkOptions("gate"))
    sink.open(INFO, SIZE)
    address = f"http://127.0.0.1:{sink.port}/clip.mp4"
    with fed(sink, np.full((*SIZE, 3), 90, np.uint8), rate=20):
        for show_of, width in (("run", SIZE[1]), ("pair", 2 * SIZE[1])):
            with urllib.request.urlopen(f"{address}?show={show_of}&after=0.5", timeout=60) as answer:
                assert answer.headers["Content-Type"] == "video/mp4"
                assert answer.headers["Clip-Before"] == "0.0"
                (tmp_path / "clip.mp4").write_bytes(answer.read())
            frames = probed(tmp_path / "clip.mp4")
            assert (frames[0]["width"], len(frames) >= 10) == (width, True)
        for wrong in ("?before=-1", "?after=61", "?after=soon", "?before=nan", "?after=inf", "?after="):
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(address + wrong, timeout=60)
            with refused.value as error:
                assert error.code == 400
