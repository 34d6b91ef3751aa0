"""A camera by RTP over UDP that loses packets: the damage is found and mended, the recording plays."""

import json
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from tests.waiting import wait_for

from irchroma.stream.sources.file_source import FileSource

pytestmark = pytest.mark.gst

SIZE, FRAMES, KEYS, FPS = (192, 320), 28, 14, 8
MISSING = 18
"""The picture whose first packet is lost on the way; all until the next key frame go on from it."""
PASSES = 2
"""The same again, as a busy machine leaves frames out."""
BIT_PX, BITS = 16, 6
PAYLOAD_BYTES, RTP_HZ = 1200, 90_000


def views() -> list[np.ndarray]:
    """Somebody walks to and fro in a textured view; each picture bears its number, black and white."""
    random = np.random.default_rng(0)
    scene = cv2.resize(random.integers(60, 140, (12, 20)).astype(np.uint8), SIZE[::-1])
    texture = cv2.resize(random.integers(90, 256, (10, 20)).astype(np.float32), SIZE[::-1])
    made = []
    for number in range(FRAMES):
        at = 6.0 * min(number % KEYS, KEYS - number % KEYS)
        shape = cv2.ellipse(np.zeros(SIZE, np.float32), (70, 126), (26, 48), 0, 0, 360, 1.0, -1)
        shift = np.array([[1, 0, at], [0, 1, 0]], np.float32)
        walks, there = (
            cv2.warpAffine(one, shift, SIZE[::-1]) for one in (texture, cv2.GaussianBlur(shape, (0, 0), 2))
        )
        view = np.rint(scene * (1 - there) + walks * there).astype(np.uint8)
        for bit in range(BITS):
            view[:BIT_PX, bit * BIT_PX : (bit + 1) * BIT_PX] = 235 if number >> bit & 1 else 20
        made.append(view)
    return made


