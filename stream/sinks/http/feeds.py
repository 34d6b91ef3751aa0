"""What a page can show, each to whoever asks for it: the run's picture, both halves of a wipe, confidence.

A viewer's view is the viewer's own: their browser puts it together from a stream that carries the halves, so
that it changes neither a recording nor what anybody else sees. Every feed is sent as WebRTC, HLS and motion
JPEG, and costs nothing while nobody watches it.
"""

from __future__ import annotations

import logging
import tempfile
import threading
import time
from pathlib import Path

import cv2
import numpy as np

from irchroma.stream.errors import SinkError, StreamOptionError
from irchroma.stream.picture.picture import Picture
from irchroma.stream.protocols import VideoInfo
from irchroma.stream.sinks.encoding.encoders import codec_for
from irchroma.stream.sinks.encoding.shared_encoder import EncoderPool
from irchroma.stream.sinks.encoding.task import EncoderOptions
from irchroma.stream.sinks.files.hls_sink import PLAYLIST, HlsSink
from irchroma.stream.sinks.http.clips import PreRoll
from irchroma.stream.sinks.http.live_picture import LivePicture
from irchroma.stream.sinks.http.whep import WhepViewers, webrtc_works

log = logging.getLogger(__name__)

FEEDS = ("run", "pair", "confidence")
"""`run`: as the run's outputs have it; `pair`: what the sensor saw, and its color to the right of it;
`confidence`: how sure the color is."""

_WIDEST_PX = (
    2560  # of both halves together: larger ones are halved, as encoders are a viewer's, not the run's
)
_HLS_S = 1.0  # seconds of a segment: a viewer waits for three of them
_HLS_KEPT = 6
_UNASKED_S = 20.0  # HLS that nobody has asked for is encoded no more


class HlsViewers:
    """HLS for browsers without WebRTC: encoded into a folder of its own while somebody asks for it.

    Args:
        info: of the run.
        encoder: how it is encoded.
        pool: shared with the WebRTC viewers of the same picture.
    """

    def __init__(self, info: VideoInfo, encoder: EncoderOptions, pool: EncoderPool) -> None:
        self._info, self._encoder, self._pool = info, encoder, pool
        self._lock = threading.Lock()
        self._asked_s: float | None = None
        self._sink: HlsSink | None = None
        self._size = (0, 0)
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._problem = ""

    @property
    def wanted(self) -> bool:
        """Whether somebody has asked for it of late."""
        asked_s = self._asked_s
        return asked_s is not None and time.monotonic() - asked_s < _UNASKED_S

    def file(self, name: str) -> bytes | None:
        """The playlist or a segment; None where there is none (yet). Any thread; asking keeps it going.

        Raises:
            SinkError: this machine cannot encode for it.
        """
        self._asked_s = time.monotonic()
        with self._lock:
            folder, problem, self._problem = self._folder, self._problem, ""
        if problem:  # said once: the next one who asks has it tried again
            raise SinkError(problem)
        if folder is None or not (name == PLAYLIST or (name.startswith("segment") and name.endswith(".ts"))):
            return None
        try:
            return (Path(folder.name) / Path(name).name).read_bytes()
        except OSError:
            return None

    def offer(self, picture: Picture, pts_ns: int, duration_ns: int) -> None:
        """Take a picture. The sink's thread alone calls."""
        if not self.wanted:
            self.close()
            return
        try:
            if self._sink is not None and picture.size != self._size:
                self.close()
            if self._sink is None:
                self._begin(picture.size)
            if self._sink is not None:
                self._sink.write(picture, pts_ns, duration_ns)
        except SinkError as error:
            log.warning("page: %s", error)
            self.close()
            self._problem, self._asked_s = str(error), None

    def _begin(self, size: tuple[int, int]) -> None:
        # Its folder is for its owner alone.
        folder = tempfile.TemporaryDirectory(prefix="irchroma-hls-", ignore_cleanup_errors=True)
        sink = HlsSink(Path(folder.name), self._encoder, _HLS_S, _HLS_KEPT, pool=self._pool)
        try:
            sink.open(self._info, size)
        except SinkError:
            folder.cleanup()
            raise
        with self._lock:
            self._sink, self._folder, self._size, self._problem = sink, folder, size, ""
        log.info("page: HLS begins, as somebody asks for it")

    def close(self) -> None:
        """Encode no more; may be called twice."""
        with self._lock:
            sink, folder, self._sink, self._folder = self._sink, self._folder, None, None
        if sink is None or folder is None:
            return

        def end() -> None:  # the end of a stream takes its time, and the caller has pictures to send
            try:
                sink.close()
            except SinkError as error:
                log.debug("page: %s", error)
            folder.cleanup()

        threading.Thread(target=end, name="hls end", daemon=True).start()


