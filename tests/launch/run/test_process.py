"""Log lines with and without a camera's name."""

from __future__ import annotations

import json
import logging

import pytest

from irchroma.launch.run.process import set_up
from irchroma.stream.loop.threads import feed_name


@pytest.mark.parametrize("camera", ["", "gate"])
def test_lines_carry_the_camera_where_there_are_several(
    camera: str, capsys: pytest.CaptureFixture[str]
) -> None:
    log = logging.getLogger("irchroma.stream.loop.reader")
    token = feed_name.set(camera)
    try:
        set_up("text", logging.INFO)
        log.info("source: %s", "a file")
        set_up("json", logging.INFO)
        log.warning("lost")
    finally:
        feed_name.reset(token)
    text, line = capsys.readouterr().err.splitlines()
    assert text.endswith(" I gate: source: a file" if camera else " I source: a file")
    told = json.loads(line)
    assert (told["message"], told["from"], told["level"]) == ("lost", "stream.loop.reader", "warning")
    assert told.get("camera", "") == camera
