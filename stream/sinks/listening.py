"""Which addresses a server of this process listens on, and what says so: closed unless it is opened."""

from __future__ import annotations

import errno
import fcntl
import ipaddress
import socket
import struct
from functools import cache

LOOPBACK = ("127.0.0.1", "::1")

_SIOCGIFADDR = 0x8915  # netdevice(7)


def hosts(host: str, protected: bool) -> tuple[str, ...]:
    """The addresses to listen on.

    Args:
        host: as given; empty for what is safe: this machine alone, or everybody where it is protected.
        protected: clients must give credentials.

    Returns:
        One or two; `::` takes IPv4 too.
    """
    if host:
        return (host,)
    if protected:
        return ("::",) if _has_ipv6() else ("0.0.0.0",)
    return LOOPBACK if _has_ipv6() else LOOPBACK[:1]


def own_addresses() -> list[str]:
    """This machine's IPv4 addresses, one for each of its networks; loopback's is among them."""
    found = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        for _, name in socket.if_nameindex():
            try:
                told = fcntl.ioctl(asking, _SIOCGIFADDR, struct.pack("256s", name.encode()[:15]))
            except OSError:  # it has none
                continue
            found.append(socket.inet_ntoa(told[20:24]))  # ifreq: a name, then a sockaddr_in
    return sorted(set(found))


def free_port() -> int:
    """A port of this machine that nobody has right now."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK[0], 0))
        return int(probe.getsockname()[1])


def may_listen(host: str, port: int, udp: bool = False) -> bool:
    """False where somebody has the port of this machine; a server's own try tells of everything else.

    Args:
        host: as given; empty for this machine alone, of UDP for all of its addresses.
        port: a TCP port.
        udp: it is one of UDP.
    """
    for address in ("0.0.0.0",) if udp and not host else hosts(host, protected=False):
        try:
            kind = socket.SOCK_DGRAM if udp else socket.SOCK_STREAM
            family, *_, place = socket.getaddrinfo(address, port, type=kind)[0]
            if udp:
                with socket.socket(family, kind) as probe:  # libsrt's own shares a port with others of libsrt
                    probe.bind(place)
            else:
                socket.create_server((address, port), family=family).close()
        except (OSError, OverflowError, ValueError) as error:
            if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
                return False
    return True


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a server on such an address; an empty one is not loopback."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_everywhere(host: str) -> bool:
    """Whether the address stands for all of this machine's."""
    return host in ("", "::", "0.0.0.0")


def shown(host: str) -> str:
    """The address as it stands in front of a port: `[::1]`, and nothing for everywhere."""
    if is_everywhere(host):
        return ""
    return f"[{host}]" if ":" in host else host


@cache
def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True
