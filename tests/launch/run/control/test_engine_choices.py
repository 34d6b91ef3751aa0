"""What a page offers of engines and views, the scale of their colors, and what it says of a recording."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tests.browser import opened
from tests.launch.run.control.test_control import running
from tests.launch.run.control.test_page import Camera
from tests.waiting import free_port, wait_for

from irchroma.engines.palette.options import Isotherm, PaletteOptions
from irchroma.launch.run.control.engine_choices import choices, color_scale, drawn_scale
from irchroma.launch.run.settings.options import OutputOptions
from irchroma.stream.view.views import ViewOptions

MARKED = "palette:white-hot,above=20000"


def test_a_palette_with_isotherms_that_a_run_begins_with_is_among_the_choices() -> None:
    plain = choices()
    (more,) = set(choices(own="palette:arctic,above=2800")) - set(plain)
    assert (more.value, more.group) == ("palette:arctic,above=2800", "palette")
    assert more.label == "arctic, above 2800"
    assert more.swatch == next(one.swatch for one in plain if one.value == "palette:arctic")
    for own in ("palette:ironbow", "nir:fast", "gray", "palette:nowhere.csv", "palette:above=3C"):
        assert choices(own=own) == plain


def test_the_scale_has_the_colors_that_the_engine_gives_values() -> None:
    options = PaletteOptions(isotherms=(Isotherm("above", low=5000),))
    told = color_scale(options, (4000.0, 6000.0), False, True, None)
    assert told is not None
    assert (told["ends"], told["unit"], told["fixed"]) == ([4000.0, 6000.0], "counts", False)
    colors = np.array([list(bytes.fromhex(color[1:])) for color in told["colors"]])
    half = len(colors) // 2
    assert np.ptp(colors[:half], axis=1).max() == 0, "gray below the isotherm"
    assert np.ptp(colors[half:], axis=1).min() > 40

    fixed = color_scale(
        PaletteOptions(span=(20, 40), span_unit="celsius", gain=0.01, offset=-273.15),
        (1, 2),
        False,
        True,
        None,
    )
    assert fixed is not None
    assert (fixed["ends"], fixed["unit"], fixed["fixed"]) == ([20, 40], "celsius", True)
    assert color_scale(options, None, False, True, None) is None, "no frame yet"
    for scale, ends in ((told, ("~ 4000", "6000 counts")), (fixed, ("20.0", "40.0 °C"))):
        drawn = drawn_scale(scale)
        assert drawn is not None
        assert (drawn.low, drawn.high) == ends
        assert "#" + bytes(drawn.colors[-1]).hex() == scale["colors"][-1]
    luma = color_scale(PaletteOptions("lava"), (10.0, 90.0), False, False, None)
    assert luma is not None
    assert luma["ends"] == []


@pytest.mark.gst
@pytest.mark.browser
def test_an_isotherm_can_be_chosen_again_has_a_scale_and_is_never_unsure(tmp_path: Path) -> None:
    source = "test:thermal?size=160x128&rate=25&live=1"
    with (
        running(source=source, engine=MARKED) as run,
        opened(f"http://127.0.0.1:{run.port}/", tmp_path / "profile") as tab,
    ):
        pressed = "document.querySelector('#engines [aria-pressed=true]').dataset.value === '{}'"
        confidence = "document.querySelector('#views [data-value=confidence]').hidden === {}"
        tab.wait_for(pressed.format(MARKED) + " && " + confidence.format("true"))
        tab.wait_for("!at('bar').hidden && at('bar').lastElementChild.textContent.endsWith(' °C')")
        tab.value("look_at('raw')")
        assert tab.value("getComputedStyle(at('bar')).display === 'none'")
        tab.press("7")
        assert tab.value("own.view === 'raw'"), "a palette has no confidence to look at"
        for engine in ("palette:lava", MARKED):
            tab.value(f"document.querySelector('#engines [data-value=\"{engine}\"]').click()")
            wait_for(lambda engine=engine: run.state()["engine"] == engine)
            tab.wait_for(pressed.format(engine))
        assert run.change(engine="thermal:fast")[0] == 200
        wait_for(lambda: run.state()["engine"] == "thermal:fast", 90)
        tab.wait_for(confidence.format("false") + " && at('bar').hidden")
        tab.press("7")
        tab.wait_for("own.view === 'confidence' && at('made').textContent.includes('teal')")
        assert run.change(engine="gray")[0] == 200
        tab.wait_for("own.view === 'run' && " + confidence.format("true"))


@pytest.mark.gst
@pytest.mark.browser
def test_an_engine_of_the_closed_panel_is_told_where_that_is_opened(tmp_path: Path) -> None:
    with (
        running(source="test:thermal?size=160x128&rate=25&live=1", engine="reference:thermal") as run,
        opened(f"http://127.0.0.1:{run.port}/", tmp_path / "profile") as tab,
    ):
        summary = "document.querySelector('#more summary').textContent === '{}'"
        tab.wait_for(summary.format("more engines: reference thermal") + " && !at('more').open")
        assert run.change(engine="palette:lava")[0] == 200
        tab.wait_for(summary.format("more engines"))


@pytest.mark.gst
@pytest.mark.browser
def test_a_page_for_looking_only_has_the_scale_and_begins_with_the_wipe_too(tmp_path: Path) -> None:
    output = OutputOptions(page_control=False)
    source = "test:thermal?size=160x128&rate=25&live=1"
    with (
        running(source=source, engine="palette:lava", output=output, view=ViewOptions("wipe", 0.3)) as run,
        opened(f"http://127.0.0.1:{run.port}/", tmp_path / "profile") as tab,
    ):
        for again in (True, False):
            tab.wait_for("own.view === 'wipe' && own.wipe === 0.3 && !view.hidden && !line.hidden")
            if again:
                tab.value("move(0.9), location.reload()")
                tab.wait_for("typeof own !== 'undefined' && own.wipe !== 0.9")
        tab.wait_for("!at('bar').hidden && at('bar').lastElementChild.textContent.endsWith(' °C')")


@pytest.mark.gst
def test_a_recording_s_time_in_the_queue_is_not_called_its_coloring() -> None:
    for more, ends, told in (("&frames=2000", True, False), ("", False, False), ("&live=1", False, True)):
        with running(source=f"test:nir?size=160x128&rate=25{more}") as run:
            figures = json.loads(run.request("GET", "/stats.json")[1])
            assert figures["ends"] is ends
            assert (figures["latency_ms"] is not None) is told
            assert figures["live"]["latency_ms"] is None or told


@pytest.mark.gst
@pytest.mark.browser
@pytest.mark.parametrize(("ends", "state"), [(True, "ended"), (False, "no server")])
def test_the_end_of_a_recording_is_no_fault_of_the_server(tmp_path: Path, ends: bool, state: str) -> None:
    camera = Camera(free_port())  # which the browser's own connections do not take meanwhile
    camera.told["ends"] = ends
    with opened(f"http://127.0.0.1:{camera.port}/gate/", tmp_path / "profile") as tab:
        tab.wait_for("typeof ending !== 'undefined' && at('state').textContent === 'live'")
        tab.wait_for(f"ending === {str(ends).lower()}")
        camera.told["since"] = object()  # an answer that is none of the end of a run
        tab.wait_for("at('state').textContent === 'no server'")
        del camera.told["since"]
        tab.wait_for("at('state').textContent === 'live'")
        camera.close()
        tab.wait_for(f"at('state').textContent === '{state}'")
        assert tab.value("at('why').textContent.startsWith('The run of this recording has ended')") is ends
        assert tab.value("document.body.matches('.gone')") is not ends
        camera = Camera(camera.port)
        try:
            tab.wait_for("at('state').textContent === 'live' && !document.body.matches('.over, .gone')")
        finally:
            camera.close()
