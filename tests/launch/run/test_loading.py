"""What is loaded while a source is being opened, of what its frames need."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from irchroma.engines.network import preload
from irchroma.engines.network.network import Network, NetworkOptions, installed
from irchroma.engines.neural import adjustable
from irchroma.launch.cli import main
from irchroma.launch.run import loading
from irchroma.launch.run.automatic import Governor
from irchroma.launch.run.loading import load_ahead
from irchroma.launch.run.settings.options import RunConfig
from irchroma.stream.loop.loop import Loop

PROGRAM = dedent(
    """
    import sys
    from irchroma.launch.run.loading import load_ahead
    from irchroma.launch.run.settings.options import RunConfig

    engine, place = sys.argv[1:]
    for thread in load_ahead(RunConfig(source="test:nir", engine=engine, to=(place,))):
        thread.join()
    print(*(name for name in ("openvino", "gi", "numpy.ma", "numpy.fft") if name in sys.modules))
    """
)


def loaded(engine: str, place: str) -> list[str]:
    words = [sys.executable, "-c", PROGRAM, engine, place]
    return subprocess.run(words, capture_output=True, text=True, check=True, timeout=60).stdout.split()


@pytest.mark.gst
@pytest.mark.skipif(not installed("openvino"), reason="openvino is not installed")
def test_what_frames_will_need_is_loaded_and_nothing_else() -> None:
    assert loaded("nir", "out.mp4") == ["openvino", "gi", "numpy.ma", "numpy.fft"]
    assert loaded("palette:ironbow", "null") == ["numpy.ma", "numpy.fft"]


@pytest.mark.gst
def test_a_network_that_the_run_does_not_use_is_closed_when_its_engine_is_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Unused:
        closed = 0

        def close(self) -> None:
            self.closed += 1

    monkeypatch.setattr(preload, "_kept", {})
    network = Unused()
    preload.keep(Path("none.onnx"), NetworkOptions(cache=None), network)
    words = ["run", "test:nir?size=64x48&frames=2", "--to", "null", "--engine", "gray", "--quiet"]
    assert main(words) == 0
    assert network.closed == 1


@pytest.mark.gst
def test_x264_has_begun_before_the_first_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    coded: list[str] = []
    encode_once = loading.encode_once
    monkeypatch.setattr(
        loading, "encode_once", lambda launch, size: coded.append(launch) or encode_once(launch, size)
    )
    for place in ("null", "out.mp4"):
        for thread in load_ahead(RunConfig(source="test:nir", engine="gray", to=(place,))):
            thread.join()
        assert len(coded) == (place != "null")
    assert coded[0].startswith("x264enc ")
    assert encode_once(coded[0], (64, 64)) is None


@pytest.mark.gst
@pytest.mark.usefixtures("made_up")
@pytest.mark.skipif(not installed("openvino"), reason="openvino is not installed")
def test_the_network_of_the_last_run_is_compiled_while_the_source_opens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By exactly what the run then asks for; another source, and one that has not been seen, have none."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(preload, "_kept", {})
    asked: list[tuple[Path, NetworkOptions, tuple[int, ...]]] = []
    taken: list[bool] = []
    open_ahead, open_kept = preload.open_ahead, preload.open_kept
    monkeypatch.setattr(preload, "open_ahead", lambda *about: asked.append(about) or open_ahead(*about))

    def opened(path: Path, options: NetworkOptions) -> Network:
        kept = len(preload._kept)
        network = open_kept(path, options)
        taken.append(len(preload._kept) < kept)
        return network

    monkeypatch.setattr(adjustable, "open_kept", opened)
    on_frame = Governor.on_frame

    def stop_once_colored(self: Governor, loop: Loop) -> None:  # however long the engine takes to open
        on_frame(self, loop)
        if self.summary()["seconds"]:
            loop.stop()

    monkeypatch.setattr(Governor, "on_frame", stop_once_colored)
    words = ["run", "test:nir?size=96x64&live=1", "--to", "null", "--engine", "nir", "--quiet"]
    for again in (False, True):
        assert main(words) == 0
        assert len(asked) == again
        assert taken[-1] == again
    shape = asked[0][2]
    assert shape[:2] == (1, 1)
    assert not preload._kept
    assert main(["run", "test:nir?size=64x48&live=1", *words[2:]]) == 0
    assert len(asked) == 1
    assert not taken[-1]
