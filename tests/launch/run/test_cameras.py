"""One file for several cameras: defaults, own keys, and mistakes named where they are."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import pytest

from irchroma.launch.cli import main
from irchroma.launch.config import ConfigError
from irchroma.launch.run import cameras as cameras_config
from irchroma.launch.run.cameras import CamerasConfig, cameras_toml, has_cameras, load_cameras
from irchroma.launch.run.outputs import require_locked_alike
from irchroma.launch.run.settings.passwords import revealed
from irchroma.stream.sinks.open_sink import sink_place

TWO = """
engine = "nir"
[osd]
show = ["rate"]
[sharing]
batch_wait_ms = 0
[[cameras]]
name = "gate"
source = "rtsp://user:secret@10.0.0.5/stream"
to = ["rtsp://:8554/gate", "gate.mkv"]
[[cameras]]
source = "clip.mp4"
to = ["http://:8080"]
engine = "thermal"
[cameras.neural]
size = "best"
[cameras.reconnect]
wait_at_start = true
"""


def loaded(folder: Path, text: str, **settings: object) -> CamerasConfig:
    path = folder / "cameras.toml"
    path.write_text(text, encoding="utf-8")
    return load_cameras(path, {key.replace("__", "."): value for key, value in settings.items()})


def test_a_camera_has_the_defaults_and_what_it_says_itself(tmp_path: Path) -> None:
    config = loaded(tmp_path, TWO)
    gate, second = config.cameras
    assert [gate.name, second.name] == ["gate", "camera 2"]
    assert [gate.engine, second.engine] == ["nir", "thermal"]
    assert [gate.neural.size, second.neural.size] == ["fast", "best"]
    assert gate.osd.show == second.osd.show == ("rate",)
    assert not gate.reconnect.wait_at_start
    assert second.reconnect.wait_at_start
    assert config.sharing.batch_wait_ms == 0
    assert config.sharing.networks


def test_flags_win_over_every_camera_and_statistics_are_one_file(tmp_path: Path) -> None:
    config = loaded(tmp_path, TWO, engine="palette:ironbow", output__stats="all.json")
    assert {camera.engine for camera in config.cameras} == {"palette:ironbow"}
    assert config.stats == Path("all.json")
    assert all(camera.output.stats is None for camera in config.cameras)


def test_a_camera_may_name_its_gpu_and_the_flag_wins(tmp_path: Path) -> None:
    text = TWO.replace('engine = "thermal"', 'engine = "thermal"\ndevice = "cuda:1"')
    config = loaded(tmp_path, text)
    assert [camera.neural.network.device for camera in config.cameras] == ["auto", "cuda:1"]
    assert cameras_toml(config).count('device = "cuda:1"') == 1
    everywhere = loaded(tmp_path, text, neural__network__device="0")
    assert [camera.neural.network.device for camera in everywhere.cameras] == ["0", "0"]
    with pytest.raises(ConfigError, match=r"cameras\.camera 2\.device: unknown device 'gpu'"):
        loaded(tmp_path, text.replace("cuda:1", "gpu"))


def test_the_printed_configuration_is_whole_and_reads_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = loaded(tmp_path, TWO, output__stats="a b.json")
    printed = cameras_toml(config)
    assert printed.count("keyframe_s") == 2
    assert loaded(tmp_path, printed) == config
    (tmp_path / "cameras.toml").write_text(TWO)
    assert (
        main(["run", "--config", str(tmp_path / "cameras.toml"), "--stats", "a b.json", "--print-config"])
        == 0
    )
    shown = capsys.readouterr().out
    assert "secret@" not in shown
    monkeypatch.setenv("IRCHROMA_GATE_SOURCE_PASSWORD", "secret")
    again = loaded(tmp_path, shown)
    assert [revealed(camera) for camera in again.cameras] == list(config.cameras)


def test_a_file_without_cameras_is_a_single_run(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text('source = "a.mp4"\ncamera = "lepton"\n')
    assert not has_cameras(path)
    assert not has_cameras(None)


GOOD = '[[cameras]]\nname = "a"\nsource = "x.mp4"\nto = ["null"]\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GOOD + 'sorce = "y"\n', "unknown key cameras.a.sorce, did you mean source?"),
        (GOOD + "[cameras.osd]\nmrak = false\n", "unknown key cameras.a.osd.mrak, did you mean mark?"),
        ('engin = "nir"\n' + GOOD, "unknown key engin, did you mean engine?"),
        (GOOD + '[sharing]\nnetwork = "no"\n', "unknown key sharing.network, did you mean networks?"),
        (GOOD + "[sharing]\nbatch_wait_ms = 5000\n", "from 0 to 1000 ms"),
        (GOOD + GOOD, "there are two of the name a"),
        (GOOD + GOOD.replace('"a"', '"A"'), "there are two of the name A"),
        (GOOD.replace('"a"', '"../a"'), "'../a' is no name"),
        ("cameras = 3\n", "cameras: expected one table for each camera, written [[cameras]]"),
        ("cameras = []\n", "cameras: expected one table for each camera"),
        ('[[cameras]]\nname = "a"\nsource = "x"\n', "cameras.a: no sink"),
        ('[[cameras]]\nto = ["null"]\n', "cameras.camera 1: no source"),
        (GOOD.replace("cameras", "camera"), "several cameras are written [[cameras]]"),
    ],
)
def test_a_mistake_is_named_with_its_camera(
    text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "cameras.toml"
    path.write_text(text)
    assert main(["run", "--config", str(path), "--print-config"]) == 1
    assert message in capsys.readouterr().err


def test_a_folder_for_drawn_masks_that_is_not_there_is_said_with_its_camera(tmp_path: Path) -> None:
    there = f'[cameras.privacy]\nfile = "{tmp_path}/masks.json"\n'
    assert not (loaded(tmp_path, GOOD + there).cameras[0].privacy.file or Path()).exists()
    with pytest.raises(ConfigError, match=r"cameras\.a\.privacy .*the folder .*/nowhere does not exist"):
        loaded(tmp_path, GOOD + there.replace("masks", "nowhere/masks"))


@pytest.mark.parametrize("first", ["rtsp://viewer:${RTSP_PASSWORD}@:8554/a", "rtsp://viewer:secret@:8554/a"])
def test_streams_of_one_port_have_passwords_all_or_none(tmp_path: Path, first: str) -> None:
    """Before the run: whichever came second was given up, which of them was chance."""
    cameras = '[[cameras]]\nsource = "test:nir"\nto = ["{}"]\n[[cameras]]\nsource = "test:nir"\nto = ["{}"]\n'
    with pytest.raises(ConfigError, match="rtsp://:8554/a and rtsp://:8554/b are on one port") as caught:
        loaded(tmp_path, cameras.format(first, "rtsp://:8554/b"))
    assert "secret" not in str(caught.value)
    for second in ("rtsp://:8555/b", "rtsp://viewer:other@:8554/b"):
        assert len(loaded(tmp_path, cameras.format(first, second)).cameras) == 2


@pytest.mark.parametrize(
    ("first", "second", "refused"),
    [
        ("rtsp://v:secret@127.0.0.1/a", "rtsp://127.0.0.1:8554/b", True),  # 8554 where none is given
        ("rtsp://v:secret@:8554/a", "rtsp://:8554/cam@1", True),
        ("rtsp://:8554/a", "rtsp://:8554/cam@1", False),
        ("rtsp://v:secret@:0/a", "rtsp://:0/b", False),  # each gets a free port
    ],
)
def test_streams_of_one_port_are_known_as_by_who_opens_them(first: str, second: str, refused: bool) -> None:
    with pytest.raises(ConfigError, match="are on one port") if refused else nullcontext() as caught:
        require_locked_alike([first, second])
    assert "secret" not in str(caught)


def test_source_and_sinks_on_the_command_line_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "cameras.toml"
    path.write_text(TWO)
    assert main(["run", "other.mp4", "--config", str(path)]) == 1
    assert "their sources and sinks belong into that file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("out.mp4", "./out.mp4"),
        ("out.mp4", "file://out.mp4"),
        ("rtsp://:8554/gate", "rtsp://me:secret@0.0.0.0/gate"),
        ("hls:web/gate", "web/gate/live.m3u8"),
        ("srt://:7001", "srt://:7001?latency=80"),
        ("/dev/video9", "v4l2:/dev/video9"),
    ],
)
def test_two_cameras_cannot_write_to_one_place(one: str, other: str, tmp_path: Path) -> None:
    text = GOOD.replace("null", one) + GOOD.replace("null", other).replace('"a"', '"b"')
    with pytest.raises(ConfigError, match="cameras: both a and b write to ") as caught:
        loaded(tmp_path, text)
    assert "secret" not in str(caught.value)
    with pytest.raises(ConfigError, match=r"cameras\.a: two of the outputs are "):
        loaded(tmp_path, GOOD.replace('"null"', f'"{one}", "{other}"'))


def test_places_that_differ_are_told_apart() -> None:
    assert sink_place("null") is None
    assert sink_place("window") is None
    assert sink_place("rtsp://:0/gate") is None
    assert sink_place("rtsp://:8554/gate") != sink_place("rtsp://:8554/yard")
    assert sink_place("rtsp://:8554/gate") != sink_place("rtsp://:8555/gate")
    assert sink_place("http://:8080", "gate") != sink_place("http://:8080", "yard")
    assert sink_place("srt://far:7001") != sink_place("srt://:7001")


def test_a_camera_does_not_read_what_another_writes(tmp_path: Path) -> None:
    text = GOOD.replace("null", "b.mkv") + GOOD.replace("x.mp4", "b.mkv").replace('"a"', '"b"')
    with pytest.raises(ConfigError, match=r"cameras\.b: its source b\.mkv is what a writes to"):
        loaded(tmp_path, text)
    with pytest.raises(ConfigError, match="both the statistics and a write to"):
        loaded(tmp_path, '[output]\nstats = "s.mkv"\n' + GOOD.replace("null", "s.mkv"))


def test_the_example_is_a_configuration() -> None:
    example = Path(cameras_config.__file__).parents[1] / "cameras.toml"
    assert has_cameras(example)
    config = load_cameras(example, {})
    assert [camera.name for camera in config.cameras] == ["gate", "yard", "roof"]
    assert all(camera.reconnect.wait_at_start for camera in config.cameras)
    assert config.cameras[2].output.segment_s == 600
