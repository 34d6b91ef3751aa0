"""The engines of one run, opened at its start or chosen by viewers, and the references that steer them."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

from irchroma.engines import catalog
from irchroma.engines.choice import ColorizerOptions, DeviceWish, FailedRuntimes, open_colorizer
from irchroma.engines.network import preload
from irchroma.engines.network.sharing import SharedPool
from irchroma.engines.neural.adjustable import AdjustableColorizer
from irchroma.engines.neural.colorizer import NeuralColorizer
from irchroma.engines.reference.pictures import AUTO, load_references
from irchroma.launch.config import ConfigError
from irchroma.launch.run.control.run_control import RunControl
from irchroma.launch.run.evidence import EvidenceFacts
from irchroma.launch.run.loading import remember
from irchroma.launch.run.monitoring.monitor import FlickerWatch
from irchroma.launch.run.outputs import pictures_stay
from irchroma.launch.run.settings.options import RunConfig, band_of, whole_name, with_engine
from irchroma.stream.loop.loop import Loop
from irchroma.stream.protocols import Colorizer, Composer, VideoInfo
from irchroma.stream.remarks import remark
from irchroma.stream.sensor import stripes
from irchroma.stream.sinks.open_sink import public, takes_planes

if TYPE_CHECKING:
    from irchroma.launch.run.auto_reference import AutoReference
    from irchroma.launch.run.automatic import Governor
    from irchroma.launch.run.given_references import GivenReferences

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Shared:
    """What a camera has of a process with several.

    Attributes:
        name: the camera's, of its page; empty where the process has one.
        networks: gives networks that other cameras use too; None for networks of its own.
        threads: CPU threads of a network of its own, and of each encoder; 0 for their own choice.
    """

    name: str = ""
    networks: SharedPool | None = None
    threads: int = 0


ALONE = Shared()


class RunEngines:
    """Opens the engines of one run: the first one, and those that viewers choose.

    Attributes:
        references: of the run; None where it has none.
        auto: the same where the scene chooses them.
        control, facts, watch, loop: of the run, which is put together around this.
    """

    control: RunControl
    facts: EvidenceFacts
    watch: FlickerWatch
    loop: Loop

    def __init__(
        self,
        config: RunConfig,
        shared: Shared,
        governor: Governor | None,
        references: AutoReference | GivenReferences | None,
    ) -> None:
        self._config, self._shared, self._governor = config, shared, governor
        self._failed = FailedRuntimes()
        self.references = references
        self.auto = cast("AutoReference", references) if config.neural.reference == AUTO else None

    def make(self, info: VideoInfo) -> Colorizer:
        """The engine for frames as `info` says."""
        config = self._config
        band, name = band_of(config, info.counts), whole_name(config, info.counts)
        self.control.engine_is(name, band)
        if info.counts and config.tone_map.stripes:
            stripes.prepare(info.size)
        colorizer = open_engine(config, info, self._governor, self._shared, self._failed)
        if self._governor is not None and isinstance(colorizer, AdjustableColorizer):
            name = catalog.parse(name).kind if self._governor.sizes_too else name
            self.control.engine_is(name, band, governed=True)
        self._tell_lack(name)
        preload.let_go()  # another engine, or a GPU, needs none of it
        if colorizer.synthetic:
            self.watch.prepare()
        if self.auto is not None:
            self.auto.waits = not info.live
        return self._attended(colorizer)

    def choose(self, engine: str) -> Colorizer:
        """The engine that a viewer has chosen."""
        config, info = with_engine(self.control.config, engine), self.loop.reader.info
        self._tell_lack(engine)
        if engine == self.control.governed and info is not None:  # by what this machine has time for, again
            return self._attended(open_engine(config, info, self._governor, self._shared, self._failed))
        options = colorizer_options(config, self._shared, self._failed, info)
        colorizer, kind = open_colorizer(config.engine, options), catalog.parse(engine).kind
        adapts = kind in (*catalog.BANDS, catalog.REFERENCE.name) and isinstance(colorizer, NeuralColorizer)
        if adapts and info is not None and info.live and not config.fixed:
            told = "%s keeps its settings at any load: those of a run begun by --engine %s follow it"
            log.info(told, engine, kind)
        return self._attended(colorizer)

    def _tell_lack(self, engine: str) -> None:
        """Says that an engine that colors by a reference has none."""
        if self.references is None and catalog.parse(engine).kind == catalog.REFERENCE.name:
            remark(f"engine {engine} has no picture to color by: name one by --reference FILE, or auto")

    def by_day(self, composer: Composer) -> Composer:
        """Shows the references' library the camera's own color too, where it gathers that."""
        if self.auto is None or not self._config.gather_references:
            return composer
        from irchroma.launch.run.auto_reference import DayWatch

        return DayWatch(composer, self.auto)

    def by_scene(self, composer: Composer) -> Composer:
        """Shows each frame to what chooses references by the scene, where something does."""
        if self.auto is None:
            return composer
        from irchroma.launch.run.auto_reference import SceneWatch

        return SceneWatch(composer, self.auto)

    def _attended(self, colorizer: Colorizer) -> Colorizer:
        if self.references is not None:
            self.references.attend(colorizer)
        return self.facts.opened(colorizer)


def open_engine(
    config: RunConfig,
    info: VideoInfo,
    governor: Governor | None = None,
    shared: Shared = ALONE,
    failed: FailedRuntimes | None = None,
) -> Colorizer:
    """The engine of a run for frames as `info` says, compiled; the next run has its network ahead.

    Raises:
        EngineError, ConfigError: it cannot be had.
    """
    from irchroma.launch.run.automatic import fitted  # nothing that palettes need

    options = colorizer_options(config, shared, failed, info)
    engine = catalog.with_band(config.engine, band_of(config, info.counts))
    if engine != config.engine:
        gives, other = ("counts", "nir") if info.counts else ("luma", "thermal")
        other = catalog.with_band(config.engine, other)
        told = "engine %s: %s, as the source gives %s; for the other band --engine %s"
        log.info(told, config.engine, engine, gives, other)
    colorizer = open_colorizer(engine, fitted(engine, config, info, options, governor))
    if isinstance(colorizer, NeuralColorizer):
        colorizer.prepare(info.size)
    elif isinstance(colorizer, AdjustableColorizer) and colorizer.first_network is not None:
        remember(config, *colorizer.first_network)
    return colorizer


def references_of(config: RunConfig) -> AutoReference | GivenReferences | None:
    """The references of the run, which pages show; None where it has none."""
    path, strength = config.neural.reference, config.neural.reference_strength
    if path == AUTO:
        from irchroma.engines.retrieval.gathering import DayPictures
        from irchroma.engines.retrieval.library import ReferenceLibrary, default_folder
        from irchroma.launch.run.auto_reference import AutoReference, without_passers_by

        gathers = config.gather_references
        library = ReferenceLibrary(config.references or default_folder(), make=gathers)
        days = DayPictures(library, public(config.source), without_passers_by) if gathers else None
        return AutoReference(library, strength, gather=days)
    if config.gather_references:
        raise ConfigError("--gather-references is for --reference auto: add that")
    if config.references is not None:
        raise ConfigError("--references is the library of --reference auto: add that")
    if path is None:
        return None
    from irchroma.launch.run.given_references import GivenReferences

    return GivenReferences(load_references(path), strength)


def colorizer_options(
    config: RunConfig, shared: Shared, failed: FailedRuntimes | None = None, info: VideoInfo | None = None
) -> ColorizerOptions:
    """What the run asks of its engines; of frames as `info` says, where they are known."""
    neural, size = config.neural, None
    if info is not None:
        size, neural = info.size, replace(neural, beside=config.beside and info.live, ahead=not info.live)
    if shared.networks is None and not neural.network.threads:
        neural = replace(neural, network=replace(neural.network, threads=shared.threads))
    if config.palette.gain is not None and neural.celsius is None:
        neural = replace(neural, celsius=(config.palette.gain, config.palette.offset))
    planes = encoders_only(config)
    stays = planes and info is not None and pictures_stay(config)
    wish = DeviceWish(size, shared.networks, planes, stays, failed or FailedRuntimes())
    return ColorizerOptions(neural, config.palette, wish)


def encoders_only(config: RunConfig) -> bool:
    """Whether the color as it is goes to encoders and to pages alone, which take I420 as a device packs it.

    A viewer who chooses another view on a page gets it all the same, from chroma of half the size, which is
    what an encoder would have left.
    """
    encoded = all(takes_planes(text) for text in config.to)
    return encoded and config.view.view == "color" and not config.osd.show
