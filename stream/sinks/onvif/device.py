"""ONVIF devices of this process, one for each address and port, shared by the streams that they tell of."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import logging
import socket
import threading
import uuid
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from urllib.parse import quote
from xml.etree.ElementTree import Element

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from irchroma.stream.errors import SinkError
from irchroma.stream.sinks import listening
from irchroma.stream.sinks.http.access import Access, WrongTries, host_name, needs_access
from irchroma.stream.sinks.http.live_picture import LivePicture
from irchroma.stream.sinks.http.server import Server, listen
from irchroma.stream.sinks.http.watching import FRESH, body_of, problem, snapshot
from irchroma.stream.sinks.onvif import soap
from irchroma.stream.sinks.onvif.digest import REALM, Digests
from irchroma.stream.sinks.onvif.discovery import Announcer
from irchroma.stream.sinks.onvif.operations import (
    DEVICE_PATH,
    FOR_STRANGERS,
    MEDIA_PATH,
    NAMES,
    SNAPSHOT_PATH,
    Asked,
    Profile,
    answer,
)
from irchroma.stream.sinks.onvif.soap import Credentials, Fault

log = logging.getLogger(__name__)

Told = tuple[Profile, LivePicture]


class Services:
    """What a device's port answers: an ASGI application.

    Args:
        host: as given.
        number: the device's UUID.
        names: further names by which it may be called, see `Access`.
    """

    def __init__(self, host: str, number: str, names: tuple[str, ...]) -> None:
        self.told: dict[str, Told] = {}
        self.port = 0
        self.scopes = (
            "onvif://www.onvif.org/type/video_encoder",
            "onvif://www.onvif.org/type/NetworkVideoTransmitter",
            "onvif://www.onvif.org/Profile/Streaming",
            "onvif://www.onvif.org/hardware/irchroma",
            f"onvif://www.onvif.org/name/{quote(socket.gethostname(), safe='')}",
            "onvif://www.onvif.org/location/unknown",
        )
        self._host, self._number = host, number
        self._called = Access(names=names)
        self._tokens, self._tries, self._digests = soap.Tokens(), WrongTries(), Digests()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        try:
            made = await self._answer(Request(scope, receive))
            await made(scope, receive, send)
        except ClientDisconnect:
            pass

    async def _answer(self, request: Request) -> Response:
        if not self._called.may_be_called(request.headers.get("host", ""), self._host):
            return problem(421, "this device is not called by that name: use the machine's address")
        if "origin" in request.headers or request.headers.get("sec-fetch-site", "none") != "none":
            return problem(403, "this is for recorders, not for web pages")
        path = request.url.path
        if path.startswith(SNAPSHOT_PATH) and request.method in ("GET", "HEAD"):
            return await self._snapshot(request, path)
        if path not in (DEVICE_PATH, MEDIA_PATH):
            return problem(404, "there is no such service")
        if request.method != "POST":
            return problem(405, "expected POST", {"Allow": "POST"})
        data = await body_of(request)
        if data is None:
            return problem(413, "this message is too long")
        try:
            text, status = await asyncio.to_thread(self._operate, request, data), 200
        except Fault as fault:
            text, status = fault.message(), 500 if fault.code == "Receiver" else 400  # SOAP 1.2 part 2, 7.5.2
        return Response(text, status, dict(FRESH), soap.CONTENT_TYPE)

    def _operate(self, request: Request, data: bytes) -> str:
        try:
            envelope = soap.parsed(data)
        except ValueError as error:
            raise Fault(str(error), "ter:WellFormed") from error
        body = soap.body_of(envelope)
        namespace, _, name = body.tag.removeprefix("{").partition("}")
        told = [profile for profile, _ in list(self.told.values())]
        if (namespace, name) not in FOR_STRANGERS:
            told = self._allowed(request, envelope, told)
        port = request.url.port or self.port
        host = listening.shown(host_name(request.headers.get("host", "")) or "") or "127.0.0.1"
        asked = Asked(body, host, port, told, self._number, version("irchroma"), self.scopes)
        return soap.enveloped(answer(asked), names=NAMES)

    def _allowed(self, request: Request, envelope: Element, profiles: list[Profile]) -> list[Profile]:
        """Those that the message's sender may watch. Fault: none."""
        known = {one.credentials for one in profiles if one.credentials is not None}
        if not known:
            return profiles
        address = request.client.host if request.client else ""
        given = self._tokens.given(envelope)
        who = None
        if given and not self._tries.too_many(address):
            who = self._tokens.sender(envelope, known)
            if who is None:
                self._tries.note(address)
        if who is None:
            raise Fault("a UsernameToken with the stream's user and password is needed", "ter:NotAuthorized")
        return [one for one in profiles if one.credentials == who]

    async def _snapshot(self, request: Request, path: str) -> Response:
        told = self.told.get(path.removeprefix(SNAPSHOT_PATH).removesuffix(".jpg"))
        credentials = told[0].credentials if told is not None else None
        known = {one.credentials for one, _ in list(self.told.values()) if one.credentials is not None}
        if known:
            address = request.client.host if request.client else ""
            given = request.headers.get("authorization")
            right = None
            if given is not None and not self._tries.too_many(address):
                right = self._digests.sender(given, request.method, path, known) or _basic(given, known)
            if not right or (told is not None and right != credentials):
                if given is not None and not right:
                    self._tries.note(address)
                refusal = problem(401, "the stream's user and password are needed")
                for asked in (*self._digests.challenges(), f'Basic realm="{REALM}", charset="UTF-8"'):
                    refusal.headers.append("WWW-Authenticate", asked)
                return refusal
        if told is None:
            return problem(404, "there is no such stream")
        return await snapshot(told[1])


