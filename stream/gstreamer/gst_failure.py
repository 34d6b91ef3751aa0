"""What ends a pipeline: an element's error, or its orderly end."""

from __future__ import annotations

from typing import Any

from irchroma.stream.errors import StreamError
from irchroma.stream.gstreamer.door import modules


class GstFailure(StreamError):
    """An element's error message from the bus.

    Attributes:
        domain: `resource`, `stream`, `core` or `library`.
        code: GStreamer's name of the error, lower case: `not-found`, `not-authorized`, `open-read` ...
        element: name of the element that failed.
        debug: GStreamer's own detail; may contain addresses with credentials, never print it as it is.
    """

    def __init__(
        self, text: str, domain: str = "", code: str = "", element: str = "", debug: str = ""
    ) -> None:
        super().__init__(text)
        self.domain, self.code, self.element, self.debug = domain, code, element, debug


class EndOfStream(Exception):
    """The pipeline came to its orderly end."""


def failure_of(message: Any) -> GstFailure:
    """The exception for an error message from the bus."""
    gst = modules()["Gst"]
    error, debug = message.parse_error()
    code_types = {
        "gst-resource-error-quark": ("resource", gst.ResourceError),
        "gst-stream-error-quark": ("stream", gst.StreamError),
        "gst-core-error-quark": ("core", gst.CoreError),
        "gst-library-error-quark": ("library", gst.LibraryError),
    }
    domain, codes = code_types.get(error.domain, (str(error.domain), None))
    try:
        code = codes(error.code).value_nick if codes is not None else str(error.code)
    except ValueError:
        code = str(error.code)
    return GstFailure(error.message, domain, code, message.src.get_name() if message.src else "", debug or "")
