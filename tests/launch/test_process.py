"""The program as a process: closed and broken streams, Ctrl-C at any moment, what it says and exits with."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.waiting import free_port, wait_for

from irchroma.launch.cli import main
from irchroma.launch.config import load_toml
from irchroma.launch.stills.picture_files import write_rgb
from irchroma.stream.sources.file_source import FileSource

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = (sys.executable, "-m", "irchroma.launch")


def shell(script: str, folder: Path) -> int:
    """The exit code of a line of bash; IRCHROMA stands for the program."""
    line = script.replace("IRCHROMA", " ".join(PROGRAM))
    return subprocess.run(["bash", "-c", line], cwd=folder, check=False, timeout=100).returncode


@pytest.mark.gst
@pytest.mark.parametrize("closed", ["2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_closed_streams_cost_no_frame(closed: str, tmp_path: Path) -> None:
    run = f"IRCHROMA run 'test:nir?size=64x48&frames=50' --to o.mp4 --engine gray {closed}"
    assert shell(run, tmp_path) == 0
    source = FileSource(tmp_path / "o.mp4")
    source.open()
    count = 0
    while source.read(10) is not None:
        count += 1
    source.close()
    assert count == 50


def test_a_closed_error_stream_does_not_become_a_files_number(tmp_path: Path) -> None:
    """What a library writes to number 2 would land in the file that got it."""
    code = (
        "import os; from irchroma.launch.cli import occupy_standard_streams as o; o();"
        "print(os.open('file', os.O_CREAT | os.O_RDWR) > 2)"
    )
    done = subprocess.run(
        ["bash", "-c", f'{sys.executable} -c "{code}" 2>&-'],
        cwd=tmp_path,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
    )
    assert done.stdout == "True\n"


def test_a_reader_that_has_seen_enough_is_no_error(tmp_path: Path) -> None:
    for words in ("engines list", "run --help", "run a.mp4 --to b.mp4 --print-config", "--help"):
        script = f"set -o pipefail; IRCHROMA {words} 2>said | (head -c 1 >/dev/null; sleep 0.1)"
        assert shell(script, tmp_path) == 0, words
        assert (tmp_path / "said").read_text() == ""


@pytest.mark.parametrize("buffered", ["", "1"])
@pytest.mark.parametrize("words", ["--help", "run --help", "engines list", "--version"])
def test_a_reader_that_is_gone_or_a_full_disk_is_no_traceback(
    words: str, buffered: str, tmp_path: Path
) -> None:
    script = f"export PYTHONUNBUFFERED={buffered}; set -o pipefail; IRCHROMA {words} 2>said"
    assert shell(f"{script} | true", tmp_path) == 0
    assert (tmp_path / "said").read_text() == ""
    assert shell(f"{script} >/dev/full", tmp_path) == 1
    (line,) = (tmp_path / "said").read_text().splitlines()
    assert line.startswith("irchroma")
    assert line.endswith("no space left on device")


def test_results_that_nobody_can_see_are_no_success(tmp_path: Path) -> None:
    assert shell("IRCHROMA doctor --json - >&- 2>said", tmp_path) == 1
    assert (tmp_path / "said").read_text() == "irchroma doctor: --json -: standard output is closed\n"


def test_where_nothing_can_be_kept_another_place_is_named(tmp_path: Path) -> None:
    script = (
        "XDG_CACHE_HOME=/proc/none IRCHROMA calibrate speed 2>&1 | grep -- 'speed --out FILE.toml, then run'"
    )
    assert shell(script, tmp_path) == 0


def test_a_folder_that_is_gone_is_named(tmp_path: Path) -> None:
    script = "mkdir gone; cd gone; rmdir ../gone; IRCHROMA run test:nir?frames=2 --to a.mp4 2>../said"
    assert shell(script, tmp_path) == 1
    assert (tmp_path / "said").read_text() == (
        "irchroma run: the folder that this was started in is gone: go to another one (cd)\n"
    )


@pytest.mark.parametrize("when", ["numpy", "cv2"])
def test_an_interrupt_during_imports_says_nothing(when: str, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*PROGRAM, "run", "a.mp4", "--to", "b.mp4"],
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
    )
    maps = Path(f"/proc/{process.pid}/maps")
    wait_for(lambda: process.poll() is not None or f"/{when}/" in maps.read_text(encoding="utf-8"))
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert "Traceback" not in said
    assert process.returncode == (130 if not said else 1)
    assert not said or said.startswith("irchroma run: a.mp4: ")  # it was quicker than the signal


INTERRUPTED = """
import atexit, os, signal, sys
moment = sys.argv.pop(1)
def interrupt():
    os.kill(os.getpid(), signal.SIGINT)
class AtImport:
    def find_spec(self, name, path=None, target=None):
        if name == moment:
            interrupt()
if moment == "end":
    atexit.register(interrupt)
