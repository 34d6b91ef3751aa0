from __future__ import annotations

import logging
import threading
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from irchroma.stream.errors import SinkError, StreamOptionError
from irchroma.stream.gstreamer.pipeline import Pipeline
from irchroma.stream.protocols import VideoInfo
from irchroma.stream.sinks.encoding import encoder_effort, encoders
from irchroma.stream.sinks.encoding.encoders import (
    ENCODER_NAMES,
    choose_encoder,
    codec_for,
    codecs_of,
    survey_encoders,
)
from irchroma.stream.sinks.encoding.i420_packer import Yuv420Packer, appsrc_of
from irchroma.stream.sinks.encoding.task import EncoderOptions, EncoderTask
from irchroma.stream.sinks.evidence.recorder import EvidenceOptions, EvidenceRecorder
from irchroma.stream.sinks.evidence.signing import Signer
from irchroma.stream.sinks.evidence.tracks import ColorTrack
from irchroma.stream.sinks.files.file_sink import FileSinkOptions, task_of

pytestmark = pytest.mark.gst

SIZE = (96, 128)


def task(codec: encoders.Codec = "h264", live: bool = True, **options: object) -> EncoderTask:
    return EncoderTask(codec, SIZE, Fraction(25), live, EncoderOptions(**options))


def working() -> list[tuple[str, encoders.Codec]]:
    return [(state.element, state.codec) for state in survey_encoders(SIZE) if state.fault is None]


def test_every_known_encoder_either_works_or_says_why_not() -> None:
    states = survey_encoders(SIZE)
    assert {state.name for state in states} == set(ENCODER_NAMES)
    for state in states:
        assert state.fault is None or "\n" not in state.fault
    assert any(state.codec == "h264" and state.fault is None for state in states)


@pytest.mark.parametrize("live", [True, False])
@pytest.mark.parametrize("bitrate_kbps", [0, 700])
def test_every_encoder_that_works_encodes_with_all_its_settings(live: bool, bitrate_kbps: int) -> None:
    for element, codec in working():
        wanted = task(codec, live, name=element, bitrate_kbps=bitrate_kbps)
        chosen = choose_encoder(wanted)
        assert chosen.element == element
        pipeline = Pipeline(
            f"{appsrc_of(SIZE, wanted.rate)} ! {chosen.launch} ! fakesink name=out sync=false"
        )
        pipeline.start()
        packer = Yuv420Packer(SIZE)
        for number in range(6):
            picture = np.full(SIZE, number * 30, np.uint8)
            pipeline.push("pictures", packer.pack(picture), number * 40_000_000, 40_000_000)
        pipeline.end("pictures", 10)
        assert pipeline.element("out").get_property("last-sample") is not None
        pipeline.stop()


@pytest.mark.parametrize("name", ["x264", "x265"])
def test_nothing_is_kept_back_in_a_live_run(name: str) -> None:
    coded = threading.Semaphore(0)
    pipeline = Pipeline(
        f"{appsrc_of(SIZE, Fraction(25))} ! {choose_encoder(task(codecs_of(name)[0], name=name)).launch}"
        " ! fakesink name=out sync=false signal-handoffs=true"
    )
    pipeline.start()
    try:
        pipeline.element("out").connect("handoff", lambda *_: coded.release())
        packer = Yuv420Packer(SIZE)
        for number in range(5):
            picture = np.full(SIZE, number * 50, np.uint8)
            pipeline.push("pictures", packer.pack(picture), number * 40_000_000, 40_000_000)
            assert coded.acquire(timeout=5), f"picture {number} waits for the next one"
    finally:
        pipeline.stop()


