"""What `--onvif` needs, who may ask, and how a message is read."""

from __future__ import annotations

import re
import socket
import time
from fractions import Fraction
from xml.etree import ElementTree

import pytest

from irchroma.launch.config import ConfigError
from irchroma.launch.run.settings.options import load, require
from irchroma.stream.sinks.onvif.digest import Digests
from irchroma.stream.sinks.onvif.discovery import may_ask
from irchroma.stream.sinks.onvif.operations import DEVICE, MEDIA, NAMES, SCHEMA, Asked, Profile, answer
from irchroma.stream.sinks.onvif.soap import Credentials, Fault, parsed

STREAMS = [("yard", 8554), ("gate", 554), ("roof", 8554)]


def test_the_command_asks_for_it_and_needs_a_stream() -> None:
    assert not load(None, {"source": "test:nir", "to": ["null"]}).output.onvif
    with pytest.raises(ConfigError, match="add --to rtsp"):
        require(load(None, {"source": "test:nir", "to": ["null"], "output.onvif": True}))
    with pytest.raises(ConfigError, match="onvif_port"):
        load(None, {"output.onvif_port": 70000})


def test_the_network_is_told_as_far_as_it_is_this_devices_own() -> None:
    """Home Assistant takes the hardware address for the device's identity, and asks for it first."""
    profiles = [Profile(name, name, port, (96, 128), Fraction(20), 0, 2.0, None) for name, port in STREAMS]

    def said(name: str, serial: str = "one") -> ElementTree.Element:
        body = ElementTree.Element(f"{{{DEVICE}}}{name}")
        text = answer(Asked(body, "192.0.2.1", 8899, profiles, serial, "1", ()))
        return ElementTree.fromstring(f"<all{NAMES}>{text}</all>")

    def texts(root: ElementTree.Element, name: str) -> list[str]:
        return [one.text or "" for one in root.iter(f"{{{SCHEMA}}}{name}")]

    assert texts(said("GetNetworkProtocols"), "Port") == ["8899", "554", "8554"]
    (address,) = texts(said("GetNetworkInterfaces"), "HwAddress")
    assert re.fullmatch("02(:[0-9a-f]{2}){5}", address)
    assert texts(said("GetNetworkInterfaces", "another"), "HwAddress") != [address]
    assert texts(said("GetHostname"), "Name") == [socket.gethostname()]
    for name in ("GetDNS", "GetNTP", "GetNetworkDefaultGateway"):
        assert said(name)[0].tag == f"{{{DEVICE}}}{name}Response"
    with pytest.raises(Fault, match="not implemented"):  # by these words clients go on without it
        said("GetRelayOutputs")


def test_a_message_is_read_with_its_namespaces() -> None:
    root = parsed(b'<a xmlns="urn:x" xmlns:y="urn:y" y:z="1"><b>t&amp;u</b></a>')
    assert root.tag == "{urn:x}a"
    assert root.get("{urn:y}z") == "1"
    assert root.findtext("{urn:x}b") == "t&u"


def test_who_names_no_encoder_is_told_of_the_first() -> None:
    profile = Profile("yard", "yard", 8554, (96, 128), Fraction(20), 0, 2.0, None)
    body = ElementTree.Element(f"{{{MEDIA}}}GetVideoEncoderConfigurationOptions")
    text = answer(Asked(body, "192.0.2.1", 8899, [profile], "one", "1", ()))
    assert "<tt:Width>128</tt:Width>" in text


@pytest.mark.parametrize(
    ("sender", "everybody", "may"),
    [
        ("127.0.0.1", False, True),
        ("192.168.1.7", False, False),
        ("192.168.1.7", True, True),
        ("169.254.3.4", True, True),
        ("8.8.8.8", True, False),
    ],
)
def test_probes_of_other_networks_are_not_answered(sender: str, everybody: bool, may: bool) -> None:
    assert may_ask(sender, everybody) is may


@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256"])
def test_a_digest_is_for_its_request_its_user_and_a_while(
    algorithm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answers are those of `requests`, as another program makes them."""
    requests = pytest.importorskip("requests")
    digests, known = Digests(), [Credentials("x", "other"), Credentials("viewer", "pass")]
    challenge = next(text for text in digests.challenges() if algorithm in text)

    def answer(user: str, password: str, path: str = "/onvif/snapshot/a.jpg") -> str:
        auth = requests.auth.HTTPDigestAuth(user, password)
        auth.init_per_thread_state()
        auth._thread_local.chal = requests.utils.parse_dict_header(challenge.removeprefix("Digest "))
        return str(auth.build_digest_header("GET", f"http://127.0.0.1{path}"))

    def sender(header: str, method: str = "GET") -> Credentials | None:
        return digests.sender(header, method, "/onvif/snapshot/a.jpg", known)

    right = answer("viewer", "pass")
    assert sender(right) == known[1]
    assert sender(answer("viewer", "other")) is None
    assert sender(answer("x", "pass")) is None
    assert sender(answer("viewer", "pass", "/onvif/snapshot/b.jpg")) is None
    assert sender(right, "HEAD") is None
    assert sender(right.replace('nonce="', 'nonce="1')) is None
    assert Digests().sender(right, "GET", "/onvif/snapshot/a.jpg", known) is None
    for broken in ("", "Digest", "Digest nonce=-", "Digest " + "a=" * 3000, "Basic eA=="):
        assert sender(broken) is None
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 400)
    assert sender(right) is None
