"""Recorders find a stream and show it: onvif-zeep-async and WSDiscovery's messages are foreign clients."""

from __future__ import annotations

import asyncio
import base64
import http.client
import re
import socket
import struct
import subprocess
from collections.abc import Coroutine, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from fractions import Fraction
from typing import Any
from xml.etree import ElementTree
from xml.sax.saxutils import escape

import cv2
import numpy as np
import pytest
from tests.stream.sinks.feeding import fed
from tests.waiting import answers, free_port, wait_for

from irchroma.launch.commands.find import probed
from irchroma.stream.errors import SinkError
from irchroma.stream.protocols import VideoInfo
from irchroma.stream.sinks.encoding.sound import LiveSound
from irchroma.stream.sinks.encoding.task import EncoderOptions
from irchroma.stream.sinks.onvif.discovery import GROUP, PORT
from irchroma.stream.sinks.onvif.sink import OnvifOptions, OnvifSink
from irchroma.stream.sinks.onvif.soap import SOAP, password_digest
from irchroma.stream.sinks.open_sink import SinkOptions, open_sink

pytestmark = pytest.mark.gst

SIZE = (96, 128)
USER, PASSWORD = "recorder", "a pass & word"
PICTURE = np.full((*SIZE, 3), (200, 40, 20), np.uint8)
DEVICE, MEDIA = "http://www.onvif.org/ver10/device/wsdl", "http://www.onvif.org/ver10/media/wsdl"
WSSE = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd"
WSU = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd"


@dataclass
class Served:
    sink: OnvifSink
    rtsp: str

    @property
    def port(self) -> int:
        return self.sink.port

    def post(self, body: str, header: str = "", **headers: str) -> tuple[int, str]:
        envelope = (
            f'<s:Envelope xmlns:s="{SOAP}" xmlns:tds="{DEVICE}" xmlns:trt="{MEDIA}">'
            f"<s:Header>{header}</s:Header><s:Body>{body}</s:Body></s:Envelope>"
        )
        return self.send(envelope.encode(), **headers)

    def send(self, data: bytes, **headers: str) -> tuple[int, str]:
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            said = {"Content-Type": "application/soap+xml", **headers}
            client.request("POST", "/onvif/device_service", data, said)
            answer = client.getresponse()
            return answer.status, answer.read().decode()
        finally:
            client.close()


def opened(address: str, **options: Any) -> OnvifSink:
    sink = open_sink(address, SinkOptions(onvif=OnvifOptions(0), **options))
    assert isinstance(sink, OnvifSink)
    return sink


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    """A stream with a password on this machine, written to as a camera would."""
    port = free_port()
    sink = opened(f"rtsp://{USER}:a%20pass%20%26%20word@127.0.0.1:{port}/yard")
    sink.open(VideoInfo(SIZE, Fraction(20), live=True), SIZE)
    with fed(sink, PICTURE, rate=20):
        yield Served(sink, f"127.0.0.1:{port}/yard")


