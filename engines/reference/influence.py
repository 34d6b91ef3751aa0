"""How far a picture of another scene changes what is shown: as a machine chose it, or as somebody wishes.

Hues are angles of Cb + i Cr: brown 139 degrees, olive 171, green 232, sky 318.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Material:
    """A kind of thing that is known by its hue.

    Attributes:
        hues: of it, degrees, from and to.
        natural: hues that it may be turned to: olive and teal leaves, violet skies are no mood.
        vivid: mean saturation beyond which it is not raised.
        turn_deg: by how much its hue is turned at most.
        factors: smallest and largest factor of saturation: paler leaves were never liked.
        tone: how far its Y' follows the picture's, and most that it is changed by, darker and lighter.
        pale: mean chroma up to which it says nothing, and from which all: plaster is no dry grass.
        even: how far its hues gather around their mean: even color was liked, blotches were not.
    """

    hues: tuple[float, float]
    natural: tuple[float, float]
    vivid: float
    turn_deg: float
    factors: tuple[float, float]
    tone: tuple[float, float, float]
    even: float = 0.5
    pale: tuple[float, float] = (-2.0, -1.0)


@dataclass(frozen=True, slots=True)
class Wishes:
    """How far a mood goes.

    Attributes:
        vegetation, sky: see `Material`.
        cold_most, warm_most: largest shift of everything by cold light, and by warm light, soon dirt.
        by_lamps: what counts of a cast that is rather a lamp's or paint.
        along: how much of a cast is believed along `DAYLIGHT_DEG`.
        usual: chroma of the grays of pictures by plain daylight, earth and stone: no cast.
        leaves_lit: share of the light that leaves take: a cast makes them olive or teal.
        lit_up_to: Y' of a frame up to which it takes none of the light, and takes all: clouds were orange.
        sky_share: how far a sky's color is the picture's sky's, in place of turned towards it.
        colorful: how far the saturation of everything follows the picture's, smallest and largest factor.
        tone: the same of the lower half's Y', and most that middle grays are changed by, darker and lighter.
        most: largest shift of anything.
    """

    vegetation: Material
    sky: Material
    cold_most: float = 0.014
    warm_most: float = 0.01
    by_lamps: float = 0.255
    along: float = 0.6
    usual: float = 0.02
    leaves_lit: float = 0.3
    lit_up_to: tuple[float, float] = (0.85, 0.65)
    sky_share: float = 0.0
    colorful: tuple[float, float, float] = (0.0, 1.0, 1.0)
    tone: tuple[float, float, float] = (0.0, 0.0, 0.0)
    most: float = 0.07


VEGETATION = Material((168.0, 260.0), (186.0, 206.0), 0.09, 20.0, (1.0, 1.5), (0.4, -0.03, 0.04))
SKY = Material((285.0, 360.0), (313.0, 320.0), 0.115, 20.0, (1.0, 1.5), (0.4, -0.05, 0.05))
CHOSEN = Wishes(VEGETATION, SKY)
"""Of viewers who saw no reference: what they turned from is left out."""
WISHED = Wishes(
    Material((168.0, 260.0), (152.0, 212.0), 0.09, 40.0, (0.6, 1.4), (0.4, -0.05, 0.04), pale=(0.04, 0.08)),
    Material((285.0, 360.0), (300.0, 320.0), 0.13, 30.0, (0.5, 1.6), (0.4, -0.06, 0.05)),
    cold_most=0.03,
    warm_most=0.03,
    by_lamps=0.8,
    leaves_lit=0.5,
    lit_up_to=(1.0, 0.9),
    sky_share=0.8,
    along=0.9,
    usual=0.012,
    colorful=(0.5, 0.7, 1.15),
    tone=(0.14, -0.025, 0.03),
    most=0.12,
)
"""By pictures of other scenes by chance near infrared loses 0.25 dB (`launch/benchmarks/exemplars_nir.json`);
more than 0.3 it may not."""
