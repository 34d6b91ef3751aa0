"""WS-Discovery's device side: says Hello and Bye, and answers probes of the own network.

Reference: Web Services Dynamic Discovery (WS-Discovery), April 2005, 4 to 6; ONVIF Core Specification, 7.
"""

from __future__ import annotations

import ipaddress
import logging
import selectors
import socket
import threading
import time
import uuid
from collections.abc import Sequence
from xml.etree.ElementTree import Element
from xml.sax.saxutils import escape

from irchroma.stream.errors import SinkError
from irchroma.stream.sinks import listening
from irchroma.stream.sinks.onvif.operations import DEVICE, DEVICE_PATH
from irchroma.stream.sinks.onvif.soap import body_of, enveloped, parsed

log = logging.getLogger(__name__)

GROUP, PORT = "239.255.255.250", 3702  # WS-Discovery, 2.4
DISCOVERY = "http://schemas.xmlsoap.org/ws/2005/04/discovery"
ADDRESSING = "http://schemas.xmlsoap.org/ws/2004/08/addressing"

_NAMES = (
    f' xmlns:a="{ADDRESSING}" xmlns:d="{DISCOVERY}"'
    f' xmlns:dn="http://www.onvif.org/ver10/network/wsdl" xmlns:tds="{DEVICE}"'
)
_TYPES = ("NetworkVideoTransmitter", "Device")
_EVERYBODY = "urn:schemas-xmlsoap-org:ws:2005:04:discovery"
_ANONYMOUS = f"{ADDRESSING}/role/anonymous"
_LONGEST = 16 * 1024
_MOST_ANSWERS_A_SECOND = 20  # an answer is longer than what asks for it, and its address may be forged
_LOOK_S = 15.0  # how often new addresses of this machine are looked for
_IP_MULTICAST_ALL = 49  # Linux: without it a socket hears what others have joined, too