def _basic(header: str, known: set[Credentials]) -> Credentials | None:
    """Whose user and password a request's header gives."""
    kind, _, value = header.partition(" ")
    try:
        given = base64.b64decode(value.strip(), validate=True) if kind.lower() == "basic" else b""
    except (binascii.Error, ValueError):
        return None
    found = None
    for one in known:
        if hmac.compare_digest(given, f"{one.user}:{one.password}".encode()):
            found = one
    return found


class _Device:
    """One port, and its announcements."""

    def __init__(self, host: str, port: int, protected: bool, names: tuple[str, ...]) -> None:
        number = _number_of(port)
        self.services = Services(host, number, names)
        self.protected = protected
        try:
            sockets = listen("onvif", host, port, protected)
        except SinkError as error:
            raise SinkError(f"{error}; another port: onvif_port in [output] of the configuration") from error
        self.port = self.services.port = int(sockets[0].getsockname()[1])
        self._server = Server(f"onvif :{self.port}", sockets, self.services)
        everybody = protected and not listening.is_loopback(host)
        try:
            self._announcer = Announcer(host, everybody, self.port, number, self.services.scopes)
        except SinkError:
            self._server.stop()
            raise
        where = "the network" if everybody else "this machine alone"
        log.info("onvif: device service on port %d; recorders of %s find it (WS-Discovery)", self.port, where)

    def stop(self) -> None:
        self._announcer.close()
        self._server.stop()


def _number_of(port: int) -> str:
    """The same for a port of a machine whenever it starts."""
    try:
        machine = Path("/etc/machine-id").read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        machine = ""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"irchroma onvif {machine} {socket.gethostname()} {port}"))


_devices: dict[tuple[str, int], _Device] = {}
_lock = threading.Lock()


def tell(
    host: str, port: int, names: tuple[str, ...], profile: Callable[[str], Profile], picture: LivePicture
) -> tuple[int, str]:
    """Have a stream found; the port's device is started with its first one.

    Args:
        host: that the stream is served on; empty for this machine alone, with a password for all addresses.
        port: TCP port of the device's services, 0 for a free one.
        names: by which it may be called beside addresses and the machine's own name.
        profile: makes the stream's profile of its token.
        picture: gives its snapshots.

    Returns:
        The port that was bound, and the token.

    Raises:
        SinkError: a port is taken, passwords do not go together, or other machines would get in without.
    """
    with _lock:
        made = profile("")
        protected = made.credentials is not None
        if needs_access(host, Access(user="x", password="x") if protected else Access()):
            raise SinkError(
                f"onvif: {host} is reached by other machines, and the stream lets anybody in: give it"
                f" rtsp://user:password@{host}:{made.rtsp_port}/{made.name}"
            )
        device = _devices.get((host, port))
        if device is None:
            device = _Device(host, port, protected, names)
        elif device.protected != protected:
            raise SinkError("onvif: streams of one device have passwords either all or none")
        token = quote(made.name, safe="")[:48]
        if token in device.services.told:
            token = f"{token}-{made.rtsp_port}"
        device.services.told[token] = profile(token), picture
        _devices[(host, device.port)] = device
        return device.port, token


def withdraw(host: str, port: int, token: str) -> None:
    """Have it found no more; the device ends with its last stream."""
    with _lock:
        device = _devices.get((host, port))
        if device is None:
            return
        device.services.told.pop(token, None)
        if not device.services.told:
            del _devices[(host, port)]
            device.stop()
