"""What goes wrong with a video in the same way wherever it comes from."""

from __future__ import annotations

import re

from irchroma.stream.errors import SourceError, SourceFormatError
from irchroma.stream.gstreamer.gst_failure import GstFailure


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
