"""`irchroma find`: the cameras on the network, by ONVIF and mDNS, and those at this machine, by V4L2.

Reference: Web Services Dynamic Discovery (WS-Discovery), April 2005, 4 and 5; ONVIF Core Specification, 7;
RFC 6763 (DNS-based service discovery).
"""

from __future__ import annotations

import argparse
import ipaddress
import json
import re
import socket
import time
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from irchroma.launch.config import ConfigError
from irchroma.launch.measured import SHOWN, show_json
from irchroma.stream.errors import StreamError
from irchroma.stream.sinks import listening
from irchroma.stream.sinks.onvif.soap import parsed
from irchroma.stream.sources.v4l2_source import cameras

EXAMPLE = """irchroma find
  irchroma find --seconds 5 --json cameras.json
  irchroma find --at 192.168.1.20          (a camera that multicast does not reach)"""

_GROUP, _PORT = "239.255.255.250", 3702  # WS-Discovery, 2.4
_LONGEST_ANSWER = 65536
_MOST_ANSWERS = 256
_SERVICES = ("_rtsp._tcp.local.", "_axis-video._tcp.local.", "_onvif._tcp.local.")
_NAMES = {
    "soap": "http://www.w3.org/2003/05/soap-envelope",
    "a": "http://schemas.xmlsoap.org/ws/2004/08/addressing",
    "d": "http://schemas.xmlsoap.org/ws/2005/04/discovery",
}
_PROBE = """<?xml version="1.0" encoding="UTF-8"?>
<soap:Envelope xmlns:soap="{soap}" xmlns:a="{a}" xmlns:d="{d}"
 xmlns:dn="http://www.onvif.org/ver10/network/wsdl"><soap:Header>
<a:Action>http://schemas.xmlsoap.org/ws/2005/04/discovery/Probe</a:Action>
<a:MessageID>urn:uuid:{number}</a:MessageID>
<a:To>urn:schemas-xmlsoap-org:ws:2005:04:discovery</a:To></soap:Header>
<soap:Body><d:Probe><d:Types>dn:NetworkVideoTransmitter</d:Types></d:Probe></soap:Body></soap:Envelope>"""


@dataclass(frozen=True, slots=True)
class Found:
    """A camera.

    Attributes:
        how: `onvif`, `mdns` or `v4l2`.
        address: of its ONVIF service, of its stream, or its device.
        name: what it calls itself.
        detail: what else it says.
    """

    how: str
    address: str
    name: str = ""
    detail: str = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--seconds", type=float, default=3.0, help="how long answers are waited for (3)")
    add(
        "--at",
        action="append",
        default=[],
        metavar="ADDRESS",
        help="ask this address too, which may be behind a router; several times",
    )
    add("--json", type=Path, metavar="FILE", help="write what was found; - prints it")


def run(args: argparse.Namespace) -> int:
    """Look, and print a line for each."""
    if not 0.1 <= args.seconds <= 60:
        raise ConfigError(f"--seconds: expected 0.1 to 60, got {args.seconds:g}")
    found = [*local(), *probed(args.seconds, [_address(text) for text in args.at])]
    named, why_not = advertised(args.seconds)
    found += named
    if args.json is not None:
        show_json(args.json, json.dumps([asdict(one) for one in found], indent=1) + "\n")
        if args.json == SHOWN:
            return 0
    for one in found:
        print("  ".join(part for part in (f"{one.how:5}", one.address, one.name, one.detail) if part))
    if not found:
        print(
            "no camera was found: those of other networks are not asked (--at ADDRESS), and some cameras have"
            " ONVIF switched off"
        )
    elif any(one.how == "onvif" for one in found):
        print("an onvif address is the camera's service; its streams are rtsp:// addresses there")
    if why_not:
        print(why_not)
    return 0


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(socket.gethostbyname(text)))
    except (OSError, ValueError) as error:
        raise ConfigError(f"--at {text}: expected an address or a name of this network") from error


def local() -> list[Found]:
    """The cameras at this machine; none where GStreamer is not there."""
    try:
        return [Found("v4l2", one.path or "?", one.name) for one in cameras()]
    except StreamError:
        return []


