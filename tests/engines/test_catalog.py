"""Engines by name, and the gray one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from irchroma.engines import catalog
from irchroma.engines.errors import EngineOptionError
from irchroma.engines.palette.gray import GrayColorizer
from irchroma.engines.recolor.base_tone import ToneOptions


@pytest.mark.parametrize(
    ("text", "kind", "variant", "neural"),
    [
        ("nir", "nir", None, True),
        ("thermal:best", "thermal", "best", True),
        ("zhang2016", "zhang2016", "nir", True),
        ("cheng2015:nir", "cheng2015", "nir", True),
        ("reference:thermal", "reference", "thermal", True),
        ("palette:ironbow", "palette", "ironbow", False),
        ("gray", "gray", None, False),
    ],
)
def test_names_are_taken_apart(text: str, kind: str, variant: str | None, neural: bool) -> None:
    name = catalog.parse(text)
    assert (name.kind, name.variant, name.neural) == (kind, variant, neural)


@pytest.mark.parametrize(
    "text", ["", "nri", "nir:huge", "gray:dark", "NIR", "zhang2016:best", "reference:fast"]
)
def test_other_names_are_refused_with_those_that_there_are(text: str) -> None:
    with pytest.raises(EngineOptionError, match=r"use |takes no variant"):
        catalog.parse(text)


@pytest.mark.parametrize(
    ("text", "guess"),
    [
        ("nri", "did you mean nir?"),
        ("themal", "did you mean thermal?"),
        ("NIR", "did you mean nir?"),
        ("grey", "did you mean gray?"),
        ("nir;best", "did you mean nir:best?"),
        ("ironbow", "did you mean palette:ironbow?"),
        ("whitehot", "did you mean palette:white-hot?"),
        ("thermal:ironbow", "did you mean palette:ironbow?"),
        ("pallette:ironbow", "did you mean palette:ironbow?"),
        ("palete:whitehot", "did you mean palette:white-hot?"),
        ("themal:bets", "did you mean thermal:best?"),
        ("refrence:lwir", "did you mean reference:thermal?"),
        ("ir", "did you mean nir?"),
        ("tir", "did you mean thermal?"),
        ("LWIR", "did you mean thermal?"),
        ("tir:best", "did you mean thermal:best?"),
        ("mine.csv", "did you mean palette:mine.csv?"),
        ("thermal:mine.csv", "did you mean palette:mine.csv?"),
        ("nir:luts/mine.png", "did you mean palette:luts/mine.png?"),
        ("pallette:mine.csv", "did you mean palette:mine.csv?"),
        ("themal:gate.onnx", "--engine thermal --weights gate.onnx"),
        ("refrence:day.png", "--reference day.png"),
        ("nir:gate.onnx", "--engine nir --weights gate.onnx"),
        ("thermal:nets/a.onnx", "--engine thermal --weights nets/a.onnx"),
        ("gate.onnx", "--engine nir --weights gate.onnx"),
        ("reference:day.jpg", "--reference day.jpg"),
    ],
)
def test_what_was_probably_meant_is_said(text: str, guess: str) -> None:
    with pytest.raises(EngineOptionError) as refused:
        catalog.parse(text)
    assert guess in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize("text", ["xyzzy", "nir:huge", "gray:dark"])
def test_nothing_is_guessed_where_nothing_is_near(text: str) -> None:
    with pytest.raises(EngineOptionError) as refused:
        catalog.parse(text)
    assert "did you mean" not in str(refused.value)
    assert "--weights" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("auto", "thermal"),
        ("reference", "reference:thermal"),
        ("zhang2016", "zhang2016:thermal"),
        ("zhang2016:nir", "zhang2016:nir"),
        ("reference:nir", "reference:nir"),
        ("nir:best", "nir:best"),
        ("gray", "gray"),
    ],
)
def test_what_the_source_tells_completes_a_name(text: str, named: str) -> None:
    assert catalog.with_band(text, "thermal") == named


def test_a_network_s_band_is_its_name_or_its_size() -> None:
    assert catalog.band_of("thermal", "best") == "thermal"
    assert catalog.band_of("reference", "thermal") == "thermal"
    look = catalog.BANDS["thermal"].look
    assert catalog.look_of("thermal", "fast") == look
    best = catalog.look_of("thermal", "best")
    assert best == replace(look, tone=replace(look.tone, detail_gain=1.25))
    assert look.unmixed
    others = replace(look, unmixed=False)
    assert catalog.look_of("reference", "thermal") == others
    assert catalog.look_of("zhang2016", "thermal") == replace(others, instead="gray")
    # Colors of others are shown as they are, on the sensor's luma.
    classic = catalog.look_of("zhang2016", "nir")
    assert classic.shade is None
    assert not classic.decided
    assert classic.tone == ToneOptions()
    assert catalog.look_of("reference", "nir") == replace(
        catalog.BANDS["nir"].look, shade=None, decided=False
    )


def test_the_gray_engine_gives_the_luma_back_in_order() -> None:
    colorizer = GrayColorizer()
    frames = [np.full((3, 4), level, np.uint8) for level in (7, 200)]
    for frame in frames:
        colorizer.submit(frame, 0)
    for frame in frames:
        picture = colorizer.collect()
        assert picture.confidence is None
        np.testing.assert_array_equal(picture.rgb, np.repeat(frame[..., None], 3, 2))


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("nir:best", "its size goes apart, as engine 'nir', size 'best'"),
        ("zhang2016:thermal", "engine 'zhang2016', size 'thermal'"),
        ("palette:ironbow", "it is no network; use nir or thermal or"),
        ("themal", "did you mean thermal?"),
    ],
)
def test_what_is_no_network_is_not_guessed_to_be_itself(kind: str, said: str) -> None:
    with pytest.raises(EngineOptionError) as refused:
        catalog.require_network(kind, "fast")
    assert said in str(refused.value)
    assert f"did you mean {kind}?" not in str(refused.value)


def test_what_is_no_engine_is_told_of_auto() -> None:
    with pytest.raises(EngineOptionError, match="use auto, nir, thermal"):
        catalog.parse("nri2")
