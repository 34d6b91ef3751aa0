"""Takes addresses apart and keeps their secrets out of logs and error texts.

And words for what goes wrong with a video in the same way wherever it comes from.
"""

from __future__ import annotations

import re
import socket
from urllib.parse import unquote, urljoin, urlsplit, urlunsplit

from irchroma.stream.errors import SourceError, SourceFormatError
from irchroma.stream.gstreamer.door import GstFailure
from irchroma.stream.secret_keys import NAME_KEYS, SECRET_KEYS

# With one slash of two where somebody took it for the name of a file.
_ADDRESS = re.compile(r"((?<![A-Za-z0-9+.-])[A-Za-z][A-Za-z0-9+.-]*:/)(/\S+|[^/\s]\S*:\S*@\S+)")
# Without the punctuation that a sentence goes on with.
_SECRET_KEY = re.compile(rf"(?i)([?&](?:{SECRET_KEYS}|{NAME_KEYS})=)[^&\s]*?(?=&|[:;,.)'\"]*(?:\s|$))")
_EXAMPLES = ("user:password", "viewer:password", "token")  # of our own sentences that say what is expected
_PLAIN_HOST = re.compile(r"[^:/@?#\s]*(?::\d{1,5})?(?=[/?#]|$)")
_SURE_HOST = re.compile(
    r"(?:\d{1,3}(?:\.\d{1,3}){3}|\[[0-9A-Fa-f:.%]+\]|localhost|[\w-]+(?:\.[\w-]+)+|[\w-]+(?=:\d))(?::\d{1,5})?(?:[/?#]|$)"
)
_UNSAFE = re.compile(r"[@#/?\s]|%(?![0-9A-Fa-f]{2})")
UNSAFE_HINT = "in a user and password @ is written %40, # %23, / %2F, ? %3F and % %25"


def masked(text: str) -> str:
    """The text with names, passwords and passphrases of any address in it replaced by `***`.

    What is masked stays as it is when it is masked again.
    """

    def without(found: re.Match[str]) -> str:
        address = f"{found[1]}/{found[2].removeprefix('/')}"
        begin, end = address.find("://") + 3, _end_of_user_info(address)
        if end < 0 or address[begin:end] in _EXAMPLES:
            return found[0]
        slash = "/" if found[2].startswith("/") else ""
        return f"{found[1]}{slash}***{address[address.rfind('@') :]}"

    return _SECRET_KEY.sub(r"\1***", _ADDRESS.sub(without, text))


def _end_of_user_info(address: str) -> int:
    """Where the @ after user and password stands, -1 where there are none.

    They are taken as people write them, who do not escape an @, # or / in a password: the host comes after
    the last @ that is followed by what must be one, such as an IP address, else after the very last @.
    """
    begin = address.find("://") + 3
    if begin < 3 or "@" not in address[begin:] or _PLAIN_HOST.match(address, begin):
        return -1
    places = [begin + at for at, letter in enumerate(address[begin:]) if letter == "@"]
    return next((at for at in reversed(places) if _SURE_HOST.match(address, at + 1)), places[-1])


def split_credentials(address: str) -> tuple[str, str, str]:
    """The address without user and password, the user, the password; both decoded, empty where absent."""
    begin, end = address.find("://") + 3, _end_of_user_info(address)
    if end < 0:
        return address, "", ""
    user, _, password = address[begin:end].partition(":")
    return address[:begin] + address[end + 1 :], unquote(user), unquote(password)


def has_unsafe_credentials(address: str) -> bool:
    """Whether user or password hold letters that an address must not hold as they are."""
    end = _end_of_user_info(address)
    return end >= 0 and _UNSAFE.search(address[address.find("://") + 3 : end]) is not None


def why_unreachable(host: str, port: int, timeout_s: float) -> str:
    """Why no TCP connection comes about; empty when one does. Asked after a failure, for its error text."""
    try:
        socket.create_connection((host, port), timeout_s).close()
    except ConnectionRefusedError:
        return (
            f"{host} refuses connections at port {port}: is the camera or server running, is the port right?"
        )
    except (socket.gaierror, UnicodeError):  # which is what a name of empty or too long parts gives
        return f"no host is called {host}"
    except TimeoutError:
        return f"{host} does not answer at port {port} within {timeout_s:g} s"
    except OSError as error:
        return f"{host} cannot be reached at port {port}: {(error.strerror or str(error)).lower()}"
    return ""


def moved_to(url: str, timeout_s: float) -> str:
    """Where an HTTP server sends on to from there, without a password; empty where it does not say. Asked
    after a failure, for its error text: souphttpsrc does not tell."""
    import http.client  # 20 ms that only it needs

    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme.lower() == "https" else http.client.HTTPConnection
    try:
        way = kind(parts.netloc, timeout=timeout_s)
        try:
            way.request("GET", urlunsplit(("", "", parts.path or "/", parts.query, "")))
            place = way.getresponse().getheader("Location", "")
        finally:
            way.close()
    except (OSError, ValueError, http.client.HTTPException):
        return ""
    return masked(urljoin(url, place)) if place.isprintable() and place else ""


def unreadable_ffv1(what: str) -> SourceFormatError:
    """The clear line for FFV1 whose layout has no name in GStreamer."""
    return SourceFormatError(
        f"{what}: GStreamer cannot decode FFV1 of this depth, expected gray of 8 or 16 bits or color of 8:"
        " ffmpeg -i IN -c:v ffv1 -pix_fmt gray16le OUT.mkv converts it"
    )


def broken_format(what: str, failure: GstFailure) -> SourceError | None:
    """The clear line for what goes wrong in the same way everywhere: decoders and formats; else None."""
    missing = re.findall(r"Missing decoder: (.*) \(((?:video|image)/\S+?)[,)]", failure.debug)
    if "Missing decoder: " in failure.debug and not missing:
        return SourceFormatError(f"{what} is not a video")
    if missing or failure.code in ("missing-plugin", "codec-not-found"):
        kind = missing[0][0] if missing else failure
        if "unknown" in str(kind):  # GStreamer's own word for a codec that has no name there
            return SourceFormatError(
                f"{what}: GStreamer knows no such codec: ffmpeg -i IN -c:v ffv1 OUT.mkv converts it,"
                " of counts with -pix_fmt gray16le"
            )
        return SourceFormatError(
            f"{what}: no decoder here for {kind}: install gstreamer1.0-libav and gstreamer1.0-plugins-bad, or"
            " run irchroma doctor"
        )
    if "avdec_ffv1" in failure.debug and "get_buffer2" in failure.debug:
        return unreadable_ffv1(what)  # gst-libav 1.26 asks for memory for an unknown layout, and gets none
    if failure.domain == "stream" and ("not-negotiated" in failure.debug or failure.code == "format"):
        return SourceFormatError(f"{what}: its raw video format is not supported")
    return None
