"""Cameras are found by what other programs answer: WSDiscovery's service, zeroconf's, and hostile ones."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.waiting import free_port

from irchroma.launch.cli import main
from irchroma.launch.commands.find import advertised, answered, probed

# As a camera sends it, after the ONVIF Application Programmer's Guide, 4.3.1.
MATCH = """<?xml version="1.0" encoding="UTF-8"?>
<SOAP-ENV:Envelope xmlns:SOAP-ENV="http://www.w3.org/2003/05/soap-envelope"
 xmlns:wsa="http://schemas.xmlsoap.org/ws/2004/08/addressing"
 xmlns:d="http://schemas.xmlsoap.org/ws/2005/04/discovery"
 xmlns:dn="http://www.onvif.org/ver10/network/wsdl"><SOAP-ENV:Body><d:ProbeMatches><d:ProbeMatch>
<wsa:EndpointReference><wsa:Address>urn:uuid:11223344</wsa:Address></wsa:EndpointReference>
<d:Types>{types}</d:Types>
<d:Scopes>onvif://www.onvif.org/type/video_encoder onvif://www.onvif.org/hardware/IR-640
 onvif://www.onvif.org/name/Yard%20north</d:Scopes>
<d:XAddrs>http://10.9.9.9/onvif/device_service http://127.0.0.1/onvif/device_service</d:XAddrs>
<d:MetadataVersion>1</d:MetadataVersion></d:ProbeMatch></d:ProbeMatches></SOAP-ENV:Body></SOAP-ENV:Envelope>"""
CAMERA = MATCH.format(types="dn:NetworkVideoTransmitter").encode()


@contextmanager
def answering(*answers: bytes) -> Iterator[tuple[int, list[bytes]]]:
    """Something on a port that answers whatever it is asked, as a camera does."""
    heard: list[bytes] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as camera:
        camera.bind(("127.0.0.1", 0))
        camera.settimeout(0.1)
        ended = threading.Event()

        def work() -> None:
            while not ended.is_set():
                try:
                    data, sender = camera.recvfrom(65536)
                except TimeoutError:
                    continue
                heard.append(data)
                for answer in answers:
                    camera.sendto(answer, sender)

        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield camera.getsockname()[1], heard
        finally:
            ended.set()
            thread.join()


def test_a_camera_that_answers_is_found_once_by_the_address_that_reaches_it() -> None:
    with answering(CAMERA) as (port, heard):
        found = probed(1.2, ["127.0.0.1"], port)
    assert [(one.how, one.address, one.name, one.detail) for one in found] == [
        ("onvif", "http://127.0.0.1/onvif/device_service", "Yard north", "IR-640")
    ]
    assert len(heard) >= 2  # asked again, as UDP may lose it
    assert b"NetworkVideoTransmitter" in heard[0]


@pytest.mark.parametrize(
    "hostile",
    [
        b"",
        b"\xff\x00garbage",
        CAMERA[:300],
        CAMERA.replace(b"<?xml", b"<!DOCTYPE x [<!ENTITY a 'b'>]><?xml"),
        b"<a>" * 5000,
        MATCH.format(types="dn:Printer").replace("onvif://", "ldap://").encode(),
    ],
)
def test_what_is_no_camera_is_left_out(hostile: bytes) -> None:
    with answering(hostile, CAMERA) as (port, _):
        assert len(probed(0.4, ["127.0.0.1"], port)) == 1
    assert answered(hostile, "127.0.0.1") == []


def test_a_name_cannot_speak_to_the_terminal() -> None:
    told = answered(CAMERA.replace(b"Yard%20north", b"%1B%5B2Jx" + b"y" * 900), "127.0.0.1")
    assert told[0].name.startswith("[2Jx")
    assert len(told[0].name) <= 200


def test_a_stream_of_mdns_is_found() -> None:
    zeroconf = pytest.importorskip("zeroconf")
    kind = "_rtsp._tcp.local."
    info = zeroconf.ServiceInfo(
        kind,
        f"irchroma test gate.{kind}",
        addresses=[socket.inet_aton("127.0.0.1")],
        port=free_port(),
        properties={"path": "/gate"},
        server="irchroma-test.local.",
    )
    there = zeroconf.Zeroconf(interfaces=["127.0.0.1"])
    try:
        there.register_service(info)
        found, why_not = advertised(2.0, ["127.0.0.1"])
        assert why_not == ""
        assert (f"rtsp://127.0.0.1:{info.port}/gate", "irchroma test gate") in [
            (one.address, one.name) for one in found
        ]
    finally:
        there.unregister_service(info)
        there.close()


def test_the_command_writes_what_it_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "found.json"
    assert main(["find", "--seconds", "0.3", "--json", str(file)]) == 0
    assert isinstance(json.loads(file.read_text(encoding="utf-8")), list)
    assert capsys.readouterr().out
    assert main(["find", "--seconds", "0"]) != 0
    assert "expected 0.1 to 60" in capsys.readouterr().err
    assert main(["find", "--at", "no.such.machine.invalid", "--seconds", "0.2"]) != 0
