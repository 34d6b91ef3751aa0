"""The page over HTTPS."""

from __future__ import annotations

import datetime
import http.client
import ipaddress
import socket
import ssl
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from irchroma.stream.errors import SinkError, StreamOptionError
from irchroma.stream.protocols import VideoInfo
from irchroma.stream.sinks.http.access import Access
from irchroma.stream.sinks.http.sink import HttpSink, HttpSinkOptions

LIVE = VideoInfo((48, 64), Fraction(25), live=True)


def certificate(folder: Path, password: bytes = b"") -> tuple[Path, Path]:
    """A certificate of this machine's loopback address, signed by itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "gate")])
    today = datetime.datetime(2026, 1, 1)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(today)
        .not_valid_after(today + datetime.timedelta(days=36500))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    how = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    paths = folder / "gate.pem", folder / "gate.key"
    paths[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, how)
    )
    return paths


def test_a_page_is_served_over_https_and_its_ticket_stays_there(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    one, key = certificate(tmp_path)
    access = Access("operators-token", certificate=one, key=key)
    sink = HttpSink("127.0.0.1", 0, HttpSinkOptions("gate", access=access))
    sink.open(LIVE, (48, 64))
    try:
        sink.write(np.full((48, 64, 3), 90, np.uint8), 0, 40_000_000)
        assert f"https://127.0.0.1:{sink.port}/" in caplog.text
        trusted = ssl.create_default_context(cafile=str(one))
        status, _, body = _asked(
            sink.port, trusted, "/snapshot.jpg", {"Authorization": "Bearer operators-token"}
        )
        assert (status, body[:2]) == (200, b"\xff\xd8")
        status, headers, _ = _asked(sink.port, trusted, "/?token=operators-token", {})
        assert status == 303
        assert "Secure" in headers["Set-Cookie"]
        with socket.create_connection(("127.0.0.1", sink.port), timeout=10) as plain:
            plain.sendall(b"GET /snapshot.jpg HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            assert b"200" not in plain.recv(1024)
    finally:
        sink.close()


def _asked(
    port: int, trusted: ssl.SSLContext, path: str, headers: dict[str, str]
) -> tuple[int, http.client.HTTPMessage, bytes]:
    connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=10, context=trusted)
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def test_what_is_no_certificate_is_told_before_anything_is_served(tmp_path: Path) -> None:
    one, key = certificate(tmp_path)
    (tmp_path / "locked").mkdir()
    locked, locked_key = certificate(tmp_path / "locked", b"secret")
    for wrong, its_key, said in (
        (tmp_path / "none.pem", key, "is not there"),
        (key, one, "expected a certificate and its key"),
        (one, locked_key, "without a password"),
        (locked, key, "expected a certificate and its key"),
        (one, None, "the key in it"),
    ):
        sink = HttpSink("127.0.0.1", 0, HttpSinkOptions(access=Access(certificate=wrong, key=its_key)))
        with pytest.raises(SinkError, match=said):
            sink.open(LIVE, (48, 64))
    with pytest.raises(StreamOptionError, match="give --tls-cert"):
        Access(key=key)