class Feed:
    """One of the pictures that a page has.

    Args:
        kind: of `FEEDS`.

    Attributes:
        live_picture: its newest picture as JPEG.
        whep: its viewers over WebRTC; None where this machine cannot have any, and before it is opened.
        hls: the same over HLS; None before it is opened.
        pre_roll: its last seconds, and clips of it; None where it cannot be had as H.264.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.live_picture = LivePicture()
        self.whep: WhepViewers | None = None
        self.hls: HlsViewers | None = None
        self.pre_roll: PreRoll | None = None

    def open(
        self, info: VideoInfo, size: tuple[int, int], encoder: EncoderOptions, pool: EncoderPool
    ) -> None:
        """Begin, for pictures of `size` (H, W) as the run has them."""
        if self.live_picture.ended:
            self.live_picture = LivePicture()
        self.live_picture.pixel_aspect = info.pixel_aspect
        whole = size if self.kind != "pair" else (size[0], 2 * size[1])
        self.whep = WhepViewers(info, whole, encoder, pool) if webrtc_works() else None
        try:
            codec_for(encoder, ("h264",), "page", "HLS")
            self.hls = HlsViewers(info, encoder, pool)
            self.pre_roll = PreRoll(info, encoder, pool)
        except StreamOptionError:  # the run's encoder was chosen, and browsers have HLS of H.264 alone
            self.hls = self.pre_roll = None

    @property
    def wanted(self) -> bool:
        """Whether anybody watches it."""
        return (
            self.live_picture.watched_now
            or (self.whep is not None and self.whep.count > 0)
            or (self.hls is not None and self.hls.wanted)
            or (self.pre_roll is not None and self.pre_roll.recording)
        )

    def put(self, picture: Picture, pts_ns: int, duration_ns: int) -> None:
        """Take the run's picture. The sink's thread alone calls."""
        if self.kind != "run":
            if not self.wanted:
                for one in (self.hls, self.pre_roll):
                    if one is not None:
                        one.close()
                return
            taken_ns, masks = picture.taken_ns, picture.masks
            picture = _pair(picture) if self.kind == "pair" else _confidence(picture)
            picture.taken_ns, picture.masks = taken_ns, masks
        self.live_picture.put(picture)
        if self.whep is not None:
            self.whep.offer(picture, pts_ns, duration_ns)
        if self.hls is not None:
            self.hls.offer(picture, pts_ns, duration_ns)
        if self.pre_roll is not None:
            coded = self.whep is not None and self.whep.has("h264")
            coded = coded or (self.hls is not None and self.hls.wanted)
            self.pre_roll.offer(picture, pts_ns, duration_ns, coded)

    @property
    def viewers(self) -> int:
        """How many watch it, HLS as one."""
        hls = self.hls is not None and self.hls.wanted
        return self.live_picture.viewers + (self.whep.count if self.whep is not None else 0) + hls

    def close(self) -> None:
        self.live_picture.end()
        if self.whep is not None:
            self.whep.close()
        for one in (self.hls, self.pre_roll):
            if one is not None:
                one.close()


def _pair(picture: Picture) -> Picture:
    """Raw and color side by side, of one size; of a card, that is nobody's color, the card twice."""
    halves = picture.halves
    color = picture.rgb if halves is None else halves.color().rgb
    left = color if halves is None else np.asarray(cv2.cvtColor(halves.luma, cv2.COLOR_GRAY2RGB), np.uint8)
    width = color.shape[1]
    share = min(1.0, _WIDEST_PX / (2 * width))
    if share < 1 or width % 2:  # the seam lies between two pixels of chroma
        size = max(2, round(share * width / 2) * 2), max(2, round(share * color.shape[0] / 2) * 2)
        left, color = (cv2.resize(half, size, interpolation=cv2.INTER_AREA) for half in (left, color))
    return Picture(np.asarray(cv2.hconcat([left, color]), np.uint8))


def _confidence(picture: Picture) -> Picture:
    return picture if picture.halves is None else picture.halves.confidence()
