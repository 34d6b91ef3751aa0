"""The element `irchroma`, as GStreamer's own programs find it, and within this process."""

import json
import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from irchroma.engines.choice import ColorizerOptions, open_colorizer
from irchroma.engines.network.network import NetworkOptions
from irchroma.engines.neural.colorizer import NeuralOptions
from irchroma.engines.recolor.recoloring import RecolorOptions
from irchroma.launch import gstreamer
from irchroma.launch.cli import main
from irchroma.launch.gstreamer.element import GIVEN, TAKEN
from irchroma.launch.gstreamer.overhead import register
from irchroma.stream.errors import StreamError
from irchroma.stream.gstreamer.pipeline import Pipeline
from irchroma.stream.sources.video_format import sample_to_pixels
from irchroma.stream.tone.tone_map import ToneMap

pytestmark = pytest.mark.gst

SIZE = (121, 161)


def gst_program(name: str, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """One of GStreamer's programs, which has never seen this element before."""
    environment = {
        key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")
    }
    environment |= {
        "GST_PLUGIN_PATH": str(Path(gstreamer.__file__).parent),
        "GST_REGISTRY": str(folder / "registry.bin"),
        "PATH": "/usr/bin:/bin",
    }
    if "PYTHONPATH" in os.environ:  # a checkout without an environment of its own
        packages = str(Path(cv2.__file__).parents[1])
        environment["PYTHONPATH"] = os.pathsep.join([os.environ["PYTHONPATH"], packages])
    return subprocess.run(
        [name, *words],
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        env=environment,
        check=False,
        timeout=100,
    )


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("gst-inspect-1.0") is None:
        pytest.skip("GStreamer's programs are not here")
    return tmp_path_factory.mktemp("gst")


def test_gst_inspect_finds_it_with_its_properties(programs: Path) -> None:
    done = gst_program("gst-inspect-1.0", programs, "irchroma")
    assert done.returncode == 0, done.stderr + done.stdout
    for word in ("Infrared colorizer", "engine  ", "runtime  ", "mode  ", "palette  ", "smoothing  "):
        assert word in done.stdout
    for name in {*TAKEN, *GIVEN}:
        assert name in done.stdout


def test_gst_launch_runs_it(programs: Path) -> None:
    target = programs / "out.png"
    line = (
        "videotestsrc num-buffers=3 ! irchroma engine=palette:ironbow ! videoconvert ! pngenc snapshot=true"
    )
    done = gst_program("gst-launch-1.0", programs, "-q", *line.split(), "!", "filesink", f"location={target}")
    assert done.returncode == 0, done.stderr
    assert target.stat().st_size > 1000


def test_gst_launch_says_what_is_wrong(programs: Path) -> None:
    line = "videotestsrc num-buffers=3 ! irchroma engine=palette:nowhere ! fakesink"
    done = gst_program("gst-launch-1.0", programs, "-q", *line.split())
    assert done.returncode != 0
    assert "nowhere" in done.stderr + done.stdout


def colored(
    middle: str, taken: str, given: str, size: tuple[int, int] = SIZE, count: int = 4
) -> list[np.ndarray]:
    """Frames as R'G'B', and before each the luma that came in."""
    register()
    caps = f"video/x-raw,format={taken},width={size[1]},height={size[0]},framerate=10/1"
    if taken in ("I420", "NV12"):
        caps += ",colorimetry=(string)bt709"
    pipeline = Pipeline(
        f"videotestsrc pattern=ball num-buffers={count} ! {caps} ! tee name=both ! queue"
        f" ! appsink name=before sync=false both. ! queue ! irchroma {middle}"
        f" ! video/x-raw,format={given} ! appsink name=after sync=false"
    )
    pipeline.start()
    found = []
    try:
        for number in range(count):
            before, after = pipeline.pull("before", 60), pipeline.pull("after", 60)
            assert before is not None
            assert after is not None
            assert after.pts_ns == before.pts_ns == number * 100_000_000
            rgb = sample_to_pixels(after)
            if given == "RGB":  # a neutral picture too
                rgb = after.data.reshape(size[0], -1)[:, : 3 * size[1]].reshape(*size, 3)
            found += [sample_to_pixels(before, color=False), rgb]
    finally:
        pipeline.stop()
    return found


@pytest.mark.parametrize("taken", TAKEN)
@pytest.mark.parametrize("given", GIVEN)
def test_every_layout_gives_what_the_engine_gives(taken: str, given: str) -> None:
    """Odd sides too; 4:2:0 halves the chroma, so of it only the luma can be as fine."""
    tone_map, engine = ToneMap(), open_colorizer("palette:rainbow")
    frames = colored("palette=rainbow", taken, given)
    for number in range(4):
        pixels, rgb = frames[2 * number : 2 * number + 2]
        luma = tone_map.apply(pixels, number * 100_000_000)
        engine.submit(luma, number * 100_000_000)
        expected = engine.collect().rgb
        assert rgb.shape == expected.shape == (*SIZE, 3)
        difference = np.abs(rgb.astype(int) - expected)
        if given == "RGB":
            assert difference.max() == 0
        else:
            assert np.median(difference) <= 2
            assert difference.mean() < 6


def test_a_network_colors_as_its_properties_say() -> None:
    options = NeuralOptions(recolor=RecolorOptions(mode="chroma"), steady=False)
    network = NetworkOptions(runtime="openvino")
    engine = open_colorizer("nir", ColorizerOptions(replace(options, network=network)))
    frames = colored("engine=nir runtime=openvino smoothing=false mode=chroma", "GRAY8", "RGB", (64, 96), 3)
    tone_map = ToneMap()
    try:
        for number in range(3):
            pixels, rgb = frames[2 * number : 2 * number + 2]
            engine.submit(tone_map.apply(pixels, number * 100_000_000), number * 100_000_000)
            assert np.abs(rgb.astype(int) - engine.collect().rgb).max() <= 1
    finally:
        engine.close()


def test_an_engine_that_is_not_there_fails_the_pipeline() -> None:
    with pytest.raises(StreamError, match="nowhere"):
        colored("engine=palette:nowhere", "GRAY8", "RGB")


def test_the_bench_measures_it(tmp_path: Path) -> None:
    words = ["--engine", "gray", "--size", "160x120", "--frames", "4", "--repeats", "2"]
    assert main(["bench", "element", *words, "--json", str(tmp_path / "element.json")]) == 0
    told = json.loads((tmp_path / "element.json").read_text(encoding="utf-8"))
    assert told["engines"]["gray"]["element_ms"]["median"] > 0
