"""Ed25519 keys of recordings: made, kept, read, and what they sign."""

from __future__ import annotations

import hashlib
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from irchroma.stream.errors import StreamError

_WRITTEN_S = 1.0
_DOMAIN = b"irchroma evidence 1\n"
_INSTALL = "signatures need the package cryptography: pip install 'irchroma[evidence]'"


def _library() -> tuple[Any, Any]:
    """The modules for keys and for their files; StreamError where they are not here."""
    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError as error:
        raise StreamError(_INSTALL) from error
    return ed25519, serialization


class Signer:
    """A private key.

    Attributes:
        public: its public key, 32 bytes.
    """

    def __init__(self, key: Any) -> None:
        _, files = _library()
        self._key = key
        self.public: bytes = key.public_key().public_bytes(files.Encoding.Raw, files.PublicFormat.Raw)

    @classmethod
    def read(cls, path: Path) -> Signer:
        """The key in a PEM file (PKCS #8), as `openssl genpkey -algorithm ed25519` writes it.

        Raises:
            StreamError: there is no such key in it, or cryptography is not installed.
        """
        ed25519, files = _library()
        try:
            key = files.load_pem_private_key(path.read_bytes(), password=None)
        except OSError as error:
            raise StreamError(f"{path}: the key cannot be read ({(error.strerror or '').lower()})") from error
        except (ValueError, TypeError) as error:
            raise StreamError(f"{path}: expected a private key in PEM without a password") from error
        if not isinstance(key, ed25519.Ed25519PrivateKey):
            raise StreamError(f"{path}: expected an Ed25519 key: openssl genpkey -algorithm ed25519")
        return cls(key)

    @classmethod
    def kept(cls, path: Path) -> Signer:
        """The key in that file; made, with its public half beside it, where there is none.

        Raises:
            StreamError: it can neither be read nor written.
        """
        if path.exists():
            return cls._made_by_another(path)
        ed25519, files = _library()
        key = ed25519.Ed25519PrivateKey.generate()
        private = key.private_bytes(files.Encoding.PEM, files.PrivateFormat.PKCS8, files.NoEncryption())
        public = key.public_key().public_bytes(files.Encoding.PEM, files.PublicFormat.SubjectPublicKeyInfo)
        made = False
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                made = True
                file.write(private)
            public_file(path).write_bytes(public)
        except FileExistsError:
            return cls._made_by_another(path)
        except OSError as error:
            if made:  # half a key, or one that nobody could check; another run's is left alone
                with suppress(OSError):
                    path.unlink(missing_ok=True)
            raise StreamError(
                f"{path}: the key cannot be kept ({(error.strerror or '').lower()}):"
                " name a place for it, --evidence-key FILE"
            ) from error
        return cls(key)

    @classmethod
    def _made_by_another(cls, path: Path) -> Signer:
        """The key in a file that another run may have made just now, and not written yet."""
        until_s = time.monotonic() + _WRITTEN_S
        with suppress(OSError):  # `read` tells
            while not path.stat().st_size and time.monotonic() < until_s:
                time.sleep(0.01)
        return cls.read(path)

    def sign(self, digest: bytes) -> bytes:
        """64 bytes."""
        signed: bytes = self._key.sign(_DOMAIN + digest)
        return signed


def public_file(path: Path) -> Path:
    """Where the public half of a key is kept: `evidence-key.pem` has `evidence-key.pub.pem`."""
    return path.with_suffix(f".pub{path.suffix}")


def read_public(path: Path) -> bytes:
    """The 32 bytes of a public key, or of the public half of a private one, in a PEM file.

    Raises:
        StreamError: there is no Ed25519 key in it.
    """
    ed25519, files = _library()
    try:
        data = path.read_bytes()
    except OSError as error:
        raise StreamError(f"{path}: the key cannot be read ({(error.strerror or '').lower()})") from error
    if b"PRIVATE KEY" in data:
        return Signer.read(path).public
    try:
        key = files.load_pem_public_key(data)
    except ValueError as error:
        raise StreamError(f"{path}: expected a public key in PEM (openssl pkey -pubout)") from error
    if not isinstance(key, ed25519.Ed25519PublicKey):
        raise StreamError(f"{path}: expected an Ed25519 key")
    public: bytes = key.public_bytes(files.Encoding.Raw, files.PublicFormat.Raw)
    return public


def is_signed(public: bytes, digest: bytes, signature: bytes) -> bool:
    """Whether that key has signed that digest.

    Raises:
        StreamError: cryptography is not installed.
    """
    ed25519, _ = _library()
    from cryptography.exceptions import InvalidSignature

    try:
        ed25519.Ed25519PublicKey.from_public_bytes(public).verify(signature, _DOMAIN + digest)
    except (InvalidSignature, ValueError):
        return False
    return True


def fingerprint(public: bytes) -> str:
    """What people compare: the first 16 hex digits of the key's SHA-256."""
    return hashlib.sha256(public).hexdigest()[:16]
