"""A video file without decoding it: the time of each coded picture, and where decoding may begin."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from irchroma.stream.errors import SourceError, StreamError
from irchroma.stream.gstreamer import door
from irchroma.stream.gstreamer.door import EndOfStream, structure_of
from irchroma.stream.gstreamer.pipeline import Pipeline, add_branch
from irchroma.stream.media.container import picture_reader_of, read_promise
from irchroma.stream.running_time import awake_s

_WAIT_S = 30.0
_CODED = (
    "h264", "h265", "mpeg", "vp8", "vp9", "av1", "ffv", "raw", "prores", "divx", "xvid", "h263", "theora",
    "msmpeg", "wmv", "dv",
)  # fmt: skip
_PICTURES = ("video/", "image/")
_CAPS = ";".join([*(f"video/x-{name}" for name in _CODED), "video/mpeg", "image/jpeg", "image/png"])


class Packet(NamedTuple):
    """One coded picture; times in nanoseconds, -1 where there is none."""

    pts_ns: int
    key: bool
    data: NDArray[np.uint8] | None


def read_packets(path: Path, parser: str = "identity", data: bool = False) -> Iterator[Packet]:
    """Each coded picture of the first track of pictures, in the file's order.

    Args:
        path: of the file.
        parser: launch text that the coded video goes through.
        data: with its bytes.

    Raises:
        SourceError: the file cannot be read so.
    """
    launch = f"{picture_reader_of(path, 'file')} ! parsebin name=parts parts. ! capsfilter name=pictures"
    pipeline = Pipeline(
        f"{launch} ! queue ! {parser} ! appsink name=coded sync=false max-buffers=64",
        {"file": {"location": str(path)}, "pictures": {"caps": _CAPS}},
        corrections={"file": read_promise(path).corrections},
    )
    gst = door.modules()["Gst"]

    def take_rest(_parts: Any, pad: Any) -> None:
        """A file whose sound comes first would fail: nobody takes what there is until then."""
        if not structure_of(pad.get_current_caps() or pad.query_caps(None)).get_name().startswith(_PICTURES):
            add_branch(pad, pipeline.whole, "fakesink name=rest sync=false async=false", "rest")

    pipeline.signals = {"parts": {"pad-added": take_rest}}
    try:
        pipeline.start()
        coded, deadline_s = pipeline.element("coded"), awake_s() + _WAIT_S
        while True:
            sample = coded.emit("try-pull-sample", gst.SECOND // 10)
            if sample is None:
                pipeline.check()
                if coded.get_property("eos"):
                    return
                if awake_s() > deadline_s:
                    raise SourceError(f"{path}: gives no coded picture within {_WAIT_S:g} s")
                continue
            buffer = sample.get_buffer()
            pts_ns = buffer.pts
            if pts_ns == gst.CLOCK_TIME_NONE:
                pts_ns = -1
            else:
                pts_ns = sample.get_segment().to_running_time(gst.Format.TIME, pts_ns)
            if pts_ns == gst.CLOCK_TIME_NONE:  # before the file's own beginning
                pts_ns = -1
            taken = np.frombuffer(buffer.extract_dup(0, buffer.get_size()), np.uint8) if data else None
            yield Packet(pts_ns, not buffer.has_flags(gst.BufferFlags.DELTA_UNIT), taken)
            deadline_s = awake_s() + _WAIT_S  # whatever its taker has done meanwhile
    except EndOfStream:
        return
    except StreamError as error:
        if isinstance(error, SourceError):
            raise
        raise SourceError(f"{path}: {error}") from error
    finally:
        pipeline.stop()