def token(
    password: str = PASSWORD,
    at: datetime | None = None,
    nonce: bytes = b"",
    user: str = USER,
    kind: str = "Digest",
) -> str:
    """A UsernameToken as a client makes it."""
    nonce = nonce or np.random.default_rng().bytes(16)
    created = (at or datetime.now(timezone.utc)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    said = password_digest(nonce, created, password) if kind == "Digest" else escape(password)
    return (
        f'<w:Security xmlns:w="{WSSE}" xmlns:u="{WSU}"><w:UsernameToken><w:Username>{user}</w:Username>'
        f'<w:Password Type="http://docs.oasis-open.org/x#Password{kind}">{said}</w:Password>'
        f"<w:Nonce>{base64.b64encode(nonce).decode()}</w:Nonce><u:Created>{created}</u:Created>"
        "</w:UsernameToken></w:Security>"
    )


def test_a_foreign_client_is_told_of_the_stream_and_plays_it(served: Served) -> None:
    onvif = pytest.importorskip("onvif")

    async def ask() -> dict[str, Any]:
        camera = onvif.ONVIFCamera("127.0.0.1", served.port, USER, PASSWORD)
        try:
            await camera.update_xaddrs()
            device = await camera.create_devicemgmt_service()
            media = await camera.create_media_service()
            profiles = await media.GetProfiles()
            setup = {"Stream": "RTP-Unicast", "Transport": {"Protocol": "RTSP"}}
            wanted = {"StreamSetup": setup, "ProfileToken": profiles[0].token}
            encoder = {"ConfigurationToken": profiles[0].VideoEncoderConfiguration.token}
            return {
                "device": await device.GetDeviceInformation(),
                "services": await device.GetServices({"IncludeCapability": True}),
                "capabilities": await device.GetCapabilities({"Category": "All"}),
                "scopes": await device.GetScopes(),
                "time": await device.GetSystemDateAndTime(),
                "profiles": profiles,
                "sources": await media.GetVideoSources(),
                "encoder": await media.GetVideoEncoderConfiguration(encoder),
                "options": await media.GetVideoEncoderConfigurationOptions(encoder),
                "network": await device.GetNetworkInterfaces(),
                "host": await device.GetHostname(),
                "stream": await media.GetStreamUri(wanted),
                "snapshot": await camera.get_snapshot(profiles[0].token),
            }
        finally:
            await camera.close()

    told = run(ask())
    assert told["device"].Manufacturer == "irchroma"
    assert {one.Namespace for one in told["services"]} == {DEVICE, MEDIA}
    assert told["capabilities"].Media.StreamingCapabilities.RTP_RTSP_TCP
    assert "onvif://www.onvif.org/Profile/Streaming" in [one.ScopeItem for one in told["scopes"]]
    assert told["time"].UTCDateTime.Date.Year == datetime.now(timezone.utc).year
    assert [one.Name for one in told["profiles"]] == ["yard"]
    size = told["profiles"][0].VideoEncoderConfiguration.Resolution
    assert (size.Height, size.Width) == SIZE
    assert told["sources"][0].Framerate == 20
    assert told["encoder"].Encoding == "H264"
    assert told["options"].H264.FrameRateRange.Max == 20
    assert told["network"][0].Info.HwAddress.startswith("02:")
    assert told["host"].Name == socket.gethostname()
    assert told["stream"].Uri == f"rtsp://{served.rtsp}"
    picture = cv2.imdecode(np.frombuffer(told["snapshot"], np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    assert np.allclose(picture.mean((0, 1)), (20, 40, 200), atol=6)
    # The address is one that the stream's user plays.
    known = str(told["stream"].Uri).replace("://", f"://{USER}:a%20pass%20%26%20word@")
    facts = ["ffprobe", "-v", "error", "-rtsp_transport", "tcp"]
    facts += ["-show_entries", "stream=codec_name,profile,width,height"]
    played = subprocess.run(
        [*facts, "-of", "csv=p=0", known],
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        timeout=120,
    )
    coded_as = {"High": "High", "Baseline": "Constrained Baseline"}[told["encoder"].H264.H264Profile]
    assert played.stdout.strip() == f"h264,{coded_as},128,96", played.stderr
    assert told["profiles"][0].AudioEncoderConfiguration is None, "it has no sound"


def test_what_sounds_with_a_stream_is_told() -> None:
    onvif = pytest.importorskip("onvif")
    sound = LiveSound()
    sink = opened(f"rtsp://{USER}:word@127.0.0.1:{free_port()}/heard", sound=sound)
    sink.open(VideoInfo(SIZE, Fraction(20), live=True, sound=True), SIZE)

    async def ask() -> dict[str, Any]:
        camera = onvif.ONVIFCamera("127.0.0.1", sink.port, USER, "word")
        try:
            await camera.update_xaddrs()
            media = await camera.create_media_service()
            return {
                "profiles": await media.GetProfiles(),
                "sources": await media.GetAudioSources(),
                "heard": await media.GetAudioSourceConfigurations(),
                "encoders": await media.GetAudioEncoderConfigurations(),
            }
        finally:
            await camera.close()

    with closing(sound), closing(sink):
        told = run(ask())
    profile = told["profiles"][0]
    encoder = profile.AudioEncoderConfiguration
    assert (encoder.Encoding, encoder.SampleRate, encoder.Bitrate) == ("AAC", 48, 128)
    assert profile.AudioSourceConfiguration.SourceToken == told["sources"][0].token
    assert told["sources"][0].Channels == 2
    assert [one.token for one in told["heard"]] == [profile.AudioSourceConfiguration.token]
    assert [one.token for one in told["encoders"]] == [encoder.token]


def run(work: Coroutine[Any, Any, dict[str, Any]]) -> dict[str, Any]:
    return asyncio.run(asyncio.wait_for(work, 120))


def test_it_is_found_by_our_own_search_and_by_a_foreign_one(served: Served) -> None:
    address = f"http://127.0.0.1:{served.port}/onvif/device_service"
    wait_for(lambda: address in [one.address for one in probed(0.5, ["127.0.0.1"])], 60)

    messages = pytest.importorskip("wsdiscovery.message")
    from wsdiscovery.actions import NS_ACTION_PROBE
    from wsdiscovery.envelope import SoapEnvelope
    from wsdiscovery.namespaces import NS_ADDRESS_ALL
    from wsdiscovery.qname import QName
    from wsdiscovery.scope import Scope

    def found(types: list[Any], scopes: list[Any]) -> list[str]:
        probe = SoapEnvelope()
        probe.setAction(NS_ACTION_PROBE)
        probe.setTo(NS_ADDRESS_ALL)
        probe.setMessageId(f"urn:uuid:{np.random.default_rng().bytes(8).hex()}")
        probe.setTypes(types)
        probe.setScopes(scopes)
        for data in asked(served, messages.createSOAPMessage(probe).encode()):
            told = messages.parseSOAPMessage(data, "127.0.0.1")
            assert told.getRelatesTo() == probe.getMessageId()
            return [text for match in told.getProbeResolveMatches() for text in match.getXAddrs()]
        return []

    video = QName("http://www.onvif.org/ver10/network/wsdl", "NetworkVideoTransmitter")
    printer = QName("http://www.onvif.org/ver10/network/wsdl", "Printer")
    assert found([video], []) == [address]
    assert found([], [Scope("onvif://www.onvif.org/Profile")]) == [address]
    assert found([video, printer], []) == []
    assert found([video], [Scope("onvif://www.onvif.org/Prof")]) == []


def asked(served: Served, probe: bytes) -> Iterator[bytes]:
    """What that device answers; nothing where a plain probe that is sent after it is answered first."""
    last = f"urn:test:{served.port}-{np.random.default_rng().bytes(8).hex()}".encode()
    own = f":{served.port}/onvif".encode()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
        client.settimeout(30)
        for message in (probe, PROBE.replace(b"MESSAGE", last)):
            client.sendto(message, (GROUP, PORT))
        while True:
            data = client.recv(65536)
            if own in data and last in data:
                return
            if own in data:
                yield data


PROBE = f"""<s:Envelope xmlns:s="{SOAP}" xmlns:a="http://schemas.xmlsoap.org/ws/2004/08/addressing"
 xmlns:d="http://schemas.xmlsoap.org/ws/2005/04/discovery"><s:Header><a:MessageID>MESSAGE</a:MessageID></s:Header>
<s:Body><d:Probe/></s:Body></s:Envelope>""".encode()


@pytest.mark.parametrize(
    "hostile",
    [
        b"",
        b"\xff\x00garbage",
        PROBE[:120],
        PROBE.replace(b"<d:Probe/>", b"<d:Bye/>"),
        b"<!DOCTYPE x [<!ENTITY a 'b'>]>" + PROBE,
        ("<!DOCTYPE x [<!ENTITY a 'b'>]>" + PROBE.decode()).encode("utf-16"),
        PROBE.replace(b"<d:Probe/>", b"<d:Probe>" + b"<x>" * 300 + b"</x>" * 300 + b"</d:Probe>"),
        b"<x/>" * 3000,
    ],
)
def test_what_makes_no_sense_is_neither_answered_nor_does_it_harm(served: Served, hostile: bytes) -> None:
    assert list(asked(served, hostile)) == []
    status, said = served.send(hostile)
    assert status in (400, 413, 500)
    assert "Fault" in said or status == 413
    assert served.post("<tds:GetSystemDateAndTime/>")[0] == 200


def test_only_the_stream_s_user_is_told_anything(served: Served) -> None:
    for name in ("tds:GetDeviceInformation", "tds:GetScopes", "trt:GetProfiles", "trt:GetVideoSources"):
        status, said = served.post(f"<{name}/>")
        assert (status, "ter:NotAuthorized" in said) == (400, True), name
        assert "yard" not in said
    used = token()
    assert served.post("<trt:GetProfiles/>", used)[0] == 200
    now = datetime.now(timezone.utc)
    wrong = [
        used,  # a second time
        token("another"),
        token(user="somebody"),
        token(at=now - timedelta(minutes=10)),
        token(at=now + timedelta(minutes=10)),
        token(kind="Text"),
    ]
    for header in wrong:
        status, said = served.post("<trt:GetProfiles/>", header)
        assert (status, "ter:NotAuthorized" in said) == (400, True), header
    assert served.post("<trt:GetProfiles/>", token())[0] == 200
    assert picture_of(served, "") == 401
    assert picture_of(served, f"{USER}:another") == 401
    assert picture_of(served, f"{USER}:{PASSWORD}") == 200
    assert picture_of(served, f"{USER}:{PASSWORD}", "nothing") == 404


def picture_of(served: Served, who: str, name: str = "yard") -> int:
    client = http.client.HTTPConnection("127.0.0.1", served.port, timeout=30)
    try:
        headers = {"Authorization": f"Basic {base64.b64encode(who.encode()).decode()}"} if who else {}
        client.request("GET", f"/onvif/snapshot/{name}.jpg", headers=headers)
        return client.getresponse().status
    finally:
        client.close()


def test_other_names_and_other_sites_are_refused(served: Served) -> None:
    assert served.post("<tds:GetServices/>", Host="evil.example")[0] == 421
    assert served.post("<tds:GetServices/>", Origin="http://evil.example")[0] == 403
    status, said = served.post("<tds:GetServices/>", Host=f"localhost:{served.port}")
    assert (status, f"http://localhost:{served.port}/onvif/media_service" in said) == (200, True)


def test_what_is_not_there_is_said_in_onvif_s_words(served: Served) -> None:
    assert "ter:ActionNotSupported" in served.post("<tds:SystemReboot/>", token())[1]
    unknown = "<trt:GetStreamUri><trt:ProfileToken>x</trt:ProfileToken></trt:GetStreamUri>"
    assert "ter:NoProfile" in served.post(unknown, token())[1]
    cast = unknown.replace(
        "<trt:ProfileToken>x", "<x>RTP-Multicast</x><Stream>RTP-Multicast</Stream><trt:ProfileToken>yard"
    )
    assert "ter:InvalidStreamSetup" in served.post(cast, token())[1]


def test_two_streams_are_two_profiles_of_one_device_which_says_hello_and_bye() -> None:
    """Without a password: for this machine alone, and open to it."""
    with listening_to_the_group() as heard:
        hello_and_bye(heard)


def hello_and_bye(heard: socket.socket) -> None:
    first = opened("rtsp://:0/north")
    info = VideoInfo(SIZE, Fraction(20), live=True)
    first.open(info, SIZE)
    second = open_sink("rtsp://:0/south", SinkOptions(onvif=OnvifOptions(first.port)))
    try:
        second.open(info, SIZE)
        here = Served(first, "")
        said = ElementTree.fromstring(here.post("<trt:GetProfiles/>")[1])
        assert [one.get("token") for one in said.iter(f"{{{MEDIA}}}Profiles")] == ["north", "south"]
        assert not answers("127.0.0.2", first.port)
        second.close()
        said = ElementTree.fromstring(here.post("<trt:GetProfiles/>")[1])
        assert [one.get("token") for one in said.iter(f"{{{MEDIA}}}Profiles")] == ["north"]
        hello = until(heard, b"<d:Hello>", str(first.port).encode())
    finally:
        second.close()
        first.close()
    number = re.search(rb"urn:uuid:[^<]+</a:Address>", hello)
    assert number is not None
    until(heard, b"<d:Bye>", number[0])
    assert not answers("127.0.0.1", first.port)


def listening_to_the_group() -> socket.socket:
    """A recorder on this machine that waits for what is said to everybody."""
    heard = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    heard.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    heard.bind((GROUP, PORT))
    member = struct.pack("4s4s", socket.inet_aton(GROUP), socket.inet_aton("127.0.0.1"))
    heard.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
    heard.settimeout(30)
    return heard


def until(heard: socket.socket, *parts: bytes) -> bytes:
    while True:
        data = heard.recv(65536)
        if all(part in data for part in parts):
            return data


def test_other_machines_get_in_with_a_password_alone_and_h265_is_refused() -> None:
    open_to_all = opened("rtsp://127.0.0.2:0/x")
    open_to_all.close()  # closing what was never opened harms nobody
    from irchroma.stream.sinks.onvif import device

    with pytest.raises(SinkError, match=r"give it rtsp://user:password@192\.0\.2\.1:0/x"):
        device.tell("192.0.2.1", 0, (), lambda _: profile_of("x"), open_to_all._picture)
    with pytest.raises(SinkError, match=r"Profile S has H\.264 alone"):
        opened("rtsp://:0/x", encoder=EncoderOptions(codec="h265"))


def profile_of(name: str) -> Any:
    from irchroma.stream.sinks.onvif.operations import Profile

    return Profile(name, name, 0, SIZE, Fraction(20), 0, 2.0, None)