def probed(wait_s: float, others: list[str] | None = None, port: int = _PORT) -> list[Found]:
    """Those that answer a WS-Discovery probe.

    Args:
        wait_s: how long they have.
        others: addresses that are asked too, beside all that multicast reaches.
        port: where they listen.
    """
    asking = _sockets()
    probe = _PROBE.format(number=uuid.uuid4(), **_NAMES).encode()
    found: dict[str, Found] = {}
    deadline_s, again_s = time.monotonic() + wait_s, 0.0
    try:
        while (left_s := deadline_s - time.monotonic()) > 0:
            if time.monotonic() >= again_s:  # UDP may lose it
                again_s = time.monotonic() + max(0.5, wait_s / 2)
                for one in asking:
                    for to in (_GROUP, *(others or ())):
                        _send(one, probe, (to, port))
            for one in asking:
                one.settimeout(min(0.1, left_s) / len(asking))
                try:
                    data, sender = one.recvfrom(_LONGEST_ANSWER)
                except OSError:
                    continue
                for camera in answered(data, sender[0]):
                    if len(found) < _MOST_ANSWERS:
                        found.setdefault(camera.address, camera)
    finally:
        for one in asking:
            one.close()
    return sorted(found.values(), key=lambda one: one.address)


def _sockets() -> list[socket.socket]:
    """One for each of this machine's addresses: multicast leaves by the one that it is bound to."""
    made = []
    for address in listening.own_addresses():
        one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            one.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(address))
            one.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 1)
            one.bind((address, 0))
            made.append(one)
        except OSError:
            one.close()
    return made


def _send(one: socket.socket, data: bytes, to: tuple[str, int]) -> None:
    try:
        one.sendto(data, to)
    except OSError:
        pass  # this one's network does not lead there


def answered(data: bytes, sender: str) -> list[Found]:
    """The cameras of a probe's answer; none where it is something else."""
    try:
        root = parsed(data)
    except ValueError:
        return []
    found = []
    for match in root.iterfind(".//d:ProbeMatch", _NAMES):
        addresses = (match.findtext("d:XAddrs", "", _NAMES) or "").split()
        scopes = (match.findtext("d:Scopes", "", _NAMES) or "").split()
        told = {
            kind: _shown(unquote(value))
            for kind, value in re.findall(r"onvif://www\.onvif\.org/(\w+)/(\S+)", " ".join(scopes))
        }
        types = match.findtext("d:Types", "", _NAMES) or ""
        if "NetworkVideoTransmitter" not in types and not told:
            continue  # a printer, say
        usable = [text for text in addresses if urlsplit(text).scheme in ("http", "https")]
        # Of several addresses that by which it answered; the others may be of networks that are not ours.
        usable.sort(key=lambda text: urlsplit(text).hostname != sender)
        address = _shown(usable[0]) if usable else sender
        found.append(Found("onvif", address, told.get("name", ""), told.get("hardware", "")))
    return found


def _shown(text: str) -> str:
    """What a stranger sent, without what a terminal would obey."""
    return "".join(letter for letter in text if letter.isprintable())[:200]


def advertised(wait_s: float, interfaces: list[str] | None = None) -> tuple[list[Found], str]:
    """The streams that are told of by mDNS, and why nothing was listened to; empty where it was."""
    try:
        from zeroconf import ServiceBrowser, ServiceListener, Zeroconf
    except ImportError:
        return [], "mDNS was not listened to: pip install 'irchroma[find]'"
    names: dict[str, str] = {}

    class Listener(ServiceListener):  # type: ignore[misc]
        def add_service(self, zc: Zeroconf, type_: str, name: str) -> None:
            names[name] = type_

        def update_service(self, zc: Zeroconf, type_: str, name: str) -> None:
            names[name] = type_

        def remove_service(self, zc: Zeroconf, type_: str, name: str) -> None:
            names.pop(name, None)

    try:
        listening = Zeroconf(interfaces) if interfaces else Zeroconf()
    except OSError as error:
        return [], f"mDNS was not listened to: {error.strerror}"
    try:
        browser = ServiceBrowser(listening, list(_SERVICES), Listener())
        time.sleep(wait_s)
        found = []
        for name, kind in sorted(names.items())[:_MOST_ANSWERS]:
            info = listening.get_service_info(kind, name, 1000)
            if info is None or not info.parsed_addresses():
                continue
            host, path = info.parsed_addresses()[0], (info.properties or {}).get(b"path") or b""
            host = f"[{host}]" if ":" in host else host
            address = f"{'rtsp' if kind.startswith('_rtsp') else 'http'}://{host}:{info.port}/"
            told = path.decode("utf-8", "replace").lstrip("/")
            found.append(Found("mdns", _shown(address + told), _shown(name.removesuffix(f".{kind}"))))
        browser.cancel()
        return found, ""
    finally:
        listening.close()
