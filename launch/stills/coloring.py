"""Colors single pictures with any engine, as `irchroma image` and `irchroma evaluate` do."""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from irchroma.engines import catalog
from irchroma.engines.choice import ColorizerOptions, check_colorizer, open_colorizer
from irchroma.engines.errors import EngineOptionError
from irchroma.engines.network.network import GPU_ONLY, NetworkOptions
from irchroma.engines.neural.colorizer import NeuralColorizer, NeuralOptions
from irchroma.engines.recolor.band import Unsure
from irchroma.engines.recolor.recoloring import Mode, RecolorOptions
from irchroma.engines.reference.pictures import AUTO
from irchroma.engines.retrieval import features
from irchroma.engines.retrieval.library import ReferenceLibrary, default_folder
from irchroma.launch.stills.picture_files import read_pair
from irchroma.stream.protocols import Colored, Colorizer
from irchroma.stream.tone.tone_map import ToneMap


@dataclass(frozen=True, slots=True)
class StillOptions:
    """How single pictures are colored.

    Attributes:
        engine: as in `catalog.parse`, or `auto`: `thermal` for 16-bit counts and `nir` for luma.
        size: network size where the engine's name does not say it.
        runtime: see `NetworkOptions`.
        device: `cpu`, or a GPU as `0` or `cuda:0`, which computes in float16, `quick` or not; `auto` for the
            CPU, whose float32 numbers are the same everywhere, unless the runtime is a GPU's.
        mode: see `RecolorOptions`.
        chroma_limit: see `RecolorOptions`.
        unsure: `instead` of `RecolorOptions`.
        work_size_px: see `NeuralOptions`.
        threads: see `NetworkOptions`.
        quick: networks in bf16 where the CPU has it, as live runs do; float32 otherwise.
        reference: see `NeuralOptions`; with `pictures.AUTO` every picture gets what suits it of a library.
        reference_strength: see `NeuralOptions`.
        references: that library; None for the user's own.
        weights: see `NeuralOptions`.
    """

    engine: str = "auto"
    size: str = "best"
    runtime: str = "auto"
    device: str = "auto"
    mode: Mode = "full"
    chroma_limit: float | None = None
    unsure: Unsure = "auto"
    work_size_px: int = 0
    threads: int = 0
    quick: bool = False
    reference: Path | None = None
    reference_strength: float = 1.0
    references: Path | None = None
    weights: Path | None = None


def add_engine_arguments(parser: argparse.ArgumentParser, engine: str) -> None:
    """The options that say how a picture is colored; `engine` is the default."""
    add = parser.add_argument
    add("--engine", default=engine, metavar="E", help=f"nir, zhang2016, palette:NAME .. (default {engine})")
    add("--size", choices=catalog.SIZES, default="best", help="network size (default best)")
    add("--mode", choices=("full", "chroma"), default="full", help="chroma keeps the input's luma exactly")
    add(
        "--runtime",
        default="auto",
        metavar="R",
        help="auto, openvino, onnxruntime, torch; tensorrt, tensorrt-rtx",
    )
    add("--device", default="auto", metavar="D", help="cpu, or a GPU (0, cuda:1 ...) for torch and tensorrt")
    add(
        "--unsure",
        choices=("auto", "gray", "palette"),
        default="auto",
        help="where color is not known: gray, or a calm palette, as thermal has it (auto)",
    )
    add("--chroma-limit", type=float, metavar="X", help="cap of the color, 0 to 255 levels of CbCr")
    add("--work-size", type=int, default=0, metavar="PX", help="long side of what the network sees")
    add("--threads", type=int, default=0, metavar="N", help="CPU threads of the network")
    add("--weights", type=Path, metavar="FILE.onnx", help="a network of your own: train's, calibrate's")
    add("--quick", action="store_true", help="bf16 where the CPU has it, as live runs do")
    add(
        "--reference",
        type=Path,
        metavar="FILE|auto",
        help="a color picture of this scene, or for a fixed camera calibrate reference's set; by --engine"
        " reference any picture, for its mood; auto: of a library, without a night's tone",
    )
    add(
        "--references",
        type=Path,
        metavar="DIR",
        help="the library for --reference auto, made by irchroma references add; your own",
    )
    add(
        "--reference-strength",
        type=float,
        default=1.0,
        metavar="X",
        help="how much it counts, 0 to 2 (1): color and a named night's tone fade below 1",
    )


def options_from(args: argparse.Namespace) -> StillOptions:
    """The options of `add_engine_arguments`.

    Raises:
        EngineOptionError: --references without --reference auto.
    """
    if args.references is not None and args.reference != AUTO:
        raise EngineOptionError("--references is the library of --reference auto: add that")
    return StillOptions(
        engine=args.engine,
        size=args.size,
        runtime=args.runtime,
        device=args.device,
        mode=args.mode,
        chroma_limit=args.chroma_limit,
        unsure=args.unsure,
        work_size_px=args.work_size,
        threads=args.threads,
        quick=args.quick,
        weights=args.weights,
        reference=args.reference,
        reference_strength=args.reference_strength,
        references=args.references,
    )


