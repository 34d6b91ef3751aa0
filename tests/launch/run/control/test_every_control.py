"""Everything that operators may change for all: what each does to the picture that goes out."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from tests.launch.run.control.test_control import Running, colorfulness, running
from tests.waiting import wait_for

from irchroma.engines.network.network import NetworkOptions
from irchroma.engines.neural.colorizer import NeuralOptions
from irchroma.engines.temporal.stage import TemporalOptions
from irchroma.launch.run import wiring
from irchroma.launch.run.control.run_control import CONTROLS
from irchroma.launch.run.settings.options import RunConfig
from irchroma.stream.frame import Frame
from irchroma.stream.loop.fakes import MemorySource
from irchroma.stream.sinks.http.description import described
from irchroma.stream.synthetic.camera import SyntheticCamera
from irchroma.stream.synthetic.options import SyntheticOptions
from irchroma.stream.view.privacy import PrivacyOptions

pytestmark = pytest.mark.gst

WARM, LIT = "test:thermal", "test:nir"
"""Of a scene that stands still: see `still`."""
JUMPY, NOISY = "test:thermal?jumps=0.7", "test:nir?noise=12"
_STEP_S = 1 / 15
QUICK = NeuralOptions(network=NetworkOptions(threads=1), temporal=TemporalOptions(settle_s=0.2))
CORNER = {"points": [[0, 0], [0.5, 0], [0.5, 0.5], [0, 0.5]], "style": "black"}
RANGE = [-5, 5]

# Each with what is wished for first, and then; only what that changes is looked at.
OF_PALETTES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "view": ({}, {"view": "raw"}),
    "wipe": ({"view": "wipe", "wipe": 0.2}, {"wipe": 0.9}),
    "blend": ({"view": "blend", "blend": 0.1}, {"blend": 0.9}),
    "engine": ({}, {"engine": "palette:arctic"}),
    "masks": ({}, {"masks": [CORNER]}),
    "tone": ({}, {"tone": "linear"}),
    "span": ({}, {"span": RANGE}),
    "readings": ({}, {"readings": ["rate", "engine", "spot"]}),
}
AS_IT_BEGAN = {"view": "color", "engine": "palette:ironbow", "masks": [], "tone": "auto", "readings": []}
OF_NETWORKS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "mode": ({}, {"mode": "chroma"}),
    "chroma_limit": ({}, {"chroma_limit": 2}),
}
ELSEWHERE = {"lock", "smoothing_s", "reference", "strength"}
"""Those with a test of their own below."""


def frames(address: str) -> Iterator[Frame | float]:
    """One and the same picture, 15 times a second, with jumps of the camera's gain or noise as is asked."""
    thermal = address.startswith(WARM)
    camera = SyntheticCamera(
        SyntheticOptions(band="thermal" if thermal else "nir", size=(128, 160), people=0, vehicles=0, noise=0)
    )
    pixels: Any = camera.frame(3).pixels
    random = np.random.default_rng(1)
    for number in itertools.count():
        shown = pixels
        if address == JUMPY and number // 10 % 2:
            shown = pixels + np.uint16(150)
        if address == NOISY:
            noise = random.normal(0, 12, pixels.shape)
            shown = np.clip(pixels + noise, 0, 255).astype(np.uint8)
        yield Frame(shown, round(number * _STEP_S * 1e9), arrival_ns=time.monotonic_ns())
        yield _STEP_S


@pytest.fixture(autouse=True)
def still(monkeypatch: pytest.MonkeyPatch) -> None:
    def opened(address: str, _options: object) -> MemorySource:
        return MemorySource(frames(address), live=True, rate=Fraction(15))

    monkeypatch.setattr(wiring, "open_source", opened)


def difference(one: np.ndarray, other: np.ndarray) -> float:
    """Mean over the pixels, in levels; of another size it is another picture."""
    return float(np.abs(one.astype(int) - other).mean()) if one.shape == other.shape else 255.0


