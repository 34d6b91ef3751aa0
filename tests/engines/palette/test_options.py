from __future__ import annotations

import pytest

from irchroma.engines.errors import EngineOptionError
from irchroma.engines.palette.options import Isotherm, PaletteOptions, palette_from_name


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("palette", PaletteOptions()),
        ("palette:lava", PaletteOptions("lava")),
        ("palette:my colors.csv", PaletteOptions("my colors.csv")),
        ("palette:slices=8", PaletteOptions("rainbow", slices=8)),
        ("palette:arctic, slices=6", PaletteOptions("arctic", slices=6)),
        ("palette:above=9000", PaletteOptions(isotherms=(Isotherm("above", low=9000),))),
        ("palette:below=12.5luma", PaletteOptions(isotherms=(Isotherm("below", high=12.5, unit="luma"),))),
        (
            "palette:white-hot,above=37C,between=30..35.5°C,below=-5c,elsewhere=palette,gain=0.04,offset=-273.15",
            PaletteOptions(
                "white-hot",
                isotherms=(
                    Isotherm("above", low=37, unit="celsius"),
                    Isotherm("between", low=30, high=35.5, unit="celsius"),
                    Isotherm("below", high=-5, unit="celsius"),
                ),
                elsewhere="palette",
                gain=0.04,
                offset=-273.15,
            ),
        ),
        ("palette:ironbow,span=8000..9000", PaletteOptions(span=(8000, 9000))),
    ],
)
def test_an_engine_name_says_what_is_wanted(text: str, expected: PaletteOptions) -> None:
    assert palette_from_name(text) == expected


def test_the_cameras_scale_may_come_from_its_profile() -> None:
    options = palette_from_name("palette:span=20..40C", gain=0.01, offset=-273.15)
    assert options.span == (20, 40)
    assert options.to_counts(20, "celsius") == pytest.approx(29315)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nir", "expected palette"),
        ("palettes:lava", "expected palette"),
        ("palette:lava,ironbow", "'ironbow'"),
        ("palette:lava,,", "expected a palette's name"),
        ("palette:slices=many", "slices=N"),
        ("palette:slices=1", "2 to 64 slices"),
        ("palette:above=hot", "for instance 37C"),
        ("palette:above=30..35", "for instance 37C"),
        ("palette:between=30", "for instance 30..35C"),
        ("palette:between=35..30", "the lower first"),
        ("palette:span=40..20", "the lower first"),
        ("palette:span=1..200luma", "counts or celsius"),
        ("palette:above=37C", "give gain and offset"),
        ("palette:span=20..40C", "give gain and offset"),
        ("palette:above=37C,gain=0", "gain > 0"),
        ("palette:above=1,elsewhere=blue", "gray or palette"),
    ],
)
def test_a_name_that_makes_no_sense_is_one_clear_line(text: str, message: str) -> None:
    with pytest.raises(EngineOptionError, match=message) as caught:
        palette_from_name(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Isotherm("above"),
        lambda: Isotherm("near", low=1),  # type: ignore[arg-type]
        lambda: Isotherm("above", low=1, unit="kelvin"),  # type: ignore[arg-type]
        lambda: Isotherm("above", low=float("nan")),
        lambda: Isotherm("above", low=1, color=(0, 0, 300)),
    ],
)
def test_an_isotherm_that_makes_no_sense_is_refused(make: object) -> None:
    with pytest.raises(EngineOptionError):
        make()  # type: ignore[operator]