@dataclass(frozen=True, slots=True)
class Timed:
    """A colored picture and what it cost.

    Attributes:
        rgb: (H, W, 3) uint8 R'G'B'.
        confidence: (h, w) uint8 at work size, 255 = sure; None of engines that guess nothing.
        milliseconds: from luma to color.
    """

    rgb: NDArray[np.uint8]
    confidence: NDArray[np.uint8] | None
    milliseconds: float


class StillPictures:
    """Colors pictures one by one; engines are loaded when the first picture needs them."""

    def __init__(self, options: StillOptions) -> None:
        """Check the options.

        Raises:
            EngineOptionError: one of them makes no sense.
        """
        self.options = options
        check_colorizer(options.engine, _colorizer_options(options))
        self._library: ReferenceLibrary | None = None
        if options.reference == AUTO:
            self._library = ReferenceLibrary(options.references or default_folder())
            self._library.search(np.zeros((64, 64), np.uint8))  # what is missing is said at once
        self.unlike = 0
        """Pictures that nothing in the library is alike enough to."""
        self._engines: dict[str, Colorizer] = {}
        self._warm: set[tuple[str, tuple[int, ...]]] = set()

    def __enter__(self) -> StillPictures:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def color(self, pixels: NDArray[np.uint8] | NDArray[np.uint16]) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 R'G'B' of (H, W) uint8 luma or uint16 counts; counts are tone mapped.

        Raises:
            EngineError: the engine cannot be loaded or fails.
        """
        return self.picture(pixels).rgb

    def picture(self, pixels: NDArray[np.uint8] | NDArray[np.uint16]) -> Colored:
        """The same with what the engine says of it besides."""
        counts = pixels if pixels.dtype == np.uint16 else None
        engine = self._engine("thermal" if counts is not None else "nir")
        luma = luma_of(pixels)
        engine.reset()
        if self._library is not None and isinstance(engine, NeuralColorizer):
            found = self._library.search(luma, 1)
            alike = [self._library.load(match.entry) for match in found if match.score >= features.ALIKE]
            self.unlike += not alike
            engine.exchange_references(alike)
        engine.submit(luma, 0, counts=counts)  # type: ignore[arg-type]
        return engine.collect()

    def color_timed(self, pixels: NDArray[np.uint8] | NDArray[np.uint16]) -> Timed:
        """Color it and measure how long that takes, without preparations for a new size."""
        engine = self._engine("thermal" if pixels.dtype == np.uint16 else "nir")
        key = (engine.name, pixels.shape)
        if key not in self._warm:
            self.color(pixels)
            self._warm.add(key)
        start = time.perf_counter()
        picture = self.picture(pixels)
        rgb = picture.rgb  # a GPU's picture comes back only now
        return Timed(rgb, picture.confidence, (time.perf_counter() - start) * 1e3)

    @property
    def notes(self) -> list[str]:
        """What is to be said of the options, a line each."""
        alone = (
            self.options.engine.partition(":")[0] == catalog.REFERENCE.name and self.options.reference is None
        )
        return ["no --reference: engine reference colors as its band's fast network does"] if alone else []

    @property
    def names(self) -> list[str]:
        """What the engines in use call themselves."""
        return [engine.name for engine in self._engines.values()]

    def close(self) -> None:
        """Let go of the engines; may be called twice."""
        for engine in self._engines.values():
            engine.close()
        self._engines.clear()

    def _engine(self, band: str) -> Colorizer:
        text = catalog.with_band(self.options.engine, band)
        engine = self._engines.get(text)
        if engine is None:
            engine = self._engines[text] = open_colorizer(text, _colorizer_options(self.options))
        return engine


def _colorizer_options(options: StillOptions) -> ColorizerOptions:
    device = options.device
    if device == "auto" and options.runtime not in GPU_ONLY:
        device = "cpu"
    network = NetworkOptions(options.runtime, options.threads, exact=not options.quick, device=device)
    return ColorizerOptions(
        NeuralOptions(
            size=options.size,
            work_size_px=options.work_size_px,
            steady=False,
            reference=options.reference,
            reference_strength=options.reference_strength,
            weights=options.weights,
            recolor=RecolorOptions(options.mode, options.chroma_limit, instead=options.unsure),
            network=network,
        )
    )


def read_luma_pair(pair: tuple[Path, Path]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The luma of an infrared picture and its true color, of (infrared, color) as `list_pairs` gives them.

    Raises:
        PictureError: one cannot be read, or their sizes differ.
    """
    pixels, truth = read_pair(*pair)
    return luma_of(pixels), truth


def luma_of(pixels: NDArray[np.uint8] | NDArray[np.uint16]) -> NDArray[np.uint8]:
    """(H, W) uint8 luma: itself, or counts through a tone map of their own."""
    return ToneMap().apply(pixels, 0)
