"""The page for who shows it to others: a tour by one key, a held picture, ten seconds to take home."""

from __future__ import annotations

from pathlib import Path

import av
import pytest
from tests.browser import WIDTH, opened
from tests.launch.run.control.test_control import SOURCE, Running, running
from tests.waiting import wait_for

from irchroma.launch.run.settings.options import OutputOptions

pytestmark = pytest.mark.browser

SIZED = SOURCE.replace("160x128", "320x256")
# Where the page waits for people to have read something, the test does not.
FASTER = "((wait) => { window.setTimeout = (work, ms) => wait(work, ms > 900 ? ms / 10 : ms); })(setTimeout)"
NAME = "Synthetic near-infrared camera"  # in the names of clips, too, not the address
CAPTION = "document.getElementById('caption').textContent"


def shown(run: Running) -> tuple[str, str]:
    state = run.state()
    return state["view"], state["engine"]


def test_a_tour_shows_what_is_real_and_what_is_predicted_and_puts_back_what_was(tmp_path: Path) -> None:
    with running(source=SIZED) as run, opened(f"http://127.0.0.1:{run.port}/", tmp_path / "profile") as tab:
        tab.wait_for(f"{WIDTH} === 320")
        tab.press("t")
        for said, view, engine in (
            ("What the sensor sees", "raw", "palette:lava"),
            ("False color", "color", "palette:ironbow"),
            ("Predicted color", "color", "nir:fast"),
            ("Where it is sure", "confidence", "nir:fast"),
            ("Real on the one side", "wipe", "nir:fast"),
        ):
            tab.wait_for(f"{CAPTION}.startsWith('{said}')")
            tab.wait_for(f"own.view === '{view}'")
            wait_for(lambda engine=engine: shown(run) == ("color", engine))
            if said == "Predicted color":
                tab.screenshot(tmp_path / "tour.png")
        tab.wait_for("own.wipe > 0.5")
        tab.wait_for(f"{CAPTION} === '' && own.view === 'run'")
        wait_for(lambda: shown(run) == ("color", "palette:lava"))
        tab.wait_for("document.getElementById('tour').ariaPressed === 'false'")
        tab.press("t")
        tab.wait_for(f"{CAPTION} !== ''")
        for enough in ("t", "Escape"):
            if enough == "Escape":
                tab.press("t")
                tab.wait_for(f"{CAPTION} !== ''")
            tab.press(enough)
            tab.wait_for(f"{CAPTION} === ''")
            tab.wait_for("own.view === 'run'")
        tab.press("Escape")  # of nothing
        assert run.state()["view"] == "color"


def test_a_tour_of_a_thermal_camera_has_its_network_and_the_last_picture_stands_when_the_run_ends(
    tmp_path: Path,
) -> None:
    thermal = SIZED.replace("test:nir", "test:thermal")
    with running(source=thermal) as run, opened(f"http://127.0.0.1:{run.port}/", tmp_path / "profile") as tab:
        tab.wait_for(f"{WIDTH} === 320 && state && !film.hidden")
        assert tab.value("tour_steps().map((step) => step[1])") == [
            None,
            "palette:ironbow",
            "thermal:fast",
            None,
            None,
        ]
        run.stop()
        tab.wait_for("document.body.classList.contains('gone') && !last.hidden")
        assert tab.value("[last.width, last.height]") == [320, 256]
        tab.screenshot(tmp_path / "gone.png")


def test_a_tour_has_the_network_of_the_band_that_was_asked_for(tmp_path: Path) -> None:
    """A thermal camera's 8-bit video: who begins it with `--engine thermal` knows, the source does not."""
    with (
        running(source=SIZED, engine="thermal:fast") as run,
        opened(f"http://127.0.0.1:{run.port}/", tmp_path / "profile") as tab,
    ):
        tab.wait_for(f"{WIDTH} === 320 && state && state.engine === 'thermal:fast'")
        for engine, band in (("palette:lava", "thermal"), ("nir:fast", "nir"), ("gray", "nir")):
            run.change(engine=engine)
            tab.wait_for(f"state.engine === '{engine}'")
            assert tab.value("tour_steps()[2][1]") == f"{band}:fast"


def test_a_picture_that_is_held_during_a_tour_stays_and_the_tour_waits(tmp_path: Path) -> None:
    still = "document.getElementById('still')"
    with running(source=SIZED) as run, opened(f"http://127.0.0.1:{run.port}/", tmp_path / "profile") as tab:
        tab.wait_for(f"{WIDTH} === 320")
        tab.press("t")
        tab.wait_for(f"{CAPTION}.startsWith('What the sensor sees')")
        tab.press(" ")
        held = tab.value(f"{still}.toDataURL()")
        since = tab.value("performance.now()")
        tab.wait_for(f"performance.now() - {since} > 8000")  # a step has 5 s
        assert not tab.value(f"{still}.hidden")
        assert tab.value(f"{still}.toDataURL()") == held
        assert tab.value(f"{CAPTION}.startsWith('What the sensor sees')"), "which is what is held"
        tab.press(" ")
        tab.wait_for(f"{CAPTION}.startsWith('False color')")
        assert tab.value(f"{still}.hidden")
        tab.press(" ")
        tab.press("Escape")
        tab.wait_for("document.getElementById('tour').ariaPressed === 'false'")
        assert not tab.value(f"{still}.hidden"), "nor does the end of the tour take it"
        tab.press("2")
        assert tab.value(f"{still}.hidden")
        tab.press(" ")
        tab.press("t")  # who begins a tour wishes to see it
        assert tab.value(f"{still}.hidden")


@pytest.mark.parametrize("by", ["server", "browser"])
def test_a_picture_is_held_and_seconds_are_taken_home(tmp_path: Path, by: str) -> None:
    looking = OutputOptions(page_control=False)
    with (
        running(source=SIZED, output=looking) as run,
        opened(f"http://127.0.0.1:{run.port}/", tmp_path / "profile") as tab,
    ):
        tab.wait_for(f"{WIDTH} === 320 && !document.getElementById('film').hidden")
        tab.press(" ")
        held = "document.getElementById('still').toDataURL()"
        first = tab.value(held)
        assert tab.value("document.getElementById('freeze').textContent") == "go on"
        assert tab.value(held) == first
        tab.screenshot(tmp_path / "held.png")
        assert tab.value("document.getElementById('held').textContent").startswith("held since ")
        assert tab.value("document.getElementById('held').textContent").endswith(
            ": false color: brightness, in lava"
        )
        tab.press(" ")
        assert tab.value("document.getElementById('still').hidden")
        assert tab.value("document.getElementById('held').textContent") == ""
        tab.press(" ")
        assert not tab.value("document.getElementById('still').hidden")
        tab.press("1")  # who chooses what to see goes on
        assert tab.value("document.getElementById('still').hidden")
        assert tab.value("document.querySelectorAll('#engines button').length") == 0, "viewers change nothing"
        tab.value("recorded_s = 1")
        if by == "browser":
            tab.value("setup.ways = ['webrtc']")  # as of a server that encodes no H.264
        tab.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
        tab.press("r")
        wait_for(lambda: any(tmp_path.glob(f"{NAME}-*.mp4")) or any(tmp_path.glob(f"{NAME}-*.webm")))
        file = next(path for path in tmp_path.glob(f"{NAME}-*") if path.suffix in (".mp4", ".webm"))
        with av.open(str(file)) as video:
            frames = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
        assert len(frames) > (20 if by == "server" else 5)
        assert frames[0].shape == (256, 320, 3)
        assert frames[-1].std() > 20
