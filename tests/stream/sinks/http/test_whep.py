"""The page's picture over WebRTC: what offers are taken, and what a browser shows."""

from __future__ import annotations

import http.client
import random
import threading
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from tests.browser import SHOWN, WIDTH, Tab, opened

from irchroma.stream.errors import SinkError
from irchroma.stream.protocols import VideoInfo
from irchroma.stream.sinks.encoding.shared_encoder import EncoderPool
from irchroma.stream.sinks.encoding.task import EncoderOptions
from irchroma.stream.sinks.http.access import Access
from irchroma.stream.sinks.http.sink import HttpSink, HttpSinkOptions
from irchroma.stream.sinks.http.whep import LONGEST_OFFER, OfferRefused, WhepViewers, chosen_format

SIZE = (240, 320)
STEP_NS = 40_000_000
OFFER = (
    "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"
    "m=audio 9 UDP/TLS/RTP/SAVPF 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1\r\n"
    "m=video 9 UDP/TLS/RTP/SAVPF 100 101 102 103\r\na=recvonly\r\n{}"
)
H264 = (
    "a=rtpmap:101 H264/90000\r\na=fmtp:101 packetization-mode=0;profile-level-id=64001f\r\n"
    "a=rtpmap:102 H264/90000\r\na=fmtp:102 packetization-mode=1;profile-level-id=42e01f\r\n"
    "a=rtpmap:103 H264/90000\r\n"
    "a=fmtp:103 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=4d001f\r\n"
)
VP8 = "a=rtpmap:100 VP8/90000\r\n"
WHOLE = (
    "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n"
    "m=video 9 UDP/TLS/RTP/SAVPF 100 101 102 103\r\nc=IN IP4 0.0.0.0\r\na=rtcp:9 IN IP4 0.0.0.0\r\n"
    "a=candidate:1 1 udp 2113937151 127.0.0.1 59476 typ host generation 0\r\na=ice-options:trickle\r\n"
    "a=ice-ufrag:OdBR\r\na=ice-pwd:NZxvGSbDLv1S1ZZoIOvXUOAx\r\n"
    f"a=fingerprint:sha-256 {':'.join(['4F'] * 32)}\r\na=setup:actpass\r\na=mid:0\r\na=recvonly\r\n"
    f"a=extmap:1 urn:ietf:params:rtp-hdrext:toffset\r\na=rtcp-mux\r\na=rtcp-rsize\r\n{H264}{VP8}"
)
PLAYS = f"{SHOWN} instanceof HTMLVideoElement && {WIDTH}"
COLORS = (
    "(film => { const canvas = Object.assign(document.createElement('canvas'), {width: 320, height: 240});"
    " const draw = canvas.getContext('2d'); draw.drawImage(film, 0, 0, 320, 240);"
    " return [40, 280].map(x => [...draw.getImageData(x, 120, 1, 1).data].slice(0, 3)); })"
    "(document.getElementById('film'))"
)


@pytest.mark.parametrize(
    ("known", "codec", "payload"), [(VP8 + H264, "h264", 103), (H264 + VP8, "h264", 103), (VP8, "vp8", 100)]
)
def test_h264_in_its_best_profile_is_chosen_and_vp8_where_there_is_none(
    known: str, codec: str, payload: int
) -> None:
    chosen = chosen_format(OFFER.format(known))
    assert (chosen.codec, chosen.payload) == (codec, payload)
    assert f"payload=(int){payload}" in chosen.caps
    assert ("profile-level-id=(string)4d001f" in chosen.caps) is (codec == "h264")


@pytest.mark.parametrize(
    ("offer", "said"),
    [
        ("", "expected an offer"),
        ("v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 96\r\n", "video section"),
        (OFFER.format("a=rtpmap:100 AV1/90000\r\n"), "knows neither"),
        (OFFER.format(VP8).replace("recvonly", "sendonly"), "to receive video"),
    ],
)
def test_what_cannot_be_answered_is_refused(offer: str, said: str) -> None:
    with pytest.raises(OfferRefused, match=said):
        chosen_format(offer)


