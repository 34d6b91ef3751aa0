"""The facts of each entry as a line of JSON that ends with its link in the chain, and sometimes a signature.

`{"entry":7,...,"file":"..","chain":"..","signature":".."}`. The chain of an entry is the SHA-256 of the
chain before it (32 bytes, zeros before the first) and of the line up to `,"chain"`. `color` and `raw` are
the SHA-256 of the coded packets, `file` of all bytes since the entry before up to this line.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

START = bytes(32)
"""The chain before the first entry of the first file."""
_LINK = b',"chain":"'
_SIGNATURE = b'","signature":"'


@dataclass(frozen=True, slots=True)
class Line:
    """One entry's line, taken apart.

    Attributes:
        facts: what it says.
        told: the bytes that the chain is made over.
        chain: 32 bytes.
        signature: 64 bytes, empty where there is none.
    """

    facts: dict[str, Any]
    told: bytes
    chain: bytes
    signature: bytes


def told(facts: dict[str, Any]) -> bytes:
    """The beginning of a line; as long whatever the digests in it are."""
    return json.dumps(facts, separators=(",", ":"), ensure_ascii=True).encode()[:-1]


def linked(before: bytes, said: bytes) -> bytes:
    """The chain of an entry after that of the one before."""
    return hashlib.sha256(before + said).digest()


def line(said: bytes, chain: bytes, signature: bytes = b"") -> bytes:
    """The whole line."""
    end = _SIGNATURE + signature.hex().encode() if signature else b""
    return said + _LINK + chain.hex().encode() + end + b'"}'


def parse(data: bytes) -> Line | None:
    """The line taken apart; None where it is none, to the letter."""
    said, link, rest = data.rpartition(_LINK)
    chain, _, signature = rest.removesuffix(b'"}').partition(_SIGNATURE)
    try:
        facts = json.loads(said + b"}")
        parts = bytes.fromhex(chain.decode("ascii")), bytes.fromhex(signature.decode("ascii"))
    except ValueError:
        return None
    if not link or not isinstance(facts, dict) or len(parts[0]) != 32 or len(parts[1]) not in (0, 64):
        return None
    return Line(facts, said, *parts) if line(said, *parts) == data else None
