"""Tells of IPv6 addresses that stand without their brackets, which no address may hold."""

from __future__ import annotations

import ipaddress
import re

_PLACE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://([^/?#]*)")


def bracket_hint(text: str) -> str:
    """` (an IPv6 address stands in brackets: rtsp://[::1]:8554)`, or nothing where that is not the fault.

    What comes last is taken for a port where the rest is an address too, as in `::1:8554`.

    Args:
        text: `rtsp://::1:8554/x`; user and password are left out of what is said.
    """
    found = _PLACE.match(text)
    host = found[1].rpartition("@")[2] if found is not None else ""
    ahead, _, port = host.rpartition(":")
    if port.isdecimal() and int(port) < 1 << 16 and _is_ipv6(ahead):
        meant = f"[{ahead}]:{port}"
    elif _is_ipv6(host):
        meant = f"[{host}]"
    else:
        return ""
    return f" (an IPv6 address stands in brackets: {text.partition('://')[0]}://{meant})"


def _is_ipv6(host: str) -> bool:
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        return False
    return True