def settled(run: Running, ready: Callable[[], bool] = lambda: True) -> np.ndarray:
    """The picture, when it changes no longer by itself."""
    wait_for(lambda: run.state()["changing"] is None and ready(), 90)
    shown = [run.picture()]

    def still() -> bool:
        time.sleep(0.15)
        shown.append(run.picture())
        return difference(shown[-2], shown[-1]) < 0.35

    wait_for(still)
    return shown[-1]


def test_no_control_is_without_a_test_and_each_is_described() -> None:
    assert set(CONTROLS) == {*OF_PALETTES, *OF_NETWORKS, *ELSEWHERE}
    with running(source=WARM, engine="gray") as run:
        page: Any = run.loop.writers[0]._sink
        told = described([("", page.control, True, True)], protected=False)["paths"]["/control"]["post"]
    schema = told["requestBody"]["content"]["application/json"]["schema"]
    assert set(schema["properties"]) == set(CONTROLS)


def test_each_control_of_a_palettes_run_changes_its_picture(tmp_path: Path) -> None:
    privacy = PrivacyOptions(file=tmp_path / "masks.json")
    with running(source=WARM, engine="palette:ironbow", privacy=privacy) as run:
        for key, (first, then) in OF_PALETTES.items():
            assert run.change(**{**AS_IT_BEGAN, **first})[0] == 200
            before = settled(run)
            status, told = run.change(**then)
            assert status == 200, (key, told)
            wait_for(lambda before=before: difference(run.picture(), before) > 0.7, 90)
            cv2.imwrite(str(tmp_path / f"{key}.png"), np.hstack([before, settled(run)]))


def test_each_control_of_a_networks_color_changes_its_picture(tmp_path: Path) -> None:
    with running(source=LIT, engine="nir", neural=QUICK) as run:
        for key, (_, then) in OF_NETWORKS.items():
            before = settled(run, lambda: colorfulness(run.picture()) > 4)
            assert run.change(**then)[0] == 200
            wait_for(lambda before=before: difference(run.picture(), before) > 0.7, 90)
            cv2.imwrite(str(tmp_path / f"{key}.png"), np.hstack([before, settled(run)]))
        assert colorfulness(run.picture()) < 6, "hardly any color is left"
        assert run.state()["color"] == {"mode": "chroma", "chroma_limit": 2, "smoothing_s": 0.2}


def test_color_flickers_less_the_longer_it_is_smoothed() -> None:
    def flicker(run: Running, seconds: float) -> float:
        assert run.change(smoothing_s=seconds)[0] == 200
        wait_for(
            lambda: run.state()["changing"] is None and run.state()["color"]["smoothing_s"] == seconds, 90
        )
        pictures: list[np.ndarray] = []

        def more() -> bool:  # each of another frame, after the first ones of the new engine
            picture = cv2.cvtColor(run.picture(), cv2.COLOR_BGR2LAB)[..., 1:].astype(float)
            pictures.append(cv2.GaussianBlur(picture, (0, 0), 5))
            return len(pictures) > 25

        wait_for(lambda: colorfulness(run.picture()) > 4, 90)
        wait_for(more)
        return float(np.std(pictures[10:], axis=0).mean())

    with running(source=NOISY, engine="nir", neural=QUICK, beside=False) as run:
        assert flicker(run, 0) > 1.5 * flicker(run, 6)


def test_a_tone_that_is_held_lets_a_cameras_jumps_through() -> None:
    with running(source=JUMPY, engine="gray") as run:

        def swing() -> float:
            means: list[float] = []
            until_s = time.monotonic() + 1.6
            while time.monotonic() < until_s:
                means.append(float(run.picture().mean()))
            return max(means) - min(means)

        steady = swing()
        assert run.change(lock=True)[1]["tone"]["lock"] is True
        assert swing() > steady + 8
        assert run.change(lock=False)[1]["tone"]["lock"] is False