@pytest.mark.parametrize("works", ["there", "here", "nowhere"])
def test_pictures_on_the_first_gpu_go_to_its_encoder_where_that_takes_them(
    monkeypatch: pytest.MonkeyPatch, works: str
) -> None:
    tried: list[int | None] = []

    def fault_of(kind: Any, element: str, task: EncoderTask) -> str | None:
        tried.append(task.device)
        there = "memory:CUDAMemory" in kind.launch(element, task)
        return None if (works == "here" and not there) or (works == "there" and there) else "not here"

    monkeypatch.setattr(encoders, "_fault_of", fault_of)
    wanted = replace(task(name="nvenc"), device=0)
    if works == "nowhere":
        with pytest.raises(SinkError, match="encoder nvenc does not work here"):
            choose_encoder(wanted)
        return
    chosen = choose_encoder(wanted)
    assert chosen.on_device is (works == "there")
    assert ("cudaupload ! video/x-raw(memory:CUDAMemory),format=NV12" in chosen.launch) is chosen.on_device
    if works == "here":
        assert tried == [0, None]
        assert not choose_encoder(replace(wanted, device=1)).on_device
        assert tried[2:] == [None]
    monkeypatch.setattr(encoders, "_fault_of", lambda *_: None)
    assert not choose_encoder(replace(task(name="x264"), device=0)).on_device


@pytest.mark.parametrize("name", ["nvenc", "nvv4l2", "va", "v4l2", "nvh264enc", "nvv4l2h264enc"])
def test_an_encoder_asked_for_by_name_is_that_or_an_error(name: str) -> None:
    if name in {
        word for state in survey_encoders(SIZE) if not state.fault for word in (state.name, state.element)
    }:
        assert name in (choose_encoder(task(name=name)).name, choose_encoder(task(name=name)).element)
    else:
        with pytest.raises(SinkError, match=f"encoder {name} does not work here: .* is not here") as caught:
            choose_encoder(task(name=name))
        assert "\n" not in str(caught.value)


def test_jetsons_encoder_gets_its_own_memory_and_ends_as_the_others_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(encoders.door, "has_property", lambda element, name: name != "insert-sps-pps")
    line = encoders.nvv4l2_launch("nvv4l2h264enc", task(bitrate_kbps=4000))
    assert line.startswith("nvvidconv ! video/x-raw(memory:NVMM),format=NV12 ! nvv4l2h264enc ")
    assert "bitrate=4000000 control-rate=1" in line
    assert "insert-sps-pps" not in line  # of a release that has it not
    assert line.endswith(" ! h264parse")


def test_an_element_that_is_there_but_fails_is_passed_over_with_the_reason() -> None:
    broken = encoders._Kind("broken", "h264", ("identity",), True, lambda *_: "identity error-after=1")
    fault = encoders._fault_of(broken, "identity", task())
    assert fault is not None
    assert "\n" not in fault


def test_a_codec_is_what_was_asked_for_or_refused() -> None:
    held: tuple[encoders.Codec, ...] = ("h264", "h265")
    assert codec_for(EncoderOptions(), held, "a.mp4", ".mp4") == "h264"
    assert codec_for(EncoderOptions(codec="h265"), held, "a.mp4", ".mp4") == "h265"
    assert codec_for(EncoderOptions("x265"), held, "a.mp4", ".mp4") == "h265"
    with pytest.raises(StreamOptionError, match=r"a\.webm: codec h265, which \.webm does not hold here"):
        codec_for(EncoderOptions(codec="h265"), ("vp9", "vp8"), "a.webm", ".webm")
    with pytest.raises(StreamOptionError, match="encoder x264 writes h264, not h265"):
        codec_for(EncoderOptions("x264", "h265"), held, "a.mp4", ".mp4")


def test_where_no_encoder_of_a_codec_is_its_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoders.door, "has_element", lambda _name: False)
    with pytest.raises(SinkError, match=r"no h265 encoder works here: .* x265enc is not here \(needs gst"):
        choose_encoder(task("h265"))


def test_unknown_names_and_other_codecs_are_refused() -> None:
    assert codecs_of("auto") == ()
    assert codecs_of("x264enc") == ("h264",)
    assert set(codecs_of("nvenc")) == {"h264", "h265"}
    with pytest.raises(StreamOptionError, match="unknown encoder 'h264'"):
        codecs_of("h264")
    with pytest.raises(StreamOptionError, match="encoder vp9 writes vp9, but h264 is needed here"):
        choose_encoder(task(name="vp9"))


@pytest.mark.parametrize(
    "wrong",
    [
        {"quality": 51},
        {"quality": -1},
        {"bitrate_kbps": -1},
        {"keyframe_s": 0.0},
        {"keyframe_s": float("nan")},
    ],
)
def test_options_out_of_range_are_refused(wrong: dict) -> None:
    with pytest.raises(StreamOptionError, match="expected"):
        EncoderOptions(**wrong)


