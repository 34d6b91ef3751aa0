"""HTTP Digest for snapshots: recorders give it rather than Basic, and the password does not go over the wire.

Reference: RFC 7616 (HTTP Digest Access Authentication), 3.3 and 3.4; of `qop` auth alone.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Iterable

from irchroma.stream.sinks.onvif.soap import Credentials

REALM = "irchroma"
_FRESH_S = 300
_ALGORITHMS = {"SHA-256": hashlib.sha256, "MD5": hashlib.md5}
_PART = re.compile(r'(\w+)\s*=\s*(?:"([^"\\]*)"|([^\s",]+))')


class Digests:
    """Asks for a digest and checks what comes. Any thread; nothing is kept for who does not answer."""

    def __init__(self) -> None:
        self._secret = secrets.token_bytes(32)

    def challenges(self) -> list[str]:
        """Values of `WWW-Authenticate`, the strongest first."""
        nonce = self._nonce(int(time.time()))
        return [
            f'Digest realm="{REALM}", qop="auth", algorithm={name}, nonce="{nonce}"' for name in _ALGORITHMS
        ]

    def sender(self, header: str, method: str, path: str, known: Iterable[Credentials]) -> Credentials | None:
        """Who proves to know a password in an `Authorization` header for that request."""
        kind, _, rest = header.partition(" ")
        told = {key.lower(): quoted or plain for key, quoted, plain in _PART.findall(rest[:2048])}
        algorithm = _ALGORITHMS.get(told.get("algorithm", "MD5").upper())
        if kind.lower() != "digest" or algorithm is None or told.get("qop") != "auth":
            return None
        if told.get("realm") != REALM or told.get("uri") != path or not self._made(told.get("nonce", "")):
            return None

        def digest(text: str) -> str:
            return algorithm(text.encode()).hexdigest()

        found = None
        for one in known:
            first = digest(f"{one.user}:{REALM}:{one.password}")
            counted = ":".join(told.get(key, "") for key in ("nonce", "nc", "cnonce", "qop"))
            wanted = digest(f"{first}:{counted}:{digest(f'{method}:{path}')}")
            right = hmac.compare_digest(told.get("response", "").encode(), wanted.encode())
            if right & hmac.compare_digest(told.get("username", "").encode(), one.user.encode()):
                found = one
        return found

    def _nonce(self, second: int) -> str:
        stamp = f"{second:x}"
        return f"{stamp}-{hmac.new(self._secret, stamp.encode(), hashlib.sha256).hexdigest()[:32]}"

    def _made(self, nonce: str) -> bool:
        """Whether a nonce is one of its own, of the last minutes."""
        stamp = nonce.partition("-")[0]
        if not re.fullmatch(r"[0-9a-f]{1,12}", stamp):
            return False
        second = int(stamp, 16)
        fresh = 0 <= time.time() - second + 1 <= _FRESH_S
        return fresh and hmac.compare_digest(nonce.encode(), self._nonce(second).encode())