def number_of(pixels: np.ndarray) -> int:
    at = range(BIT_PX // 2, BITS * BIT_PX, BIT_PX)
    return sum((pixels[4:12, x - 4 : x + 4].mean() > 128) << bit for bit, x in enumerate(at))


def coded() -> list[list[bytes]]:
    """The NAL units of each picture, as a camera codes them."""
    words = ["-f", "rawvideo", "-pix_fmt", "gray", "-s", f"{SIZE[1]}x{SIZE[0]}", "-r", str(FPS), "-i", "-",
             "-threads", "1", "-pix_fmt", "yuv420p", "-c:v", "libx264", "-preset", "ultrafast", "-tune",
             "zerolatency", "-crf", "20", "-g", str(KEYS), "-x264-params", "scenecut=0:sliced-threads=0",
             "-f", "h264", "-"]  # fmt: skip
    raw = b"".join(view.tobytes() for view in views())
    stream = subprocess.run(
        ["ffmpeg", "-v", "error", *words], input=raw, capture_output=True, check=True, timeout=60
    ).stdout
    pictures: list[list[bytes]] = [[]]
    for unit in stream.split(b"\0\0\1")[1:]:
        pictures[-1].append(unit.rstrip(b"\0"))
        if unit[0] & 0x1F in (1, 5):  # one slice a picture
            pictures.append([])
    return pictures[:-1]


def packets(picture: list[bytes]) -> list[bytes]:
    """RTP payloads of one picture: units that are too large go in fragments (RFC 6184, 5.6 and 5.8)."""
    made = []
    for unit in picture:
        if len(unit) <= PAYLOAD_BYTES:
            made.append(unit)
            continue
        parts = [unit[at : at + PAYLOAD_BYTES] for at in range(1, len(unit), PAYLOAD_BYTES)]
        for number, part in enumerate(parts):
            ends = (number == 0) << 7 | (number == len(parts) - 1) << 6
            made.append(bytes([unit[0] & 0xE0 | 28, ends | unit[0] & 0x1F]) + part)
    return made


class LossyCamera:
    """An RTSP camera that sends its first pictures again and again, by UDP, then all of them but a packet."""

    def __init__(self, pictures: list[list[bytes]]) -> None:
        self._sender: threading.Thread | None = None
        self._pictures = pictures
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._udp = socket.socket(type=socket.SOCK_DGRAM)
        self._udp.bind(("127.0.0.1", 0))
        self.address = f"rtsp://127.0.0.1:{self._listener.getsockname()[1]}/cam"
        self.lose, self.sent, self._ends = threading.Event(), threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        client, _ = self._listener.accept()
        port = 0
        with client, client.makefile("rb") as asked:
            while request := self._request(asked):
                method, headers = request
                answer, body = {"CSeq": headers["cseq"], "Session": "1"}, b""
                if method == "OPTIONS":
                    answer["Public"] = "OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN"
                elif method == "DESCRIBE":
                    body = (
                        b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=cam\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
                        b"m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n"
                        b"a=fmtp:96 packetization-mode=1\r\na=control:video\r\n"
                    )
                    answer |= {"Content-Type": "application/sdp", "Content-Length": str(len(body))}
                elif method == "SETUP":
                    port = int(headers["transport"].split("client_port=")[1].split("-")[0])
                    own = self._udp.getsockname()[1]
                    answer["Transport"] = (
                        f"RTP/AVP;unicast;client_port={port}-{port + 1};server_port={own}-{own}"
                    )
                head = "".join(f"{name}: {value}\r\n" for name, value in answer.items())
                client.sendall(f"RTSP/1.0 200 OK\r\n{head}\r\n".encode() + body)
                if method == "PLAY":
                    self._sender = threading.Thread(target=self._send, args=(port,), daemon=True)
                    self._sender.start()

    @staticmethod
    def _request(asked: object) -> tuple[str, dict[str, str]] | None:
        lines: list[str] = []
        while (line := asked.readline().decode().strip()) or not lines:  # type: ignore[attr-defined]
            if not line:
                return None
            lines.append(line)
        named = [line.partition(":") for line in lines[1:]]
        return lines[0].split()[0], {name.lower(): value.strip() for name, _, value in named}

    def _send(self, port: int) -> None:
        sequence, count, begun_s, lossy = 0, 0, time.monotonic(), 0
        while not self._ends.is_set() and lossy < PASSES:
            lossy += self.lose.is_set()
            for number, picture in enumerate(self._pictures[: None if lossy else KEYS]):
                wait_s = begun_s + count / FPS - time.monotonic()
                if wait_s > 0:
                    self._ends.wait(wait_s)
                parts = packets(picture)
                for at, part in enumerate(parts):
                    marker = (at == len(parts) - 1) << 7
                    head = struct.pack("!BBHII", 0x80, marker | 96, sequence, count * RTP_HZ // FPS, 1)
                    sequence = (sequence + 1) % (1 << 16)
                    if (number, at) != (MISSING, 0):
                        self._udp.sendto(head + part, ("127.0.0.1", port))
                count += 1
        self.sent.set()

    def close(self) -> None:
        self._ends.set()
        for thread in (self._sender, self._thread):
            if thread is not None:
                thread.join(10)
        self._listener.close()
        self._udp.close()


def off(luma: np.ndarray, truth: list[np.ndarray]) -> float:
    """Mean difference from the picture of its number, where somebody walks."""
    return float(np.abs(luma.astype(int) - truth[number_of(luma)])[72:184].mean())


def lumas(path: Path) -> list[np.ndarray]:
    """Of a file that plays to its end."""
    source, found = FileSource(path), []
    source.open()
    try:
        while (frame := source.read(30)) is not None:
            pixels = np.asarray(frame.pixels)
            found.append(pixels if pixels.ndim == 2 else pixels[..., 1])
    finally:
        source.close()
    return [one for one in found if number_of(one) < FRAMES]


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="a camera's pictures are coded with ffmpeg")
def test_a_packet_that_udp_loses_is_noticed_its_picture_mended_and_the_recording_plays(
    tmp_path: Path,
) -> None:
    truth, pictures = views(), coded()
    assert len(pictures) == FRAMES
    lacking = tmp_path / "lacking.h264"  # what a decoder makes of it, with nothing mended
    lacking.write_bytes(
        b"".join(b"\0\0\1" + unit for n, one in enumerate(pictures) if n != MISSING for unit in one)
    )
    unmended = {number_of(one): off(one, truth) for one in lumas(lacking)}
    unmended = {n: value for n, value in unmended.items() if n > MISSING + 1}  # the next is not readable
    assert len(unmended) > 5
    assert min(unmended.values()) > 2.0
    camera = LossyCamera(pictures)
    out, stats = tmp_path / "out.mkv", tmp_path / "stats.json"
    run = subprocess.Popen(
        [sys.executable, "-m", "irchroma.launch", "run", camera.address, "--transport", "udp",
         "--repair", "auto", "--repair-with", "navier-stokes", "--engine", "gray",
         "--tone-map", "none", "--to", str(out), "--stats", str(stats), "--quiet"],
        stderr=subprocess.PIPE, encoding="utf-8", errors="replace",
    )  # fmt: skip
    try:
        wait_for(lambda: out.is_file() and out.stat().st_size > 20_000, 60)  # it goes on well
        camera.lose.set()
        assert camera.sent.wait(60)
        threading.Event().wait(1.0)  # what waits for late packets comes through
    finally:
        run.send_signal(signal.SIGINT)
        said = run.communicate(timeout=60)[1]
        camera.close()
    assert run.returncode == 0, said
    told = json.loads(stats.read_text(encoding="utf-8"))["repair"]
    assert told["damaged_frames"] >= 3
    assert told["doubted_frames"] >= 3
    came = lumas(out)
    assert len(came) > FRAMES
    best: dict[int, float] = {}
    for one in came:
        if (number := number_of(one)) in unmended:
            best[number] = min(best.get(number, 99.0), off(one, truth))
    assert len(best) >= 3
    assert np.mean(list(best.values())) < 0.75 * np.mean([unmended[number] for number in best])
