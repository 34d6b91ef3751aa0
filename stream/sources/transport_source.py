"""Streams over SRT and plain TCP (MPEG-TS or Matroska, found out by looking) and motion JPEG over HTTP."""

from __future__ import annotations

import re
import time
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from irchroma.stream.errors import SourceError, SourceFormatError, SourceLost, SourceRefused
from irchroma.stream.gstreamer.door import GstFailure, modules, post_error
from irchroma.stream.gstreamer.pipeline import Pipeline
from irchroma.stream.ipv6 import bracket_hint
from irchroma.stream.sources.addresses import (
    broken_format,
    masked,
    moved_to,
    split_credentials,
    why_unreachable,
)
from irchroma.stream.sources.decoding import Decoding
from irchroma.stream.sources.gst_source import GstSource, PictureOptions, SourcePlan

_SRT_KEYS = ("mode", "latency", "passphrase", "pbkeylen", "streamid", "localaddress", "localport")
_PORTS = {"http": 80, "https": 443}
_FILES = (".mp4", ".mkv", ".webm", ".avi", ".mov", ".ts", ".mpg", ".jpg", ".jpeg", ".png")
_SILENCE_S = 5
_MOST_BYTES = 32 << 20  # of a picture: 3840x2160 noise as JPEG of quality 100 has 20 million bytes


class _NetworkSource(GstSource):
    """What an element called `net` receives and a decodebin decodes."""

    _name = ""
    """The address, without credentials."""

    def _planned(self, head: str, properties: dict[str, Any], tail: str = "") -> SourcePlan:
        decoding = self._watched(
            Decoding(self._name, self._pictures.max_megapixels, tell_damage=self._pictures.tell_damage)
        )
        return SourcePlan(
            launch=f"{head} ! decodebin name=decode{tail}",
            properties={"net": properties},
            signals={"decode": decoding.signals},
            live=True,
            description=self._name,
        )


class TransportSource(_NetworkSource):
    """A container received over the network.

    `srt://host:port` calls a sender, `srt://:port` waits for one; `tcp://host:port` connects. 16-bit
    counts travel this way as FFV1 in Matroska, and arrive untouched.
    """

    def __init__(self, address: str, latency_ms: int = 100, pictures: PictureOptions | None = None) -> None:
        """Raises SourceError for an address that lacks its port, or has an unknown key."""
        super().__init__(pictures)
        self._address, self._name, self._latency_ms = address, masked(address), latency_ms
        parts = urlsplit(address)
        self._scheme, self._host = parts.scheme, parts.hostname or ""
        try:
            self._port = parts.port or 0
        except ValueError:
            self._port = 0
        if not self._port or (self._scheme == "tcp" and not self._host):
            raise SourceError(f"{self._name}: expected {self._scheme}://host:port{bracket_hint(address)}")
        self._keys = dict(parse_qsl(parts.query))
        for key in self._keys:
            if self._scheme != "srt" or key not in _SRT_KEYS:
                known = ", ".join(_SRT_KEYS) if self._scheme == "srt" else "none"
                raise SourceError(f"{self._name}: unknown key {key!r}, known are: {known}")
        if not 10 <= len(self._keys.get("passphrase", "x" * 10)) <= 79:  # SRTO_PASSPHRASE in SRT's API
            raise SourceError(f"{self._name}: expected a passphrase of 10 to 79 characters")
        self._listens = self._scheme == "srt" and (not self._host or self._keys.get("mode") == "listener")

    def plan(self) -> SourcePlan:
        if self._scheme == "tcp":
            head = "tcpclientsrc name=net timeout=5"
            properties: dict[str, Any] = {"host": self._host, "port": self._port}
        else:
            head = "srtsrc name=net"
            properties = {"uri": self._address}
            if "latency" not in self._keys:
                properties["latency"] = self._latency_ms
        return self._planned(head, properties, " ! deinterlace fields=top")

    def _attach(self, coded: str, pipeline: Pipeline) -> None:
        """A caller whose sender ends is to fail, so that it is said at once, and called anew from the start.

        GStreamer's own calling again says nothing, and is cut off as the silence that it looks like from
        here. 1.20 has no such property, and fails.
        """
        super()._attach(coded, pipeline)
        net = pipeline.element("net")
        if net.find_property("auto-reconnect") is not None:
            net.set_property("auto-reconnect", False)

    def explain(self, failure: GstFailure | None) -> SourceError:
        name = self._name
        if failure is None:
            waiting = "nobody has sent a picture to it" if self._listens else "no picture came"
            doubt = "is the other side running" + ", is the passphrase right" * ("passphrase" in self._keys)
            return SourceLost(f"{name}: {waiting} within {self.open_timeout_s:g} s, {doubt}?")
        if self._count:
            return SourceLost(f"{name}: the connection broke")
        if failure.domain == "resource":
            reason = why_unreachable(self._host, self._port, 2.0) if self._scheme == "tcp" else ""
            return SourceLost(f"{name}: {reason or 'no connection, is the other side running?'}")
        return broken_format(name, failure) or SourceError(f"{name} cannot be played: {masked(str(failure))}")


