"""Takes addresses apart and keeps their secrets out of logs and error texts.

What goes wrong with a video in the same way wherever it comes from.
"""

from __future__ import annotations

import re
import socket
from urllib.parse import unquote, urlsplit

from irchroma.stream.errors import SourceError, SourceFormatError
from irchroma.stream.gstreamer.door import GstFailure

_USER_INFO = re.compile(r"(?<=://)[^/?#\s]*@")
_SECRET_KEY = re.compile(r"(?i)([?&](?:passphrase|password|pass|pw|pwd|token|secret|user|auth)=)[^&#\s]*")


def masked(text: str) -> str:
    """The text with names, passwords and passphrases of any address in it replaced by `***`."""
    return _SECRET_KEY.sub(r"\1***", _USER_INFO.sub("***@", text))


def split_credentials(address: str) -> tuple[str, str, str]:
    """The address without user and password, the user, the password; both decoded, empty where absent."""
    parts = urlsplit(address)
    info, at, host = parts.netloc.rpartition("@")
    if not at:
        return address, "", ""
    user, _, password = info.partition(":")
    return parts._replace(netloc=host).geturl(), unquote(user), unquote(password)


def why_unreachable(host: str, port: int, timeout_s: float) -> str:
    """Why no TCP connection comes about; empty when one does. Asked after a failure, for its error text."""
    try:
        socket.create_connection((host, port), timeout_s).close()
    except ConnectionRefusedError:
        return (
            f"{host} refuses connections at port {port}: is the camera or server running, is the port right?"
        )
    except socket.gaierror:
        return f"no host is called {host}"
    except TimeoutError:
        return f"{host} does not answer at port {port} within {timeout_s:g} s"
    except OSError as error:
        return f"{host} cannot be reached at port {port}: {(error.strerror or str(error)).lower()}"
    return ""


def broken_format(what: str, failure: GstFailure) -> SourceError | None:
    """The clear line for what goes wrong in the same way everywhere: decoders and formats; else None."""
    missing = re.findall(r"Missing decoder: (.*) \(((?:video|image)/\S+?)[,)]", failure.debug)
    if "Missing decoder: " in failure.debug and not missing:
        return SourceFormatError(f"{what} is not a video")
    if missing or failure.code in ("missing-plugin", "codec-not-found"):
        return SourceFormatError(
            f"{what}: no decoder here for {missing[0][0] if missing else failure}: install gstreamer1.0-libav"
            " and gstreamer1.0-plugins-bad, or run irchroma doctor"
        )
    if failure.domain == "stream" and ("not-negotiated" in failure.debug or failure.code == "format"):
        return SourceFormatError(f"{what}: its raw video format is not supported")
    return None