sys.meta_path.insert(0, AtImport())
from irchroma.launch.__main__ import main
sys.exit(main())
"""


@pytest.mark.parametrize("moment", ["irchroma.launch.cli", "argparse", "irchroma.launch.config", "end"])
def test_an_interrupt_before_the_command_line_and_after_it_says_nothing(moment: str) -> None:
    command = [sys.executable, "-c", INTERRUPTED, moment, "engines", "list"]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", timeout=60)
    assert done.stderr == ""
    assert done.returncode == 130


BUSY = """
import hashlib, sys
from irchroma.launch.stills.coloring import StillPictures
def long(self, pixels):
    print("busy", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)  # a minute and more in C
StillPictures.color = long
from irchroma.launch.__main__ import main
sys.exit(main())
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_picture_that_takes_long_is_not_waited_for(
    number: signal.Signals, code: int, tmp_path: Path
) -> None:
    write_rgb(tmp_path / "gray.png", np.full((64, 64, 3), 90, np.uint8))
    words = ["image", str(tmp_path / "gray.png"), str(tmp_path / "o.png"), "--engine", "gray"]
    process = subprocess.Popen(
        [sys.executable, "-c", BUSY, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "busy\n"
    process.send_signal(number)
    try:
        _, said = process.communicate(timeout=15)
    finally:
        process.kill()
    assert said == ""
    assert process.returncode == code
    assert not (tmp_path / "o.png").exists()


@pytest.mark.gst
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_run_that_is_ended_before_its_first_frame_does_not_say_that_it_did_its_work(
    number: signal.Signals, code: int, tmp_path: Path
) -> None:
    words = ["run", f"rtsp://127.0.0.1:{free_port()}/x", "--wait", "--to", str(tmp_path / "o.mp4")]
    process = subprocess.Popen([*PROGRAM, *words], stderr=subprocess.PIPE, encoding="utf-8", errors="replace")
    assert process.stderr is not None
    for line in process.stderr:
        if "trying again" in line:
            break
    process.send_signal(number)
    _, said = process.communicate(timeout=30)
    assert process.returncode == code
    assert "Traceback" not in said
    assert not (tmp_path / "o.mp4").exists()


@pytest.mark.gst
def test_a_window_without_a_display_takes_no_other_output_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    words = ["run", "test:nir?size=64x48&frames=20", "--engine", "gray", "--quiet"]
    assert main([*words, "--to", str(tmp_path / "o.mp4"), "--to", "window"]) == 1  # not all that was asked
    said = capsys.readouterr().err
    assert "there is no display here" in said
    assert "the other outputs go on without window" in said
    assert said.count("E window: there is no display") == 1
    source = FileSource(tmp_path / "o.mp4")
    source.open()
    assert sum(1 for _ in iter(lambda: source.read(10), None)) == 20
    source.close()


def written(text: str) -> Callable[[Path], list[str]]:
    def words(folder: Path) -> list[str]:
        (folder / "run.toml").write_text(text)
        return ["run", "--config", str(folder / "run.toml")]

    return words


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (written("a = " + "[" * 9000), "nested too deeply"),
        (written("x" * 2_000_000 + " = 1"), "unknown key xxx"),
        (written('source = "a"\nto = ' + "[" * 60 + "]" * 60), "to: expected a text, got [["),
        (written("repeat_s = '" + "y" * 100_000 + "'"), "repeat_s: expected a number, got 'yyy"),
        (written("to = " + "9" * 4000), "to: expected a list, got "),
    ],
)
def test_hostile_configurations_are_one_short_line(
    words: Callable[[Path], list[str]], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words(tmp_path)) == 1
    said = capsys.readouterr().err
    assert says in said
    assert said.count("\n") == 1
    assert len(said) < 1500


def test_a_printed_configuration_has_nothing_of_the_machine_that_printed_it(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["run", "a.mp4", "--to", "b.mp4", "--print-config"]) == 0
    shown = capsys.readouterr().out
    assert "# cache is this machine's own" in shown
    assert str(Path.home()) not in shown
    (tmp_path / "run.toml").write_text(shown.replace("# cache is this machine's own", 'cache = "/elsewhere"'))
    assert main(["run", "--config", str(tmp_path / "run.toml"), "--print-config"]) == 0
    assert 'cache = "/elsewhere"' in capsys.readouterr().out


def test_how_far_back_an_hls_folder_goes_is_set_in_a_configuration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, folder = tmp_path / "run.toml", tmp_path / "web"
    config.write_text("[output]\nhls_segment_s = 4.0\nhls_keep = 2\n")
    words = ["run", "test:nir?frames=2", "--to", f"hls:{folder}", "--engine", "gray", "--config", str(config)]
    assert main([*words, "--print-config"]) == 0
    assert "hls_segment_s = 4.0\nhls_keep = 2\n" in capsys.readouterr().out
    assert main(words) != 0
    assert "3 or more of them, got 4 s, 2" in capsys.readouterr().err


def test_the_standard_set_up_has_what_its_commands_need() -> None:
    """`engines inspect`, `engines list` and `calibrate precision` need onnx, a page needs its server."""
    standard = re.search(r"^extras=(\S+)$", (ROOT / "launch" / "setup").read_text(), re.M)
    assert standard is not None
    extras = load_toml(ROOT / "pyproject.toml")["project"]["optional-dependencies"]
    installed = {re.split("[<>=~]", one)[0] for name in standard[1].split(",") for one in extras[name]}
    assert installed >= {"openvino", "onnx", "onnxruntime", "scikit-image", "starlette", "uvicorn"}


