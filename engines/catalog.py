"""The engines by name: what `--engine` may say, and where each one's weights lie."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from irchroma.engines.errors import EngineOptionError
from irchroma.engines.recolor.band import BandLook
from irchroma.engines.recolor.base_tone import ToneOptions

WEIGHTS = Path(__file__).parent / "weights"
SIZES = ("fast", "best")
WORK_SIZE_PX = {"fast": 320, "best": 416, "nir": 320, "thermal": 320}
"""Long side of the picture that a network of that size (of one named by its band: for that band) sees."""


@dataclass(frozen=True, slots=True)
class Band:
    """What one pair of networks was trained for.

    Attributes:
        name: as in `--engine`.
        summary: one line for lists.
        look: how its pictures are put together.
        sizes: what may stand behind the name, the first where nothing does.
    """

    name: str
    summary: str
    look: BandLook
    sizes: tuple[str, ...] = SIZES


BANDS = {
    band.name: band
    for band in (
        Band(
            "nir",
            "near-infrared, 700 to 1000 nm, lit by the sun or by the camera",
            BandLook(
                ToneOptions(contrast=0.1, detail_floor=0.92, curve=0.5, pivot=0.37),
                shade=(0.40, 0.52),
                decided=True,
                instead="palette",
                calm_luma=0.3,
            ),
        ),
        Band(
            "thermal",
            "long-wave infrared, 8 to 14 um: the scene as by day",
            BandLook(
                ToneOptions(
                    detail_floor=1.0,
                    edge_floor=0.75,
                    curve=0.6,
                    dark_curve=0.6,
                    exponent=0.75,
                    dark_exponent=1.0,
                    detail_gain=1.12,
                    turned=1.6,
                ),
                unlit=None,
                unmixed=True,
                lamplit=True,
                instead="palette",
                lead=0.7,
            ),
        ),
    )
}


CLASSICS = {
    name: Band(name, summary, BandLook(), ("nir", "thermal"))
    for name, summary in (
        ("cheng2015", "Deep Colorization: features by hand, a small network for each pixel"),
        ("iizuka2016", "Let there be Color!: local and global features fused, classified beside"),
        ("zhang2016", "Colorful Image Colorization: 313 classes of color, rebalanced, annealed mean"),
    )
}
"""Colorizers of the literature, for comparison; `zhang2016:thermal` is the one trained on thermal pairs."""
REFERENCE = Band(
    "reference", "colors by a picture given with it, of this scene or another", BandLook(), ("thermal", "nir")
)
"""Learned color by a reference, on top of the band's own network: `reference:thermal`."""
NETWORKS = BANDS | CLASSICS | {REFERENCE.name: REFERENCE}
PALETTES = ("white-hot", "black-hot", "ironbow", "rainbow", "arctic", "lava")
"""False color by name: `palette:ironbow`."""
OTHER_WORDS = {"tir": "thermal", "lwir": "thermal"}
"""What others call it: by its letters `tir` is nearer to the other band."""
REPAIRS = {
    "partial-conv": "Liu 2018: convolutions over known pixels alone, and a mask that shrinks",
    "glcic": "Iizuka 2017: dilated convolutions, trained against a global and a local judge",
    "context-encoder": "Pathak 2016: all places of a channel connected, trained against a judge",
}
"""Networks that fill holes, either band's: what `--repair-with` and `train` may name."""


def require_network(kind: str, size: str) -> None:
    """Raises:
    EngineOptionError: there is no such network or it has no such size; the line names those that there are.
    """
    if kind not in NETWORKS:
        name, _, said = kind.partition(":")
        if name in NETWORKS and said in NETWORKS[name].sizes:
            raise EngineOptionError(
                f"engine {kind!r}: its size goes apart, as engine {name!r}, size {said!r}"
            )
        meant = "it is no network; " if name in ("gray", "palette") else _guess(kind)
        raise EngineOptionError(f"unknown engine {kind!r}: {meant}use {' or '.join(NETWORKS)}")
    sizes = NETWORKS[kind].sizes
    if size not in sizes:
        guess = _guess(f"{kind}:{size}", kind)
        raise EngineOptionError(f"engine {kind} has no size {size!r}: {guess}use {' or '.join(sizes)}")


