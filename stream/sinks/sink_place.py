"""Where a sink writes: what two sinks of one process cannot both have."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from irchroma.stream.sinks.open_sink import public

_PORTS = {"rtsp": 8554, "http": 8080, "srt": 0}


def sink_place(text: str, page: str = "") -> str | None:
    """What the sink that `text` names has to itself; None for sinks of which there may be many.

    Args:
        text: as for `open_sink`.
        page: the page's name among those on one HTTP port, empty where it has the port to itself.

    Returns:
        For people, and the same text for two sinks that would get in each other's way: a file's full path,
        `rtsp://:8554/gate`, `http://:8080/gate`, `hls:/var/www/gate`, `srt://:7001`, `/dev/video9`.
    """
    scheme, colon, rest = text.partition(":")
    if "://" in text and scheme in _PORTS:
        return _address_place(text, scheme, page)
    if text.removesuffix(":") in ("null", "window"):
        return None
    if scheme in ("v4l2", "file") and rest:
        text = rest.removeprefix("//")
    elif scheme == "hls" and colon:
        return f"hls:{Path(rest).resolve()}"
    if text.lower().endswith(".m3u8"):
        return f"hls:{Path(text).resolve().parent}"
    return str(Path(text).resolve())


def _address_place(text: str, scheme: str, page: str) -> str | None:
    try:
        parts = urlsplit(text)
        port = _PORTS[scheme] if parts.port is None else parts.port
    except ValueError:
        return public(text)  # `open_sink` will say what is wrong with it
    if not port:
        return None  # a free one
    if scheme == "rtsp":
        return f"rtsp://:{port}/{unquote(parts.path).strip('/')}"
    if scheme == "http":
        return f"http://:{port}/{page}"
    caller = bool(parts.hostname) and "mode=listener" not in parts.query
    return public(text) if caller else f"srt://:{port}"