class HttpSource(_NetworkSource):
    """`http://user:password@host/video.mjpg`: a live stream of JPEG pictures; newest frame wins.

    Frames have the time of their arrival, as the stream itself has none.

    Reference: RFC 2046, 5.1 (multipart), as `multipart/x-mixed-replace`.
    """

    def __init__(self, address: str, pictures: PictureOptions | None = None) -> None:
        """Raises SourceError for an address without a host."""
        super().__init__(pictures)
        self._name, self._answers, self._heard_s = masked(address), False, 0.0
        self._url, self._user, self._password = split_credentials(address)
        try:
            parts = urlsplit(self._url)
            self._host, self._port = parts.hostname or "", parts.port or _PORTS[parts.scheme.lower()]
        except ValueError:
            self._host = ""
        if not self._host:
            raise SourceError(f"{self._name}: expected http://host:port/path{bracket_hint(self._url)}")

    def plan(self) -> SourcePlan:
        properties: dict[str, Any] = {"location": self._url, "timeout": _SILENCE_S, "retries": 0}
        properties["automatic-redirect"] = False  # another host would be told user and password
        if self._user:
            properties |= {"user-id": self._user, "user-pw": self._password}
        return self._planned(
            "souphttpsrc name=net is-live=true do-timestamp=true"
            " ! multipartdemux name=parts single-stream=true",
            properties,
        )

    def _attach(self, coded: str, pipeline: Pipeline) -> None:
        super()._attach(coded, pipeline)
        parts = pipeline.element("parts")
        self._listen(parts)
        self._cap_parts(parts)

    def _listen(self, parts: Any) -> None:
        """Note whether it answers in HTTP, and when something came: souphttpsrc tells each end alike."""
        gst = modules()["Gst"]
        self._answers, self._heard_s = False, time.monotonic()

        def comes(_pad: Any, info: Any) -> Any:
            event = info.get_event() if info.type & gst.PadProbeType.EVENT_DOWNSTREAM else None
            if event is None or event.has_name("http-headers"):
                self._answers, self._heard_s = True, time.monotonic()
            return gst.PadProbeReturn.OK

        kinds = gst.PadProbeType.BUFFER | gst.PadProbeType.EVENT_DOWNSTREAM
        parts.get_static_pad("sink").add_probe(kinds, comes)

    def _cap_parts(self, parts: Any) -> None:
        """Let what never ends a picture fill no memory: multipartdemux waits for the end, however late."""
        gst, waiting = modules()["Gst"], [0]

        def arriving(_pad: Any, info: Any) -> Any:
            waiting[0] += info.get_buffer().get_size()
            if waiting[0] <= _MOST_BYTES:
                return gst.PadProbeReturn.OK
            if self._decoding is not None and self._decoding.refusal is None:
                self._decoding.refusal = SourceFormatError(
                    f"{self._name}: sends more than {_MOST_BYTES >> 20} MB without the end of a picture"
                )
                post_error(parts, str(self._decoding.refusal))
            return gst.PadProbeReturn.DROP

        def leaving(_pad: Any, _info: Any) -> Any:
            waiting[0] = 0
            return gst.PadProbeReturn.OK

        def found(_parts: Any, pad: Any) -> None:
            pad.add_probe(gst.PadProbeType.BUFFER, leaving)

        parts.get_static_pad("sink").add_probe(gst.PadProbeType.BUFFER, arriving)
        parts.connect("pad-added", found)

    def explain(self, failure: GstFailure | None) -> SourceError:
        name = self._name
        if failure is None:
            return SourceLost(f"{name}: no picture came within {self.open_timeout_s:g} s")
        silent = time.monotonic() - self._heard_s > 0.9 * _SILENCE_S
        if failure.code == "not-authorized":
            if self._user:
                return SourceRefused(f"{name}: the camera refuses this user and password")
            return SourceRefused(f"{name}: the camera asks who you are: http://user:password@host/path")
        if self._count:
            return SourceLost(f"{name}: the connection broke")
        if re.search(r"\(30[12378]\)", failure.debug):
            other = moved_to(self._url, 2.0) or "another address"
            return SourceError(
                f"{name}: the camera sends on to {other}, which is told no password: give that one"
            )
        if reason := why_unreachable(self._host, self._port, 2.0):
            return SourceLost(f"{name}: {reason}")
        from_network = "GstSoupHTTPSrc" in failure.debug
        if from_network and silent and self._answers:
            return SourceLost(f"{name}: the camera answers, and then sends nothing for {_SILENCE_S} s")
        if from_network and silent:
            return SourceLost(f"{name}: the camera takes the connection and answers nothing")
        if failure.domain == "resource":
            nothing = "the camera has nothing at this path" if failure.code == "not-found" else ""
            return SourceLost(f"{name}: {nothing or masked(str(failure))}")
        if from_network and self._url.lower().startswith("https:"):
            return SourceLost(
                f"{name}: no encrypted connection: is its certificate one that is trusted here?"
            )
        if from_network and not self._answers:
            return SourceError(f"{name}: what answers there is no HTTP: is the port right?")
        if failure.domain == "stream" and failure.code in ("demux", "wrong-type", "failed", "decode"):
            file = PurePosixPath(urlsplit(self._url).path).suffix.lower() in _FILES
            hint = (
                "download a file first" if file else f"a camera's video is mostly at rtsp://{self._host}/..."
            )
            return SourceError(f"{name}: is no motion JPEG, which alone is read over HTTP: {hint}")
        return broken_format(name, failure) or SourceError(f"{name} cannot be played: {masked(str(failure))}")
