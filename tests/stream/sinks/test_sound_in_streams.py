"""Sound beside the pictures that go over SRT, into an RTSP server and over WHIP; and nothing for nobody."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from tests.stream.sinks import feeding
from tests.stream.sinks.publish.test_publish import grown, server
from tests.waiting import free_port, wait_for

from irchroma.stream.frame import SOUND_HZ, Sound
from irchroma.stream.protocols import FrameSink, VideoInfo
from irchroma.stream.sinks.encoding.sound import LiveSound
from irchroma.stream.sinks.open_sink import SinkOptions, open_sink
from irchroma.stream.sinks.srt_sink import SrtSink

pytestmark = pytest.mark.gst

SIZE = (96, 160)
STEP_NS = 40_000_000
SOUNDING = VideoInfo(SIZE, Fraction(25), live=True, sound=True)


@contextmanager
def fed(sink: FrameSink, sound: LiveSound) -> Iterator[None]:
    """25 pictures a second and the sound of 1 kHz that belongs to them, from a thread of its own."""
    at = np.arange(SOUND_HZ // 25)

    def picture(number: int, pts_ns: int) -> np.ndarray:
        tone = (12_000 * np.sin(2 * np.pi * 1000 * at / SOUND_HZ)).astype(np.int16)
        sound.put([Sound(np.stack([tone, tone], 1), pts_ns)])
        return np.full((*SIZE, 3), 200 if number % 25 < 5 else 40, np.uint8)

    sink.open(SOUNDING, SIZE)
    with closing(sound), feeding.fed(sink, picture):
        yield


def tone_of(file: Path) -> np.ndarray:
    """Decoded by FFmpeg, mono at 48 kHz."""
    words = ["ffmpeg", "-v", "fatal", "-i", str(file), "-f", "s16le", "-ac", "1", "-ar", "48000", "-"]
    done = subprocess.run(words, capture_output=True, timeout=60, stdin=subprocess.DEVNULL, check=False)
    return np.frombuffer(done.stdout[: len(done.stdout) // 2 * 2], np.int16)


def is_the_tone(samples: np.ndarray) -> bool:
    """Whether 1 kHz is what sounds in the last half second."""
    tail = samples[-SOUND_HZ // 2 :].astype(float)
    strength = np.abs(np.fft.rfft(tail * np.hanning(len(tail))))
    return len(tail) == SOUND_HZ // 2 and abs(int(strength.argmax()) - 500) <= 2 and tail.std() > 3000


def test_an_srt_listener_sends_both_in_step_and_encodes_only_while_somebody_listens(tmp_path: Path) -> None:
    port, sound = free_port(socket.SOCK_DGRAM), LiveSound()
    sink = open_sink(f"srt://127.0.0.1:{port}?mode=listener&latency=500", SinkOptions(sound=sound))
    assert isinstance(sink, SrtSink)
    with fed(sink, sound):
        for visit in ("first", "second"):  # what waited in between is not sent
            wait_for(lambda: sink.watched is False)
            assert sink._encoder is not None
            assert sink._encoder._pipeline is None
            file = tmp_path / f"{visit}.ts"
            subprocess.run(
                (
                    *("ffmpeg", "-v", "error", "-nostdin", "-analyzeduration", "1000000"),  # of five seconds
                    *("-i", f"srt://127.0.0.1:{port}?mode=caller"),
                    *("-t", "2", "-c", "copy", str(file)),
                ),
                timeout=60,
                check=True,
            )
            assert is_the_tone(tone_of(file))
            words = ("-show_entries", "stream=codec_name,start_time,duration", "-of", "csv=p=0")
            told = subprocess.run(
                ("ffprobe", "-v", "error", *words, str(file)), stdout=subprocess.PIPE, check=True, timeout=60
            )
            streams = {line.split(",")[0]: line.split(",")[1:] for line in told.stdout.decode().split()}
            assert set(streams) == {"h264", "aac"}
            starts = [float(start) for start, _ in streams.values()]
            assert abs(starts[0] - starts[1]) < 0.1
            assert all(1.5 < float(duration) < 2.5 for _, duration in streams.values())


def tables_of(stream: bytes) -> list[tuple[int, ...]]:
    """Stream types of each program map table of a transport stream (ISO/IEC 13818-1, 2.4.4.9), PID 32."""
    found = []
    for at in range(0, len(stream) - 187, 188):
        packet = stream[at : at + 188]
        if packet[0] != 0x47 or not packet[1] & 0x40 or (packet[1] & 31) << 8 | packet[2] != 32:
            continue
        begin = 5 + packet[4] if packet[3] & 0x20 else 4  # behind what fills the packet
        table = packet[begin + 1 + packet[begin] :]
        end, types = 3 + ((table[1] & 15) << 8 | table[2]) - 4, []
        at_stream = 12 + ((table[10] & 15) << 8 | table[11])
        while at_stream < end:
            types.append(table[at_stream])
            at_stream += 5 + ((table[at_stream + 3] & 15) << 8 | table[at_stream + 4])
        found.append(tuple(types))
    return found


def received(port: int, file: Path) -> bytes:
    """What a caller is sent first, as it is."""
    address = f"srt://127.0.0.1:{port}?mode=caller"
    words = ("gst-launch-1.0", "-q", "srtsrc", f"uri={address}", "!", "identity", "eos-after=100")
    subprocess.run((*words, "!", "filesink", f"location={file}"), timeout=60, check=True)
    return file.read_bytes()


H264_AND_AAC = (0x1B, 0x0F)  # ISO/IEC 13818-1, table 2-34


def test_a_table_of_an_srt_stream_names_the_sound_from_the_first_on(tmp_path: Path) -> None:
    port, sound = free_port(socket.SOCK_DGRAM), LiveSound()
    sink = open_sink(f"srt://127.0.0.1:{port}?mode=listener&latency=500", SinkOptions(sound=sound))
    with fed(sink, sound):
        for visit in ("first", "second"):
            assert set(tables_of(received(port, tmp_path / visit))) == {H264_AND_AAC}


def test_a_table_of_a_file_s_srt_stream_names_its_sound_too(tmp_path: Path) -> None:
    clip, port = tmp_path / "clip.mkv", free_port(socket.SOCK_DGRAM)
    words = "-f lavfi -i testsrc2=s=160x96:r=25:d=9 -f lavfi -i sine=d=9 -c:v ffv1 -c:a pcm_s16le"
    subprocess.run(["ffmpeg", "-v", "error", *words.split(), str(clip)], timeout=60, check=True)
    sink = open_sink(f"srt://127.0.0.1:{port}?mode=listener&latency=500", SinkOptions(audio_from=clip))
    sink.open(VideoInfo(SIZE, Fraction(25), live=False), SIZE)
    with feeding.fed(sink, np.full((*SIZE, 3), 90, np.uint8), began_ns=0):
        assert set(tables_of(received(port, tmp_path / "first"))) == {H264_AND_AAC}


def test_a_published_stream_takes_its_sound_along(tmp_path: Path) -> None:
    port, file, sound = free_port(), tmp_path / "recorded.h264", LiveSound()
    sink = open_sink(f"publish+rtsp://127.0.0.1:{port}/cam/east", SinkOptions(sound=sound))
    heard = tmp_path / "recorded.h264.aac"
    with server("record_server.py", str(port), str(file), "--sound"), fed(sink, sound):
        wait_for(lambda: grown(file, 4000) and heard.exists() and len(tone_of(heard)) > SOUND_HZ, 60)
    assert is_the_tone(tone_of(heard)[: -SOUND_HZ // 10])


def test_a_stream_over_whip_takes_its_sound_along() -> None:
    port, sound = free_port(), LiveSound()
    sink = open_sink(f"whip+http://s3cret@127.0.0.1:{port}/whip/gate", SinkOptions(sound=sound))
    with server("whip_server.py", str(port), "s3cret") as there, fed(sink, sound):
        wait_for(lambda: any(line.startswith("picture 20") for line in there.lines), 60)
        wait_for(lambda: any(line.startswith("sound 50") for line in there.lines), 60)
    _, _, rate, loudest = next(line for line in there.lines if line.startswith("sound 50")).split()
    assert int(rate) == SOUND_HZ
    assert 9_000 < int(loudest) < 15_000
