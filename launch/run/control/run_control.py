"""Changes a run while it goes on: what the page's buttons do."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, get_args

from irchroma.engines import catalog
from irchroma.engines.errors import EngineError
from irchroma.engines.neural.given_picture import STRONGEST
from irchroma.launch.config import ConfigError, nearest, shortened
from irchroma.launch.run.control.engine_choices import choices, color_scale, drawn_scale, palette_options
from irchroma.launch.run.settings.options import RunConfig, whole_name
from irchroma.stream.loop.loop import Loop
from irchroma.stream.protocols import Colorizer
from irchroma.stream.sensor.thermometer import Thermometer
from irchroma.stream.tone.options import Method
from irchroma.stream.view.composer import ViewComposer
from irchroma.stream.view.osd import READINGS, ColorScale
from irchroma.stream.view.privacy import PrivacyMasks
from irchroma.stream.view.views import VIEWS, ViewOptions

if TYPE_CHECKING:
    from irchroma.launch.run.given_references import RunReferences

log = logging.getLogger(__name__)

_ADJUSTED = ("tone", "lock", "span", "readings", "mode", "chroma_limit", "smoothing_s")
CONTROLS = ("view", "wipe", "blend", "engine", "reference", "strength", "masks", *_ADJUSTED)
"""What a page may change of a run, as `RunControl.change` takes it."""
_LONGEST_SMOOTHING_S, _FURTHEST = 60, 1e6


class RunControl:
    """The `LiveControl` of one run.

    What is changed is the run's own picture: every sink of the run shows it, recorded files too.

    Attributes:
        loop: the run, as soon as there is one.
        config: of the run, as it is now.
        reread: reads the configuration again and goes on with it; None without a file.
        thermometer: what a range in degrees goes by; None where counts have no scale.
        governed: the engine whose settings follow what this machine has time for, a band alone where its
            size does too; empty for none.
    """

    def __init__(
        self,
        config: RunConfig,
        composer: ViewComposer,
        make: Callable[[str], Colorizer],
        references: RunReferences | None = None,
        privacy: PrivacyMasks | None = None,
    ) -> None:
        """Begin with what the configuration says.

        Args:
            config: of the run.
            composer: whose view is changed.
            make: opens an engine by its name.
            references: of the run, as told here; None where it has none.
            privacy: the run's masks; None where there can be none.
        """
        self._references, self._privacy = references, privacy
        self._composer, self._make = composer, make
        self.config, self._engine = config, config.engine
        self._chosen = False  # on the page: the configuration's no longer counts
        self.governed = ""
        self._band = ""
        self.reread: Callable[[], list[str]] | None = None
        self.thermometer: Thermometer | None = None
        self._range: tuple[float, float] | None = None  # in degrees, as it was asked for
        self._changing: str | None = None
        self._choices = 0
        self._error: str | None = None
        self.loop: Loop | None = None
        self._own = config.engine if config.engine.startswith("palette:") else ""
        self.engines = choices(own=self._own, palette=config.palette)

    def state(self) -> dict[str, Any]:
        view = self._composer.view
        guarded = self.loop.guarded if self.loop is not None else None
        return {
            "view": view.view,
            "wipe": view.wipe,
            "blend": view.blend,
            "engine": self._engine,
            "band": self._band,
            "changing": self._changing,
            "error": self._error,
            "latency_ms": self.latency_ms,
            "reason": guarded.reason if guarded is not None else None,
            "reference": self._references.state() if self._references is not None else None,
            "privacy": self._privacy.state() if self._privacy is not None else None,
            "tone": self._tone(),
            "readings": list(self.config.osd.show),
            "color": {
                "mode": self.config.neural.recolor.mode,
                "chroma_limit": self.config.neural.recolor.chroma_limit,
                "smoothing_s": self.config.neural.temporal.settle_s if self.config.neural.steady else 0.0,
            },
        }

    @property
    def _counts(self) -> bool:
        info = self.loop.reader.info if self.loop is not None else None
        return info is not None and info.counts

    def _tone(self) -> dict[str, Any]:
        """How sensor values become luma, values in `unit`."""
        tone, loop, warm = self.config.tone_map, self.loop, self.thermometer
        now = loop.tone_map.limits if loop is not None else None

        def told(span: tuple[float, float] | None) -> list[float] | None:
            if span is None:
                return None
            return [round(warm.celsius_of(value) if warm is not None else value, 2) for value in span]

        return {
            "method": tone.method,
            "methods": [
                name for name in get_args(Method) if not self._counts or name not in ("none", "lift")
            ],
            "lock": loop is not None and loop.tone_map.locked,
            "span": told(tone.span) if self._range is None else list(self._range),
            "now": told(now),
            "unit": "celsius" if warm is not None else "counts" if self._counts else "luma",
        }

    @property
    def ends(self) -> bool:
        """Whether the source is a recording, which comes to its end."""
        info = self.loop.reader.info if self.loop is not None else None
        return info is not None and not info.live and not info.endless

    @property
    def latency_ms(self) -> float | None:
        """From a frame's arrival to its picture; None of a recording."""
        return None if self.is_recording else round(self._composer.latency_ms, 1)

    @property
    def is_recording(self) -> bool:
        """Whether frames wait for their time in the queue, which says nothing of the work."""
        info = self.loop.reader.info if self.loop is not None else None
        return info is not None and not info.live

    @property
    def scale(self) -> dict[str, Any] | None:
        """Which color stands for which value, of palettes and of a gray picture whose range is fixed.

        None of others, or `colors` from dark to bright, as CSS has them, `ends`, the values of the first and
        the last in `unit`, none where that says nothing, and `fixed`, whether they stay.
        """
        loop, span = self.loop, self.config.tone_map.span
        name = "palette:white-hot" if self._engine == "gray" and span is not None else self._engine
        if loop is None or loop.reader.info is None or not name.startswith("palette"):
            return None
        try:
            options = palette_options(name, self.config.palette)
            limits = loop.tone_map.limits
            return color_scale(options, limits, span is not None, self._counts, self.thermometer)
        except (EngineError, OSError):  # a palette whose file has gone
            return None

    def color_scale(self) -> ColorScale | None:
        """The same to be drawn on the picture."""
        return drawn_scale(self.scale)

    def thumbnail(self, key: str) -> bytes | None:
        return self._references.thumbnail(key) if self._references is not None else None

    def engine_is(self, engine: str, band: str, governed: bool = False) -> None:
        """What `auto` turned out to be, the source's band, and whether its settings follow the machine."""
        self._band = band
        self._is(engine)
        self.governed = engine if governed else ""
        self.engines = choices(self.governed, self._own, self.config.palette)

    def _is(self, engine: str) -> None:
        """It colors now. A network is of the band that whoever asked for it knows the source to be of."""
        self._engine = engine
        kind = catalog.parse(engine).kind
        self._band = kind if kind in catalog.BANDS else self._band

    def _asked(self, config: RunConfig) -> str:
        """The configuration's engine by the name that it has here."""
        whole = whole_name(config, self._counts)
        own = catalog.parse(self.governed) if self.governed else None
        alone = own is not None and own.variant is None and catalog.parse(whole).kind == own.kind
        return self.governed if alone and catalog.parse(config.engine).variant is None else whole

    def change(self, wanted: dict[str, Any]) -> None:
        for key in wanted:
            if key not in CONTROLS:
                raise ConfigError(f"unknown key {shortened(key)}{nearest(key, list(CONTROLS))}")
        view = self._view(wanted)
        engine = wanted.get("engine")
        known = [choice.value for choice in self.engines]
        if engine is not None and engine not in known:
            raise ConfigError(
                f"there is no engine {shortened(repr(engine))} to choose{nearest(str(engine), known)}"
            )
        masks = None
        if "masks" in wanted:
            if self._privacy is None:
                raise ConfigError("this run has no privacy masks: begin it with --privacy FILE.json")
            masks = self._privacy.check(wanted["masks"])
        adjusted = self._adjusted(wanted)
        if {"reference", "strength"} & set(wanted):
            self._change_reference(wanted)
        if masks is not None and self._privacy is not None:
            self._privacy.draw(masks)
            log.info("privacy: %d masks were drawn on the page", len(masks))
        self._composer.view = view
        if "lock" in wanted and self.loop is not None:
            (self.loop.tone_map.lock if wanted["lock"] else self.loop.tone_map.unlock)()
        if adjusted:
            log.info("the page: %s", ", ".join(f"{key} = {value}" for key, value in adjusted.items()))
            self._range = _pair(wanted["span"]) if wanted.get("span") is not None else None
            self.take(adjusted)
        if engine is not None and engine != (self._changing or self._engine):
            self._change_engine(str(engine))
            self._chosen = True

    def _adjusted(self, wanted: dict[str, Any]) -> dict[str, Any]:
        """Values of dotted keys that are wished for. ConfigError: one of them makes no sense."""
        loop, changes = self.loop, dict[str, Any]()
        if not set(_ADJUSTED) & set(wanted):
            return changes
        if loop is None or loop.reader.info is None:
            raise ConfigError("the run has not begun yet")
        if not isinstance(wanted.get("lock", False), bool):
            raise ConfigError(f"lock: expected true or false, got {shortened(repr(wanted['lock']))}")
        if "tone" in wanted:
            if wanted["tone"] not in self._tone()["methods"]:
                known = ", ".join(self._tone()["methods"])
                raise ConfigError(f"tone: expected one of {known}, got {shortened(repr(wanted['tone']))}")
            changes |= {"tone_map.method": wanted["tone"], "tone_map.span": None}
        if "span" in wanted:  # a straight line takes the place of every method
            changes |= {"tone_map.method": "auto", "tone_map.span": self._span(wanted["span"])}
        if "readings" in wanted:
            shown = wanted["readings"]
            if not isinstance(shown, list) or any(one not in READINGS for one in shown):
                raise ConfigError(f"readings: expected a list of {', '.join(READINGS)}")
            changes["osd.show"] = tuple(shown)
        if "mode" in wanted:
            if wanted["mode"] not in ("full", "chroma"):
                raise ConfigError(f"mode: expected full or chroma, got {shortened(repr(wanted['mode']))}")
            changes["neural.recolor.mode"] = wanted["mode"]
        if "chroma_limit" in wanted:
            none = wanted["chroma_limit"] is None
            changes["neural.recolor.chroma_limit"] = None if none else _share("chroma_limit", wanted, 0, 255)
        if "smoothing_s" in wanted:
            seconds = _share("smoothing_s", wanted, 0, _LONGEST_SMOOTHING_S)
            changes["neural.steady"] = seconds > 0
            if seconds:
                changes["neural.temporal.settle_s"] = seconds
        return changes

    def _span(self, wanted: Any) -> tuple[float, float] | None:
        """A range as sensor values."""
        if wanted is None:
            return None
        low, high = _pair(wanted)
        asked = self.config
        if self._engine == self._asked(asked) and ("span=" in asked.engine or asked.palette.span):
            raise ConfigError("span: this palette has a range of its own: choose another palette first")
        if self.thermometer is None:
            return low, high
        if low <= -273.15:
            raise ConfigError(f"span: expected degrees Celsius, got {low:g}")
        return self.thermometer.counts_of(low), self.thermometer.counts_of(high)

    def scale_changed(self) -> None:
        """A range that is given in degrees stays so where the thermometer tells others of the same counts."""
        if self._range is not None:
            self.take({"tone_map.span": self._span(self._range)})

    def reload(self) -> list[str]:
        if self.reread is None:
            raise ConfigError("reload: this run was begun without --config: there is nothing to read again")
        return self.reread()

    def take(self, changes: dict[str, Any]) -> None:
        """Go on with these values of dotted keys, which `Reread` has found to be allowed.

        Raises:
            ConfigError: the run has not begun.
        """
        loop = self.loop
        if loop is None:
            raise ConfigError("reload: the run has not begun yet")
        config = self.config
        for key, value in changes.items():
            config = _with(config, key.split("."), value)
        self.config = config
        parts = {key.partition(".")[0] for key in changes}
        if "view" in parts:
            self._composer.view = config.view
        if "osd" in parts:
            self._composer.use(config.osd)
        if "privacy" in parts and self._privacy is not None:
            self._privacy.fix(config.privacy.masks)
        if {"tone_map", "color_camera", "repeat_s"} & parts:
            loop.use(config.tone_map, config.color_camera, config.repeat_s)
        now = self._changing or self._engine
        if parts & {"engine", "palette"} or ("neural" in parts and catalog.parse(now).neural):
            engine = now if self._chosen and "engine" not in parts else self._asked(config)
            self._chosen = self._chosen and "engine" not in parts
            self._change_engine(engine, anew=True)  # with other options the same one is another

    def _view(self, wanted: dict[str, Any]) -> ViewOptions:
        now = self._composer.view
        name = wanted.get("view", now.view)
        if name not in VIEWS:
            raise ConfigError(f"view: expected one of {', '.join(VIEWS)}, got {shortened(repr(name))}")
        return ViewOptions(name, _share("wipe", wanted, now.wipe), _share("blend", wanted, now.blend))

    def _change_reference(self, wanted: dict[str, Any]) -> None:
        if self._references is None:
            raise ConfigError("this run has no reference: begin it with --reference FILE or auto")
        strength = _share("strength", wanted, 1.0, int(STRONGEST))
        if "reference" in wanted:
            self._references.choose(wanted["reference"])
        if "strength" in wanted:
            self._references.strengthen(strength)

    def _change_engine(self, engine: str, anew: bool = False) -> None:
        guarded = self.loop.guarded if self.loop is not None else None
        if guarded is None:
            raise ConfigError("the run has not begun yet")
        self._changing, self._error = engine, None
        self._choices += 1
        number = self._choices
        if engine == self._engine and not anew:  # another mind before the other engine was ready
            self._changing = None
            guarded.stay()
            return

        def done(reason: str | None) -> None:
            if number != self._choices:
                return  # another choice came after this one, maybe of the same engine with other options
            self._changing = None
            if reason is None:
                self._is(engine)
            else:
                self._error = f"{engine}: {reason}"

        log.info("engine %s was chosen", engine)
        guarded.exchange(lambda: self._make(engine), done)


def _with(options: Any, key: list[str], value: Any) -> Any:
    first, *rest = key
    return dataclasses.replace(
        options, **{first: _with(getattr(options, first), rest, value) if rest else value}
    )


def _pair(value: Any) -> tuple[float, float]:
    """Two numbers, the lower one first. ConfigError for anything else."""
    plain = isinstance(value, list | tuple) and len(value) == 2
    if not plain or any(isinstance(one, bool) or not isinstance(one, int | float) for one in value):
        raise ConfigError(f"span: expected two numbers or null, got {shortened(repr(value))}")
    if not -_FURTHEST <= value[0] < value[1] <= _FURTHEST:
        raise ConfigError(f"span: expected the lower number first, got {shortened(repr(value))}")
    return float(value[0]), float(value[1])


def _share(key: str, wanted: dict[str, Any], now: float, most: int = 1) -> float:
    value = wanted.get(key, now)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ConfigError(f"{key}: expected a number from 0 to {most}, got {shortened(repr(value))}")
    if not 0 <= value <= most:  # numbers of a thousand digits do not become a float
        raise ConfigError(f"{key}: expected a number from 0 to {most}, got {shortened(str(value))}")
    return float(value)