def test_a_reference_and_its_strength_change_the_picture(tmp_path: Path) -> None:
    camera = SyntheticCamera(SyntheticOptions(band="nir", size=(128, 160), people=0, vehicles=0))
    purple = camera.frame(3).rgb.copy()
    purple[..., 1] //= 3
    file = tmp_path / "purple.png"
    cv2.imwrite(str(file), cv2.cvtColor(purple, cv2.COLOR_RGB2BGR))
    neural = replace(QUICK, reference=file)

    def greenness() -> float:
        blue, green, red = run.picture().reshape(-1, 3).mean(axis=0)
        return float(green - (blue + red) / 2)

    with running(source=LIT, engine="nir", neural=neural) as run:
        wait_for(lambda: greenness() < -10, 90)
        whole = settled(run)
        assert run.change(strength=0.2)[0] == 200
        wait_for(lambda: difference(run.picture(), whole) > 1.5)
        assert run.change(strength=1, reference="none")[0] == 200
        wait_for(lambda: greenness() > -5)


def test_a_range_in_degrees_stays_so_whatever_the_scene_and_the_emissivity() -> None:
    with running(source=WARM, engine="gray") as run:
        degrees = run.state()["tone"]
        assert (degrees["unit"], degrees["span"]) == ("celsius", None)
        assert degrees["now"][0] < degrees["now"][1]
        status, told = run.change(span=RANGE)
        assert (status, told["tone"]["span"], told["tone"]["method"]) == (200, RANGE, "auto")

        def luma_of_degrees() -> np.ndarray:
            thermometer = run.loop.writers[0]._sink.thermometer  # type: ignore[attr-defined]
            places = [(x, y) for x in (0.2, 0.5, 0.8) for y in (0.6, 0.75, 0.9)]
            picture = run.picture()
            shown = [picture[round(y * 127), round(x * 159)].mean() for x, y in places]
            warm = [thermometer.read(x, y) for x, y in places]
            expected = np.clip((np.array(warm) - RANGE[0]) / (RANGE[1] - RANGE[0]) * 255, 0, 255)
            return np.abs(np.array(shown) - expected)

        wait_for(lambda: luma_of_degrees().max() < 12)
        before = run.picture()
        page: Any = run.loop.writers[0]._sink
        page.thermometer.change({"emissivity": 0.7, "reflected_celsius": 40})
        assert run.state()["tone"]["span"] == RANGE
        wait_for(lambda: difference(run.picture(), before) > 3)
        wait_for(lambda: luma_of_degrees().max() < 12)
        run.change(lock=True)
        run.change(tone="plateau")
        told = run.state()["tone"]
        assert (told["span"], told["method"], told["lock"]) == (None, "plateau", True)
        for wrong in ([5, -5], [1], "all", [1, True], [-400, 5], {"a": 1}, [0, float("inf")]):
            assert run.change(span=wrong)[0] == 400, wrong
    own = "palette:ironbow,span=7000..7500"
    with running(source=WARM, engine=own) as run:
        status, told = run.change(span=RANGE)
        assert (status, "range of its own" in told["error"]) == (400, True)


def test_wrong_wishes_change_nothing() -> None:
    with running(source=LIT, engine="gray") as run:
        before = run.state()["tone"], run.state()["readings"], run.state()["color"]
        for wrong in (
            {"tone": "soft"},
            {"lock": "yes"},
            {"readings": ["rate", "weather"]},
            {"readings": "rate"},
            {"mode": "half"},
            {"chroma_limit": -1},
            {"chroma_limit": "none"},
            {"smoothing_s": 100},
            {"lock": True, "tone": 3},
        ):
            assert run.change(**wrong)[0] == 400, wrong
        assert (run.state()["tone"], run.state()["readings"], run.state()["color"]) == before
        assert run.state()["tone"]["unit"] == "luma"
    assert RunConfig().neural.steady
