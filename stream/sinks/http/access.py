"""Who may look at a page and who may change it; by which names a page may be called at all."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import ipaddress
import socket
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from irchroma.stream.errors import StreamOptionError
from irchroma.stream.sinks import listening

Role = Literal["viewer", "operator"]

_SHORTEST_TOKEN = 8
_MOST_TRIES, _TRIES_WITHIN_S = 10, 60.0  # wrong tokens of one address before it has to wait
_KEPT_ADDRESSES = 1024


@dataclass(frozen=True, slots=True)
class Access:
    """Who gets in. Without any secret everybody who reaches the port is an operator.

    Attributes:
        operator: a token: may look and change.
        viewer: a token: may look.
        user, password: an operator's, asked for by the browser; both empty for none.
        names: further names of this machine by which browsers may call it, beside its addresses, its own
            name and `localhost`. Another site's name, turned to this address (DNS rebinding), is refused.
        certificate, key: PEM files by which the page is served over HTTPS; None for plain HTTP. The key may
            lie in the certificate's file.
    """

    operator: str = field(default="", repr=False)
    viewer: str = field(default="", repr=False)
    user: str = ""
    password: str = field(default="", repr=False)
    names: tuple[str, ...] = ()
    certificate: Path | None = None
    key: Path | None = None

    def __post_init__(self) -> None:
        if bool(self.user) != bool(self.password):
            raise StreamOptionError("a page takes both a user and a password: http://user:password@:8080")
        for what, token in (("token", self.operator), ("viewers' token", self.viewer)):
            if token and (len(token) < _SHORTEST_TOKEN or not token.isascii() or not token.isprintable()):
                found = f"{len(token)}" if len(token) < _SHORTEST_TOKEN else "others among them"
                raise StreamOptionError(
                    f"the page's {what}: expected {_SHORTEST_TOKEN} printable ASCII characters or more, got"
                    f" {found}: openssl rand -hex 16 makes one"
                )
        if self.operator and self.operator == self.viewer:
            raise StreamOptionError("the page's token and its viewers' token are the same: give two")
        if self.key is not None and self.certificate is None:
            raise StreamOptionError("the page has a key, but no certificate: give --tls-cert, too")

    @property
    def scheme(self) -> str:
        """`https` or `http`."""
        return "http" if self.certificate is None else "https"

    @property
    def protected(self) -> bool:
        """Whether anything is asked for."""
        return bool(self.operator or self.viewer or self.password)

    def role_of(self, headers: Mapping[str, str], cookie: str | None) -> Role | None:
        """What somebody is by the headers of a request; None for a stranger."""
        if not self.protected:
            return "operator"
        kind, _, value = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer":
            return self.role_of_token(value.strip())
        if kind.lower() == "basic":
            return self._role_of_basic(value.strip())
        if cookie:
            for role, token in (("operator", self.operator), ("viewer", self.viewer)):
                if token and _same(cookie, ticket(token)):
                    return role  # type: ignore[return-value]
        return None

    def role_of_token(self, token: str) -> Role | None:
        """What a token makes of its holder."""
        if self.operator and _same(token, self.operator):
            return "operator"
        if self.viewer and _same(token, self.viewer):
            return "viewer"
        return None

    def _role_of_basic(self, value: str) -> Role | None:
        try:
            user, colon, password = base64.b64decode(value, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return None
        if not colon:
            return None
        if self.password and _same(user, self.user) & _same(password, self.password):
            return "operator"
        return self.role_of_token(password)  # any user: for programs that know no other way

    def may_be_called(self, host: str, own: str) -> bool:
        """Whether a request's `Host` is a name of this machine.

        Args:
            host: the header, with or without a port.
            own: the address that the server was told to listen on.
        """
        name = host_name(host)
        if name is None:
            return False
        try:
            ipaddress.ip_address(name)
        except ValueError:
            pass
        else:
            return True  # nobody can turn an address to another machine
        machine = socket.gethostname().lower()
        known = {machine, f"{machine}.local", own.lower(), *(known.lower() for known in self.names)}
        return name in known or name == "localhost" or name.endswith(".localhost")


def ticket(token: str) -> str:
    """What a browser keeps in place of the token; the same after a restart."""
    return hmac.new(token.encode(), b"irchroma page", hashlib.sha256).hexdigest()


def host_name(host: str) -> str | None:
    """The name in a `Host` header without its port and brackets, lower case; None where it is none."""
    if host.startswith("["):
        name, bracket, port = host[1:].partition("]")
        return name if bracket and (not port or port[1:].isdigit()) else None
    name, _, port = host.partition(":")
    if not name or (port and not port.isdigit()):
        return None
    return name.lower().removesuffix(".")


def _same(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode(), wanted.encode())


class WrongTries:
    """Counts the wrong tokens of each address, so that none can be found by trying."""

    def __init__(self) -> None:
        self._tries: OrderedDict[str, list[float]] = OrderedDict()

    def note(self, address: str) -> None:
        """One more from there."""
        recent = [at for at in self._tries.pop(address, []) if time.monotonic() - at < _TRIES_WITHIN_S]
        self._tries[address] = [*recent, time.monotonic()]
        while len(self._tries) > _KEPT_ADDRESSES:
            self._tries.popitem(last=False)

    def too_many(self, address: str) -> bool:
        """Whether that address has to wait."""
        now_s = time.monotonic()
        recent = [at for at in self._tries.get(address, []) if now_s - at < _TRIES_WITHIN_S]
        return len(recent) >= _MOST_TRIES


def needs_access(host: str, access: Access) -> bool:
    """Whether a server on that address would be open to other machines with nothing to keep them out."""
    return bool(host) and not listening.is_loopback(host) and not access.protected
