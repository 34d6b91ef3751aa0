"""What a band's wavelength has to say about how its pictures are put together."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from irchroma.engines.recolor import night
from irchroma.engines.recolor.base_tone import ToneOptions

Plane = NDArray[np.float32]
Unsure = Literal["auto", "gray", "palette"]
CALM = (-0.10, 0.07)
"""Cb and Cr of white less those of black in the palette that stands for color that is not known: slate to
sand, paler than anything a network paints."""
DARK = 0.3
"""Local mean luma, [0, 1], below which a place is dark where dark does not mean unlit."""
DARK_SHARE = (0.45, 0.65)
"""The same of a scene that is dark where dark does not mean unlit: of 22 thermal pictures by day none has
more than 0.34 below `DARK`, of night scenes and of an underpass none less than 0.68."""


@dataclass(frozen=True, slots=True)
class BandLook:
    """What the wavelength has to say about it.

    Attributes:
        tone: what of a picture is base tone.
        unlit: local mean luma, [0, 1], where color starts and where it is full, since the unlit parts of
            an active-infrared night are no sky; None where dark does not mean unlit.
        instead: what is shown where color is not known, unless `RecolorOptions` says it.
        calm_luma: luma, [0, 1], that the palette shown then leaves gray; what is brighter is sand.
        lamplit: whether it is a night's under lamps instead, see `night.lamplit`.
        shade: luma shown, [0, 1], up to which teal is moved to green or blue, and from which on it stays, see
            `shade.out_of_teal`; None where it always stays.
        decided: whether pale beige is snow and dull green leaves, see `decided.decide`.
        unmixed: whether blue, brown and violet of no day are something else, and a sky ends where its heat
            does, see `decided.unmix` and `heat`.
        lead: how far the tone of smooth places follows the sensor's, see `lead_by_smooth_places`.
    """

    tone: ToneOptions = field(default_factory=ToneOptions)
    unlit: tuple[float, float] | None = (0.05, 0.25)
    shade: tuple[float, float] | None = None
    decided: bool = False
    unmixed: bool = False
    lead: float = 1.0
    instead: Literal["gray", "palette"] = "gray"
    calm_luma: float = 0.5
    lamplit: bool = False

    def showing(self, instead: Unsure) -> BandLook:
        """The same with what `RecolorOptions.instead` wishes for as its own."""
        return self if instead == "auto" else replace(self, instead=instead)

    def unknown(
        self, luma: Plane, instead: Unsure, said: float = 1.0
    ) -> tuple[Plane, Plane | float, Plane | float]:
        """Y', Cb and Cr of what is not known, by `RecolorOptions.instead`.

        Args:
            luma: (h, w) float32 of the sensor, [0, 1].
            instead: of `RecolorOptions`.
            said: see `Recoloring.models`.
        """
        blue, red = self.calm(instead)
        if not blue:
            return luma, 0.0, 0.0
        if self.lamplit:
            return night.lamplit(luma, said)
        above = (luma - np.float32(self.calm_luma)) * np.float32(said)
        return luma, above * np.float32(blue), above * np.float32(red)

    def calm(self, instead: Unsure) -> tuple[float, float]:
        """Cb and Cr of white less those of black where color is not known, by `RecolorOptions.instead`."""
        return CALM if (self.instead if instead == "auto" else instead) == "palette" else (0.0, 0.0)

    @property
    def dark(self) -> float:
        """Local mean luma, [0, 1], below which a place counts as dark."""
        return DARK if self.unlit is None else sum(self.unlit) / 2

    @property
    def dark_share(self) -> tuple[float, float]:
        """Share of dark places where a dark scene begins and is complete."""
        return DARK_SHARE if self.unlit is None else night.SHARE