class Announcer:
    """Tells recorders of one device. A thread of its own.

    Args:
        host: what the device listens on; empty for `listening.hosts`' choice.
        everybody: whether other machines reach it.
        port: of its services.
        number: its UUID.
        scopes: what it says of itself.

    Raises:
        SinkError: WS-Discovery's port cannot be listened on.
    """

    def __init__(self, host: str, everybody: bool, port: int, number: str, scopes: Sequence[str]) -> None:
        self._everybody, self._port, self._number, self._scopes = everybody, port, number, scopes
        self._host = "" if listening.is_everywhere(host) else host
        if not everybody:
            self._host = "127.0.0.1"
        self._begun_s, self._told = int(time.time()), 0
        self._joined: set[str] = set()
        self._second, self._answers = 0, 0
        self._group = self._own = None
        try:
            self._group = _listening(GROUP)
            self._own = _listening(self._host)
        except OSError as error:
            self._close()
            raise SinkError(
                f"onvif: cannot listen on {self._host or '*'}:{PORT} (UDP), which recorders ask:"
                f" {(error.strerror or str(error)).lower()}"
            ) from error
        self._stopping, self._wake = socket.socketpair()
        self._thread = threading.Thread(target=self._work, name="onvif discovery", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Say Bye, and be found no more."""
        self._wake.close()
        self._thread.join()
        for address in self._joined:
            self._say(address, "Bye", self._reference())
        self._stopping.close()
        self._close()

    def _close(self) -> None:
        for one in (self._group, self._own):
            if one is not None:
                one.close()

    def _work(self) -> None:
        looked_s = float("-inf")
        waiting = selectors.DefaultSelector()
        for one in (self._stopping, self._group, self._own):
            if one is not None:
                waiting.register(one, selectors.EVENT_READ)
        while True:
            if time.monotonic() - looked_s >= _LOOK_S:
                looked_s = time.monotonic()
                self._join()
            ready = [key.fileobj for key, _ in waiting.select(_LOOK_S)]
            if self._stopping in ready:
                waiting.close()
                return
            for heard in ready:
                if isinstance(heard, socket.socket):
                    self._take(heard)

    def _take(self, one: socket.socket) -> None:
        try:
            data, sender = one.recvfrom(_LONGEST)
            self._heard(data, sender)
        except OSError as error:
            log.debug("onvif: discovery: %s", error)

    def _join(self) -> None:
        """Hear what is asked on every network of this machine, and greet those that are new."""
        if self._group is None:
            return
        addresses = [self._host] if self._host else listening.own_addresses()
        for address in addresses:
            if address in self._joined:
                continue
            member = socket.inet_aton(GROUP) + socket.inet_aton(address)
            try:
                self._group.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
            except OSError as error:  # a network without multicast
                log.debug("onvif: %s has no multicast: %s", address, error)
            self._joined.add(address)
            self._say(address, "Hello", self._described(address))

    def _say(self, address: str, what: str, body: str) -> None:
        """To everybody on the network of an address."""
        text = self._message(what, f"<d:{what}>{body}</d:{what}>", _EVERYBODY)
        try:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
                one.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(address))
                one.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 1)
                one.sendto(text.encode(), (GROUP, PORT))
        except OSError as error:
            log.debug("onvif: %s on %s: %s", what, address, error)

    def _heard(self, data: bytes, sender: tuple[str, int]) -> None:
        if not may_ask(sender[0], self._everybody):
            return
        try:
            envelope = parsed(data)
            asked = body_of(envelope)
        except ValueError:
            return
        message = (envelope.findtext(f".//{{{ADDRESSING}}}MessageID") or "").strip()
        if not message or len(message) > 200 or self._own is None:
            return
        if asked.tag == f"{{{DISCOVERY}}}Probe":
            what = "ProbeMatch" if self._meant(asked) else ""
        else:
            wanted = (asked.findtext(f".//{{{ADDRESSING}}}Address") or "").strip()
            known = asked.tag == f"{{{DISCOVERY}}}Resolve" and wanted == f"urn:uuid:{self._number}"
            what = "ResolveMatch" if known else ""
        if what and self._has_time():
            here = self._described(_way_to(sender) if not self._host else self._host)
            body = f"<d:{what}es><d:{what}>{here}</d:{what}></d:{what}es>"
            self._own.sendto(self._message(f"{what}es", body, _ANONYMOUS, message).encode(), sender)

    def _has_time(self) -> bool:
        second = int(time.monotonic())
        self._answers = self._answers + 1 if second == self._second else 1
        self._second = second
        return self._answers <= _MOST_ANSWERS_A_SECOND

    def _meant(self, probe: Element) -> bool:
        """Whether a probe is for such a device: all of its types and scopes are."""
        types = (probe.findtext(f"{{{DISCOVERY}}}Types") or "").split()
        if any(one.rpartition(":")[2] not in _TYPES for one in types):
            return False
        scopes = probe.find(f"{{{DISCOVERY}}}Scopes")
        wanted = (scopes.text or "").split() if scopes is not None else []
        rule = (scopes.get("MatchBy") or "").rpartition("/")[2] if scopes is not None else ""
        if rule not in ("", "rfc3986", "strcmp0"):
            return False
        return all(any(_within(own, one, rule == "strcmp0") for own in self._scopes) for one in wanted)

    def _reference(self) -> str:
        return f"<a:EndpointReference><a:Address>urn:uuid:{self._number}</a:Address></a:EndpointReference>"

    def _described(self, address: str) -> str:
        return (
            f"{self._reference()}<d:Types>dn:NetworkVideoTransmitter tds:Device</d:Types>"
            f"<d:Scopes>{escape(' '.join(self._scopes))}</d:Scopes>"
            f"<d:XAddrs>http://{address}:{self._port}{DEVICE_PATH}</d:XAddrs>"
            "<d:MetadataVersion>1</d:MetadataVersion>"
        )

    def _message(self, what: str, body: str, to: str, answers: str = "") -> str:
        self._told += 1
        related = f"<a:RelatesTo>{escape(answers)}</a:RelatesTo>" if answers else ""
        header = (
            f"<a:Action>{DISCOVERY}/{what}</a:Action><a:MessageID>urn:uuid:{uuid.uuid4()}</a:MessageID>"
            f'{related}<a:To>{to}</a:To><d:AppSequence InstanceId="{self._begun_s}"'
            f' MessageNumber="{self._told}"/>'
        )
        return enveloped(body, header, _NAMES)


def may_ask(sender: str, everybody: bool) -> bool:
    """Whether a probe is answered: an answer to other networks would be a weapon of who forges a sender.

    Args:
        sender: its address.
        everybody: whether other machines reach the device at all.
    """
    one = ipaddress.ip_address(sender)
    return not one.is_global if everybody else one.is_loopback


def _listening(address: str) -> socket.socket:
    one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # others on this machine may hear it, too
        one.setsockopt(socket.IPPROTO_IP, _IP_MULTICAST_ALL, 0)
        one.bind((address, PORT))
    except OSError:
        one.close()
        raise
    return one


def _way_to(sender: tuple[str, int]) -> str:
    """This machine's address as the sender reaches it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as way:
        way.connect(sender)
        return str(way.getsockname()[0])


def _within(own: str, wanted: str, exact: bool) -> bool:
    """Whether a scope of the device lies in one that is asked for (WS-Discovery, 5.1)."""
    own, wanted = own.rstrip("/"), wanted.rstrip("/")
    if exact:
        return own == wanted
    return own.lower() == wanted.lower() or own.lower().startswith(f"{wanted.lower()}/")