class Camera:
    """A page that shows red on the left and blue on the right, and a white line that falls."""

    def __init__(self, port: int = 0, access: Access | None = None) -> None:
        self.size = SIZE
        self.sink = HttpSink("127.0.0.1", port, HttpSinkOptions("gate", access=access or Access()))
        self.sink.open(VideoInfo(SIZE, Fraction(25), live=True), SIZE)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work)
        self._thread.start()

    def _work(self) -> None:
        number = 0
        while not self._ended.wait(0.04):
            height, width = self.size
            picture = np.empty((height, width, 3), np.uint8)
            picture[:, : width // 2], picture[:, width // 2 :] = (200, 30, 30), (30, 30, 200)
            picture[number % (height // 4)] = 255
            self.sink.write(picture, number * STEP_NS, STEP_NS)
            number += 1

    @property
    def viewers(self) -> int:
        return self.sink.whep.count if self.sink.whep is not None else -1

    @property
    def encodes(self) -> bool:
        whep = self.sink.whep
        return whep is not None and any(one._pipeline is not None for one in whep._pool._encoders.values())

    def close(self) -> None:
        self._ended.set()
        self._thread.join()
        self.sink.close()


@pytest.fixture
def camera() -> Iterator[Camera]:
    made = Camera()
    yield made
    made.close()


def wait_for(condition: Callable[[], bool], seconds: float = 25) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def shows_its_colors(tab: Tab) -> None:
    left, right = tab.value(COLORS)
    assert np.abs(np.subtract([*left, *right], [200, 30, 30, 30, 30, 200])).max() <= 12


@pytest.mark.browser
def test_a_browser_plays_it_and_leaves(camera: Camera, tmp_path: Path) -> None:
    address = f"http://127.0.0.1:{camera.sink.port}/"
    assert not camera.encodes, "nobody watches"
    with opened(address, tmp_path / "profile") as tab:
        tab.wait_for(f"{PLAYS} === 320")
        assert camera.encodes
        shows_its_colors(tab)
        tab.wait_for("document.getElementById('film').getVideoPlaybackQuality().totalVideoFrames > 10")
        tab.wait_for("/^WebRTC [+][0-9]+ ms$/.test(document.getElementById('way').textContent)")
        assert camera.viewers == 1
        assert camera.sink.live_picture.viewers == 0, "motion JPEG goes on beside it"
        camera.size = (240, 640)  # side by side
        tab.wait_for(f"{PLAYS} === 640")
        tab.screenshot(tmp_path / "page.png")
        tab.call("Page.navigate", url="about:blank")
        wait_for(lambda: camera.viewers == 0)
        wait_for(lambda: not camera.encodes)


@pytest.mark.browser
def test_it_comes_again_after_the_server_did(tmp_path: Path) -> None:
    camera = Camera()
    try:
        with opened(f"http://127.0.0.1:{camera.sink.port}/", tmp_path / "profile") as tab:
            tab.wait_for(f"{PLAYS} === 320")
            camera.close()
            tab.wait_for("document.getElementById('state').textContent === 'no server'")
            camera = Camera(camera.sink.port)
            tab.wait_for(f"{PLAYS} === 320 && document.getElementById('state').textContent === 'live'")
            tab.wait_for("document.getElementById('film').getVideoPlaybackQuality().totalVideoFrames > 5")
            shows_its_colors(tab)
    finally:
        camera.close()


@pytest.mark.browser
def test_vp8_for_who_has_no_h264_and_motion_jpeg_for_who_has_neither(camera: Camera, tmp_path: Path) -> None:
    only_vp8 = (
        "const theirs = RTCPeerConnection.prototype.addTransceiver;"
        "RTCPeerConnection.prototype.addTransceiver = function (...all) {"
        " const made = theirs.apply(this, all); made.setCodecPreferences("
        "RTCRtpReceiver.getCapabilities('video').codecs.filter(c => c.mimeType === 'video/VP8'));"
        " return made; };"
    )
    address = f"http://127.0.0.1:{camera.sink.port}/"
    with opened("about:blank", tmp_path / "profile") as tab:
        tab.call("Page.enable")
        first = tab.call("Page.addScriptToEvaluateOnNewDocument", source=only_vp8)["identifier"]
        tab.call("Page.navigate", url=address)
        tab.wait_for(f"document.readyState === 'complete' && {PLAYS} === 320")
        codecs = (
            "(async () => [...(await peer.getStats()).values()].find(s => s.type === 'codec').mimeType)()"
        )
        assert tab.value(codecs) == "video/VP8"
        shows_its_colors(tab)
        tab.call("Page.removeScriptToEvaluateOnNewDocument", identifier=first)
        tab.call("Page.addScriptToEvaluateOnNewDocument", source="delete window.RTCPeerConnection;")
        tab.call("Page.navigate", url=address)
        tab.wait_for("document.getElementById('way')?.textContent.startsWith('HLS, ')")
        source = (
            "delete window.RTCPeerConnection; delete window.MediaSource;"
            " HTMLMediaElement.prototype.canPlayType = () => '';"
        )
        tab.call("Page.addScriptToEvaluateOnNewDocument", source=source)
        tab.call("Page.navigate", url=address + "?again")
        tab.wait_for("document.getElementById('way')?.textContent.startsWith('motion JPEG')")
        tab.wait_for(f"{SHOWN} instanceof HTMLImageElement && {WIDTH} === 320")


def damaged(offer: str, chance: random.Random) -> str:
    """An offer with up to three of its lines lost, doubled, cut, changed or made long."""
    lines = offer.split("\r\n")
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(len(lines))
        line = lines[at]
        place = chance.randrange(len(line) + 1)
        lines[at : at + 1] = chance.choice(
            (
                [],
                [line, line],
                [line[:place]],
                [line[:place] + chr(chance.randrange(32, 127)) + line[place + 1 :]],
                [line + line[-10:] * 40],
            )
        )
    return "\r\n".join(lines)


def test_offers_that_a_hostile_viewer_has_damaged_leave_nothing() -> None:
    viewers = WhepViewers(VideoInfo(SIZE, Fraction(25), live=True), SIZE, EncoderOptions(), EncoderPool())
    chance, let_in, refused = random.Random(1), 0, 0
    threads = threading.active_count()
    for _ in range(60):
        try:
            name, answer = viewers.answer(damaged(WHOLE, chance), "127.0.0.1")
        except SinkError:
            refused += 1
            continue
        let_in += 1
        assert "127.0.0.1" in answer
        assert all(
            line.split()[4].startswith("127.") for line in answer.split("\r\n") if "a=candidate" in line
        )
        assert viewers.end(name)
    assert let_in > 5
    assert refused > 5
    viewers.close()
    wait_for(lambda: threading.active_count() <= threads)


def ask(port: int, method: str, path: str, body: str = "", **headers: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, body.encode(), named)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text


def test_bad_requests_have_an_answer_and_leave_nothing(camera: Camera) -> None:
    port = camera.sink.port
    sdp = {"Content_Type": "application/sdp"}
    assert ask(port, "POST", "/whep", "v=0", Content_Type="text/plain")[0] == 415
    assert ask(port, "POST", "/whep", "v=0", **sdp)[0] == 406
    assert ask(port, "POST", "/whep", OFFER.format(VP8), **sdp)[0] == 406, "it has no fingerprint"
    assert ask(port, "POST", "/whep", "v" * (LONGEST_OFFER + 1), **sdp)[0] == 413
    assert ask(port, "DELETE", "/whep/nobody")[0] == 404
    assert ask(port, "DELETE", "/")[0] == 404
    assert ask(port, "PUT", "/whep", "v=0", **sdp)[0] == 405
    assert camera.viewers == 0


def test_strangers_get_no_picture_this_way_either() -> None:
    camera = Camera(access=Access("operators-token", "viewers-token"))
    try:
        sdp = {"Content_Type": "application/sdp"}
        assert ask(camera.sink.port, "POST", "/whep", "v=0", **sdp)[0] == 401
        let_in = {"Authorization": "Bearer viewers-token", **sdp}
        assert ask(camera.sink.port, "POST", "/whep", "v=0", **let_in)[0] == 406
        assert ask(camera.sink.port, "POST", "/whep", "v=0", **let_in, Origin="http://elsewhere")[0] == 403
    finally:
        camera.close()
