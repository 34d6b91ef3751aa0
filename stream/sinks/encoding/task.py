"""What is asked of a video encoder, and the stream that it gets."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

from irchroma.stream.errors import StreamOptionError
from irchroma.stream.sinks.encoding.encoder_effort import hurried
from irchroma.stream.sinks.encoding.i420_packer import SQUARE

Codec = Literal["h264", "h265", "vp8", "vp9"]

ASSUMED_RATE = Fraction(30)
"""Frames a second, for keyframe distances and bit rates where a source does not know its own."""


@dataclass(frozen=True, slots=True)
class EncoderOptions:
    """What a user may ask of the encoder.

    Attributes:
        name: `auto`, one of `ENCODER_NAMES`, or a GStreamer element's own name.
        codec: `auto` for the encoder's, or what each output holds best: H.264, in WebM VP9; `h265` is smaller
            at the same quality, costs several times the processor's time, and not every player has it.
        quality: constant-quality target, H.264's quantizer, 0 (best) to 50.
        bitrate_kbps: target in kilobits a second; 0 for constant quality (live sinks cap it by the size).
        keyframe_s: seconds between keyframes.
        threads: of a software encoder, 0 for its own choice.
    """

    name: str = "auto"
    codec: Literal["auto", "h264", "h265", "vp8", "vp9"] = "auto"
    quality: int = 18
    bitrate_kbps: int = 0
    keyframe_s: float = 2.0
    threads: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.quality <= 50:
            raise StreamOptionError(f"expected an encoder quality from 0 to 50, got {self.quality}")
        if self.bitrate_kbps < 0 or self.bitrate_kbps > 2_000_000:
            raise StreamOptionError(f"expected a bit rate from 0 to 2000000 kbit/s, got {self.bitrate_kbps}")
        if self.threads < 0:
            raise StreamOptionError(f"expected 0 or more threads of an encoder, got {self.threads}")
        if not self.keyframe_s > 0:
            raise StreamOptionError(f"expected seconds between keyframes above 0, got {self.keyframe_s:g}")


@dataclass(frozen=True, slots=True)
class EncoderTask:
    """One stream to encode.

    Attributes:
        codec: the coding that the container or protocol holds.
        size: (H, W), even.
        rate: frames per second, 0 where unknown.
        live: true for least latency, false for quality.
        device, pixel_aspect: see `VideoInfo`.
        paced: pictures come from a live source, which waits for nobody, and are kept.
    """

    codec: Codec
    size: tuple[int, int]
    rate: Fraction
    live: bool
    options: EncoderOptions = field(default_factory=EncoderOptions)
    device: int | None = None
    pixel_aspect: Fraction = SQUARE
    paced: bool = False

    @property
    def keyframe_distance(self) -> int:
        """Frames between keyframes."""
        return max(1, round(self.options.keyframe_s * float(self.rate or ASSUMED_RATE)))

    @property
    def hurried(self) -> bool:
        """Live or paced, and much for this machine; see `encoder_effort`."""
        rate = self.rate or ASSUMED_RATE
        return (self.live or self.paced) and hurried(self.size, rate, self.options.threads)

    @property
    def bitrate_kbps(self) -> int:
        """The user's, or 0.15 bit a pixel (0.3 for files): room for noisy infrared at quality 20."""
        if self.options.bitrate_kbps:
            return self.options.bitrate_kbps
        bits = (0.15 if self.live else 0.3) * self.size[0] * self.size[1] * float(self.rate or ASSUMED_RATE)
        return min(100_000, max(500, round(bits / 1000)))
