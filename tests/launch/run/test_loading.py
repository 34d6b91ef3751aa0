"""What is loaded while a source is being opened, of what its frames need."""

from __future__ import annotations

import subprocess
import sys
from textwrap import dedent

import pytest

from irchroma.engines.network.network import installed

PROGRAM = dedent(
    """
    import sys
    from irchroma.launch.run.loading import load_ahead
    from irchroma.launch.run.options import RunConfig

    engine, place = sys.argv[1:]
    for thread in load_ahead(RunConfig(source="test:nir", engine=engine, to=(place,))):
        thread.join()
    print(*(name for name in ("openvino", "gi") if name in sys.modules))
    """
)


def loaded(engine: str, place: str) -> list[str]:
    words = [sys.executable, "-c", PROGRAM, engine, place]
    return subprocess.run(words, capture_output=True, text=True, check=True, timeout=60).stdout.split()


@pytest.mark.gst
@pytest.mark.skipif(not installed("openvino"), reason="openvino is not installed")
def test_what_frames_will_need_is_loaded_and_nothing_else() -> None:
    assert loaded("nir", "out.mp4") == ["openvino", "gi"]
    assert loaded("palette:ironbow", "null") == []