def _guess(text: str, kind: str = "") -> str:
    """`did you mean nir? `, what else was probably meant, or nothing.

    Args:
        text: what was typed for an engine.
        kind: the engine in it, where there is that one.
    """
    kinds = {name: name for name in (*NETWORKS, "gray", "palette")}
    ahead, colon, file = text.partition(":")
    meant, ending = kind or (_near(ahead, kinds) if colon else ""), Path(text).suffix.lower()
    if not meant:
        file = text
    if ending == ".onnx":
        network = meant if meant in NETWORKS else "nir"
        return f"a network of your own is --engine {network} --weights {file}; "
    if meant == REFERENCE.name and ending:
        return f"a picture of the scene is --reference {file}; "
    if ending in (".csv", ".png"):
        return f"did you mean palette:{file}? "
    names = {name: f"palette:{name}" for name in PALETTES}
    if meant and not kind and meant in NETWORKS:  # with a kind that there is, its sizes are named anyway
        names |= {size: f"{meant}:{size}" for size in NETWORKS[meant].sizes}
    elif not meant:
        names |= kinds | {
            f"{name}:{size}": f"{name}:{size}" for name in NETWORKS for size in NETWORKS[name].sizes
        }
    found = _near(file, names) or ("" if kind else meant)
    return f"did you mean {found}? " if found else ""


def _near(text: str, names: Mapping[str, str]) -> str:
    """What the nearest of some names stands for; nothing where none is near."""
    word = text.lower()
    found = difflib.get_close_matches(OTHER_WORDS.get(word, word), names, 1, 0.6)
    return names[found[0]] if found else ""


DETAIL_GAIN = {("thermal", "best"): 1.25}
"""Least factor on the sensor's detail of a network that lost more of it than its band's other one. Of the
detail of 22 validation pictures it keeps 0.91 so, as the other one does, and 0.90 with the band's own 1.12,
for 0.11 dB more; it stays, as viewers chose the pictures that it makes."""


def look_of(kind: str, size: str) -> BandLook:
    """How a network's pictures are put together: of one named by its band as that band's.

    What a colorizer of the literature does not know is gray, as it was measured, and near-infrared luma stays
    what its sensor gave; neither its colors nor those that a reference gives are changed.
    """
    look = BANDS.get(size, NETWORKS[kind]).look
    if kind in BANDS:
        gain = DETAIL_GAIN.get((kind, size))
        return look if gain is None else replace(look, tone=replace(look.tone, detail_gain=gain))
    if kind in CLASSICS:
        tone = look.tone if look.unlit is None else ToneOptions()
        return replace(look, tone=tone, shade=None, decided=False, unmixed=False, instead="gray")
    return replace(look, shade=None, decided=False, unmixed=False)


def band_of(kind: str, size: str) -> str:
    """The band whose frames a network colors: `thermal` of `thermal:best` and of `reference:thermal`."""
    return kind if kind in BANDS else size


@dataclass(frozen=True, slots=True)
class EngineName:
    """An engine as its user wrote it, taken apart.

    Attributes:
        kind: `nir`, `thermal`, a classic colorizer's name, `reference`, `palette` or `gray`.
        variant: a network's size, a classic one's band (`nir` where it was not said), `reference`'s band
            (`thermal` likewise) or a palette's name, None where it was not said.
    """

    kind: str
    variant: str | None = None

    @property
    def neural(self) -> bool:
        """True for engines that are a network."""
        return self.kind in NETWORKS


def parse(text: str) -> EngineName:
    """`nir`, `nir:best`, `thermal:fast`, `palette:ironbow`, `gray` taken apart.

    Raises:
        EngineOptionError: there is no such engine or size; the line names those that there are.
    """
    kind, _, variant = text.partition(":")
    if kind in NETWORKS:
        if variant:
            require_network(kind, variant)
        elif kind not in BANDS:
            variant = NETWORKS[kind].sizes[0]
    elif kind == "gray":
        if variant:
            raise EngineOptionError(f"engine gray takes no variant, got {variant!r}")
    elif kind != "palette":
        auto = "" if text == "auto" else "auto, "  # what takes it has put a band in its place
        known = f"{auto}{', '.join(NETWORKS)}, palette:NAME or gray"
        raise EngineOptionError(f"unknown engine {text!r}: {_guess(text)}use {known}")
    return EngineName(kind, variant or None)


def with_band(text: str, band: str) -> str:
    """An engine's name for frames of a band: `auto` is the band's network, `zhang2016` is that one's."""
    if text == "auto":
        return band
    return f"{text}:{band}" if text == REFERENCE.name or text in CLASSICS else text


def repair_weights(name: str) -> Path:
    """The ONNX file of a network that fills holes; it may be absent."""
    return WEIGHTS / f"repair_{name.replace('-', '_')}.onnx"


def picture_side(frames: Path) -> Path:
    """Beside the engine `reference`'s graph for frames, the one that encodes the picture given."""
    return frames.with_name(f"{frames.stem}_picture.onnx")


def frames_graph(weights: Path | None) -> Path | None:
    """A network of the user's own where it looks at a picture: it has that one's graph beside it."""
    return weights if weights is not None and picture_side(weights).is_file() else None


def weights_path(kind: str, size: str) -> Path:
    """The ONNX file (float32) of one network; it may be absent."""
    return WEIGHTS / f"{kind}_{size}.onnx"
