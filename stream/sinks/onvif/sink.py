"""An RTSP stream that recorders find by ONVIF: the stream's own sink, and a device that tells of it."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec

from irchroma.stream.errors import SinkError
from irchroma.stream.picture.picture import Picture
from irchroma.stream.protocols import Pixels, VideoInfo
from irchroma.stream.sinks.encoding.i420_packer import even_size
from irchroma.stream.sinks.encoding.task import EncoderOptions
from irchroma.stream.sinks.http.live_picture import LivePicture
from irchroma.stream.sinks.rtsp.sink import RtspSink

_CODED_AS = {"x264": "High", "openh264": "Baseline"}
"""Profile of H.264 by the encoder, as set in `encoders`; hardware chooses its own."""


@dataclass(frozen=True, slots=True)
class OnvifOptions:
    """Where the device's services are.

    Attributes:
        port: TCP port, 0 for a free one; on the addresses that the stream is served on.
        names: by which it may be called beside addresses and the machine's own name.
    """

    port: int = 8000
    names: tuple[str, ...] = ()


class OnvifSink:
    """A `FrameSink` that serves by RTSP and tells of it; only snapshots that are asked for are compressed.

    Attributes:
        port: of the device's services, the real one once it is open.

    Raises:
        SinkError: what serves it is not installed, or the stream is of a coding that Profile S has not.
    """

    def __init__(self, rtsp: RtspSink, encoder: EncoderOptions, options: OnvifOptions | None = None) -> None:
        for needed in ("starlette", "uvicorn"):
            if find_spec(needed) is None:
                raise SinkError(f"onvif: its services need {needed}: pip install 'irchroma[service]'")
        if encoder.codec not in ("auto", "h264"):
            raise SinkError(
                f"onvif: Profile S has H.264 alone, this stream is {encoder.codec}: leave out --codec"
            )
        self._rtsp, self._encoder, self._options = rtsp, encoder, options or OnvifOptions()
        self.port = self._options.port
        self._host, self._token = rtsp.address.host, ""
        self._picture = LivePicture()

    def stand_by(self) -> None:
        """See `RtspSink.stand_by`; the device tells of the stream once its pictures are known."""
        self._rtsp.stand_by()

    def open(self, info: VideoInfo, size: tuple[int, int]) -> None:
        """See `FrameSink.open`. SinkError for a port or a name that is taken."""
        from irchroma.stream.sinks.onvif import device  # takes 0.2 s, and few runs have one
        from irchroma.stream.sinks.onvif.operations import Profile
        from irchroma.stream.sinks.onvif.soap import Credentials

        self._rtsp.open(info, size)
        bound, encoder = self._rtsp.address, self._encoder
        credentials = Credentials(bound.user, bound.password) if bound.user else None
        self._picture = LivePicture()
        self._picture.pixel_aspect = info.pixel_aspect

        sound, coded_as = self._rtsp.sound, _CODED_AS.get(self._rtsp.encoder_kind, "")

        def profile(token: str) -> Profile:
            rate, kbps, keyframe_s = info.rate, encoder.bitrate_kbps, encoder.keyframe_s
            pictures = even_size(size), rate, kbps, keyframe_s
            return Profile(token, bound.name, bound.port, *pictures, credentials, coded_as, sound)

        try:
            self.port, self._token = device.tell(
                self._host, self._options.port, self._options.names, profile, self._picture
            )
        except SinkError:
            self._rtsp.close()
            raise

    def write(self, rgb: Pixels, pts_ns: int, duration_ns: int) -> None:
        self._rtsp.write(rgb, pts_ns, duration_ns)
        self._picture.put(Picture.of(rgb))

    @property
    def drops(self) -> int:
        return self._rtsp.drops

    def close(self) -> None:
        """See `FrameSink.close`; the device says Bye with its last stream."""
        self._picture.end()
        if self._token:
            from irchroma.stream.sinks.onvif import device

            device.withdraw(self._host, self.port, self._token)
            self._token = ""
        self._rtsp.close()
