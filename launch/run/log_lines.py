"""Log lines on standard error: for people, or one JSON object a line."""

from __future__ import annotations

import json
import logging
import sys
import time

from irchroma.stream.loop.threads import feed_name


def _note_camera(record: logging.LogRecord) -> bool:
    """Give the record the name of the camera whose thread logs, where there are several."""
    name = feed_name.get()
    record.camera = name
    record.whose = f"{name}: " if name else ""
    return True


class JsonLines(logging.Formatter):
    """`{"time": ..., "level": ..., "from": ..., "message": ...}`."""

    def format(self, record: logging.LogRecord) -> str:
        """One record, one line."""
        line = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
            + f".{int(record.msecs):03}Z",
            "level": record.levelname.lower(),
            "from": record.name.removeprefix("irchroma."),
            "message": record.getMessage(),
        }
        if camera := getattr(record, "camera", ""):
            line["camera"] = camera
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def set_up(style: str, level: int) -> None:
    """Send the program's log lines to standard error.

    Args:
        style: `text` or `json`.
        level: of `logging`.
    """
    line = logging.StreamHandler(sys.stderr)
    line.setFormatter(
        JsonLines()
        if style == "json"
        else logging.Formatter("%(asctime)s %(levelname).1s %(whose)s%(message)s", "%H:%M:%S")
    )
    line.addFilter(_note_camera)
    root = logging.getLogger("irchroma")
    root.handlers = [line]
    root.setLevel(level)
    root.propagate = False
