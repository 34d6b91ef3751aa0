"""SOAP messages as ONVIF and WS-Discovery send them: read without trust, answered, and who sent them.

Reference: SOAP 1.2 (W3C, 2007), 5; Web Services Security UsernameToken Profile 1.1 (OASIS, 2006), 3;
ONVIF Core Specification, 5.9 (security) and 5.8.2 (faults).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat
from xml.sax.saxutils import escape

SOAP = "http://www.w3.org/2003/05/soap-envelope"
CONTENT_TYPE = "application/soap+xml; charset=utf-8"

_WSSE = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd"
_WSU = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd"
_DIGEST = "#PasswordDigest"
_DEEPEST, _MOST_ELEMENTS = 32, 1000
_CLOCKS_APART_S = 300.0  # of a message's `Created` and this machine's clock; clients ask for the time first
_KEPT_NONCES = 4096


class Fault(ValueError):
    """A request that is refused.

    Attributes:
        code: SOAP's, `Sender` or `Receiver`.
        subcodes: ONVIF's, from the outside in, `("ter:InvalidArgVal", "ter:NoProfile")`.
    """

    def __init__(self, reason: str, *subcodes: str, code: str = "Sender") -> None:
        super().__init__(reason)
        self.code, self.subcodes = code, subcodes or ("ter:InvalidArgs",)

    def message(self) -> str:
        """The answer's envelope."""
        codes = ""
        for subcode in reversed(self.subcodes):
            codes = f"<s:Subcode><s:Value>{subcode}</s:Value>{codes}</s:Subcode>"
        return enveloped(
            f"<s:Fault><s:Code><s:Value>s:{self.code}</s:Value>{codes}</s:Code>"
            f'<s:Reason><s:Text xml:lang="en">{escape(str(self))}</s:Text></s:Reason></s:Fault>'
        )


def parsed(data: bytes) -> Element:
    """A message's root, its names as `{namespace}name`.

    Document types are refused in whatever encoding they come, and with them entities, which SOAP has not;
    so is what is nested deeper or has more elements than any message of these services.

    Raises:
        ValueError: it is no such XML.
    """
    builder = TreeBuilder()
    reader = expat.ParserCreate(namespace_separator="}")
    depth = elements = 0

    def named(name: str) -> str:
        return f"{{{name}" if "}" in name else name

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth, elements
        depth, elements = depth + 1, elements + 1
        if depth > _DEEPEST or elements > _MOST_ELEMENTS:
            raise ValueError("nested too deeply, or too long")
        builder.start(named(name), {named(key): value for key, value in attributes.items()})

    def end(name: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(named(name))

    def refuse(*_: object) -> None:
        raise ValueError("SOAP has no document type")

    reader.StartElementHandler, reader.EndElementHandler = start, end
    reader.CharacterDataHandler = builder.data
    reader.StartDoctypeDeclHandler = refuse
    try:
        reader.Parse(data, True)
    except (expat.ExpatError, LookupError) as error:  # LookupError: an encoding that nobody knows
        raise ValueError(f"no XML: {error}") from error
    return builder.close()


def body_of(envelope: Element) -> Element:
    """The one element of a message's body. Fault: there is none."""
    body = envelope.find(f"{{{SOAP}}}Body") if envelope.tag == f"{{{SOAP}}}Envelope" else None
    if body is None or len(body) != 1:
        raise Fault("expected a SOAP 1.2 envelope with one element in its body", "ter:WellFormed")
    return body[0]


def enveloped(body: str, header: str = "", names: str = "") -> str:
    """A message. `names`: further namespaces, as attributes."""
    head = f"<s:Header>{header}</s:Header>" if header else ""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<s:Envelope xmlns:s="{SOAP}" xmlns:ter="http://www.onvif.org/ver10/error"{names}>'
        f"{head}<s:Body>{body}</s:Body></s:Envelope>"
    )


@dataclass(frozen=True, slots=True)
class Credentials:
    """Whom a stream lets in."""

    user: str
    password: str = field(repr=False)


class Tokens:
    """Tells who sent a message by its UsernameToken's digest. Any thread.

    A message that comes a second time is refused, and so is one whose time is more than five minutes off.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: OrderedDict[str, float] = OrderedDict()

    def given(self, envelope: Element) -> bool:
        """Whether the message says who sent it."""
        return _token_of(envelope) is not None

    def sender(self, envelope: Element, known: Iterable[Credentials]) -> Credentials | None:
        """Whose message it is; None where that is not proved."""
        token = _token_of(envelope)
        if token is None:
            return None
        password = token.find(f"{{{_WSSE}}}Password")
        if password is None or not (password.get("Type") or "").endswith(_DIGEST):
            return None
        created = (token.findtext(f"{{{_WSU}}}Created") or "").strip()
        nonce64 = (token.findtext(f"{{{_WSSE}}}Nonce") or "").strip()
        user = (token.findtext(f"{{{_WSSE}}}Username") or "").strip()
        given = (password.text or "").strip()
        try:
            nonce = base64.b64decode(nonce64, validate=True)
        except (binascii.Error, ValueError):
            return None
        if not nonce or not _fresh(created):
            return None
        found = None
        for one in known:
            wanted = password_digest(nonce, created, one.password)
            same_user = hmac.compare_digest(user.encode(), one.user.encode())
            if same_user & hmac.compare_digest(given.encode(), wanted.encode()):
                found = one
        return found if found is not None and self._first_time(f"{nonce64} {created}") else None

    def _first_time(self, message: str) -> bool:
        now_s = time.monotonic()
        with self._lock:
            while self._seen and now_s - next(iter(self._seen.values())) > 2 * _CLOCKS_APART_S:
                self._seen.popitem(last=False)
            if message in self._seen or len(self._seen) >= _KEPT_NONCES:
                return False
            self._seen[message] = now_s
            return True


def password_digest(nonce: bytes, created: str, password: str) -> str:
    """Base64 of SHA-1 over nonce, time and password (UsernameToken Profile 1.1, 3.1)."""
    whole = nonce + created.encode() + password.encode()
    return base64.b64encode(hashlib.sha1(whole, usedforsecurity=False).digest()).decode()


def _token_of(envelope: Element) -> Element | None:
    return envelope.find(f"{{{SOAP}}}Header/{{{_WSSE}}}Security/{{{_WSSE}}}UsernameToken")


_DATE = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d{1,9})?(Z|[+-]\d\d:\d\d)?", re.ASCII)


def _fresh(created: str) -> bool:
    """Whether an `xs:dateTime` is now, or nearly."""
    found = _DATE.fullmatch(created)
    if found is None:
        return False
    zone = found[2] if found[2] not in (None, "Z") else "+00:00"
    try:
        at = datetime.strptime(f"{found[1]}{zone}", "%Y-%m-%dT%H:%M:%S%z")
    except ValueError:
        return False
    return abs((at - datetime.now(timezone.utc)).total_seconds()) <= _CLOCKS_APART_S