def test_names_are_public_and_load_what_they_need_alone() -> None:
    code = (
        "import sys, irchroma.engines, irchroma.stream\n"
        "light = len(sys.modules)\n"
        "assert 'numpy' not in sys.modules\n"
        "from irchroma.engines import NeuralColorizer, open_colorizer, __version__\n"
        "from irchroma.stream import Frame, Loop, open_source, __version__ as other\n"
        "assert __version__ == other != ''\n"
        "assert {'NeuralOptions', '__version__'} <= set(dir(irchroma.engines))\n"
        "names = {*dir(irchroma.engines), *dir(irchroma.stream)}\n"
        "assert not {'Any', 'importlib', '_NAMES', '_PLACES'} & names\n"
        "for module in (irchroma.engines, irchroma.stream):\n"
        "    for name in dir(module):\n"
        "        getattr(module, name)\n"
        "try:\n"
        "    irchroma.engines.NeuralColoriser\n"
        "except AttributeError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, encoding="utf-8", errors="replace", check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "module 'irchroma.engines' has no attribute 'NeuralColoriser'\n"


def test_build_takes_the_same_name_as_inspect(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["palette:lava"], ["--engine", "palette:lava"]):
        assert main(["engines", "build", *words]) == 1
        assert "engine palette:lava has no network to build" in capsys.readouterr().err
    assert main(["engines", "build", "nir:fast", "--engine", "thermal"]) == 1
    assert "contradict each other" in capsys.readouterr().err


def test_overload_is_said_less_and_less_often(caplog: pytest.LogCaptureFixture) -> None:
    from irchroma.launch.run.monitoring.monitor import Monitor
    from irchroma.launch.run.settings.options import RunConfig
    from irchroma.stream.loop.fakes import MemorySink, MemorySource
    from irchroma.stream.loop.loop import Loop, LoopOptions
    from irchroma.stream.loop.writer import SinkWriter

    caplog.set_level("INFO", "irchroma")
    source = MemorySource([])
    writer = SinkWriter(MemorySink(), "rtsp://:8554/gate")
    loop = Loop(source, None, None, [writer], LoopOptions())  # type: ignore[arg-type]
    monitor = Monitor(RunConfig(), quiet=True)
    begin_s = monitor._drops_said_s
    for second in range(1, 601):
        source.drops = 5 * second
        monitor._say_drops(loop, begin_s + second)
    said = [record.getMessage() for record in caplog.records]
    assert said[0] == "frames dropped in the last 1 s: 5 before coloring"
    assert len(said) < 18  # it was 600
    monitor._say_drops(loop, begin_s + 1000)
    caplog.clear()
    writer._lost += 3  # of one output alone
    monitor._say_drops(loop, begin_s + 1060)
    assert caplog.messages == ["frames dropped in the last 60 s: 3 at rtsp://:8554/gate"]


def test_what_hangs_is_not_torn_down_and_what_was_said_is_shown() -> None:
    code = (
        "import sys, threading; from irchroma.launch.run.process import left_with\n"
        "from irchroma.stream.loop.threads import feed_thread\n"
        "import atexit; atexit.register(lambda: print('torn down'))\n"
        "feed_thread(threading.Event().wait, 'hangs').start(); print('done'); sys.exit(left_with(3))"
    )
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, timeout=100, check=False)
    assert (done.returncode, done.stdout) == (3, b"done\n")


def test_a_library_that_hangs_while_it_is_loaded_does_not_hold_up_the_end() -> None:
    code = (
        "import sys, threading; from irchroma.launch.run import process\n"
        "process._LOADED_S = 0.5\n"
        "threading.Thread(target=threading.Event().wait, name=process.LOADS).start(); print('done')\n"
        "sys.exit(process.left_with(3))"
    )
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, timeout=100, check=False)
    assert (done.returncode, done.stdout) == (3, b"done\n")


def test_a_pool_without_work_does_not_hold_up_the_end() -> None:
    code = (
        "import sys; from concurrent.futures import ThreadPoolExecutor\n"
        "from irchroma.launch.run import process\n"
        "ThreadPoolExecutor(1).submit(int).result(); sys.exit(process.left_with(3))"
    )
    done = subprocess.run([sys.executable, "-c", code], timeout=20, check=False)
    assert done.returncode == 3


@pytest.mark.gst
def test_the_demonstrations_drawn_scenes_take_the_place_of_the_last_ones(tmp_path: Path) -> None:
    words = ("test:nir?frames=8&size=64x48&live=1", "--engine", "gray", "--out", str(tmp_path))
    for _ in range(2):
        subprocess.run(
            [sys.executable, "-m", "irchroma.launch.demo", *words],
            stdout=subprocess.DEVNULL,
            timeout=100,
            check=True,
        )
    assert {file.name for file in tmp_path.iterdir()} == {"nir.mp4", "contact_sheet.png"}