@pytest.mark.parametrize(
    ("size", "live", "threads", "speed", "least"),
    [
        ((1080, 1920), True, 2, 1.0, True),
        ((1080, 1920), True, 2, 9.0, True),
        ((1080, 1920), True, 4, 1.0, False),
        ((1080, 1920), False, 2, 1.0, False),  # a file waits
        ((720, 1280), True, 2, 1.0, False),
        ((720, 1280), True, 2, 0.4, True),  # of two cores that are slow
        ((720, 1280), True, 1, 1.0, True),  # of four cameras on four cores, say
        ((512, 640), True, 1, 1.0, False),
        ((512, 640), True, 2, 0.4, False),
    ],
)
def test_a_live_stream_that_is_much_for_the_cores_is_coded_with_least_work_and_that_is_said(
    size: tuple[int, int],
    live: bool,
    threads: int,
    speed: float,
    least: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(encoder_effort.os, "sched_getaffinity", lambda _: set(range(threads)), raising=False)
    monkeypatch.setattr(encoder_effort, "core_speed", lambda: speed)
    task = EncoderTask("h264", size, Fraction(30), live, EncoderOptions("x264"))
    launch = choose_encoder(task).launch
    assert ("speed-preset=ultrafast" in launch) == least
    assert ("speed-preset=superfast" in launch) != least
    line = f"at its least work: {size[1]}x{size[0]} is much for these cores"
    assert any(line in record.message for record in caplog.records) == least
    alone = replace(task, options=EncoderOptions("x264", threads=threads))
    assert ("speed-preset=ultrafast" in choose_encoder(alone).launch) == least
    many = replace(task, options=EncoderOptions("x264", threads=16))
    assert ("speed-preset=ultrafast" in choose_encoder(many).launch) == least, "no more than there are cores"


def test_a_recording_of_a_live_source_is_coded_with_less_work_where_it_is_much_and_a_file_s_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(encoder_effort.os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    monkeypatch.setattr(encoder_effort, "core_speed", lambda: 1.0)
    for size, live, least in (
        ((1080, 1920), True, True),
        ((1080, 1920), False, False),
        ((720, 1280), True, False),
    ):
        task = task_of(Path("a.mp4"), FileSinkOptions(), None, VideoInfo(size, Fraction(30), live), size)
        launch = choose_encoder(task).launch
        assert "mbtree=1" in launch
        assert "zerolatency" not in launch
        assert ("speed-preset=ultrafast" in launch) == least


def test_a_recording_of_evidence_has_coded_what_another_recording_has(tmp_path: Path) -> None:
    """Or they would not share an encoder."""
    pytest.importorskip("cryptography")
    options = EvidenceOptions(Signer.kept(tmp_path / "key.pem"))
    for live in (True, False):
        info = VideoInfo((96, 128), Fraction(30), live)
        track = ColorTrack(EvidenceRecorder(tmp_path / "a.mkv", options))
        track._note(info)
        beside = task_of(tmp_path / "b.mp4", FileSinkOptions(), None, info, info.size)
        assert track._tail(info.rate, info.size).task == beside


def test_a_core_is_as_fast_as_it_is() -> None:
    assert 0.02 < encoder_effort.core_speed() < 20


def test_an_encoder_of_one_camera_among_several_has_its_share_of_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("x264", "vp8"):
        codec = "h264" if name == "x264" else "vp8"
        task = EncoderTask(codec, (48, 64), Fraction(25), True, EncoderOptions(threads=3))  # type: ignore[arg-type]
        assert " threads=3" in choose_encoder(task).launch
    monkeypatch.setattr(encoder_effort.os, "sched_getaffinity", lambda _: set(range(5)), raising=False)
    alone = EncoderTask("vp8", (48, 64), Fraction(25), True, EncoderOptions())
    assert " threads=5" in choose_encoder(alone).launch, "those that this process may use"
    with pytest.raises(StreamOptionError, match="0 or more threads"):
        EncoderOptions(threads=-1)
