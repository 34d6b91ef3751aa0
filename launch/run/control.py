"""Changes a run while it goes on: what the page's buttons do."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from irchroma.engines import catalog
from irchroma.engines.palette.tables import PALETTES, palette_table
from irchroma.launch.config import ConfigError, nearest, shortened
from irchroma.launch.run.auto_reference import RunReferences
from irchroma.stream.loop.loop import Loop
from irchroma.stream.protocols import Colorizer
from irchroma.stream.sinks.http.page import Choice
from irchroma.stream.view.composer import ViewComposer
from irchroma.stream.view.privacy import PrivacyMasks
from irchroma.stream.view.views import VIEWS, ViewOptions

log = logging.getLogger(__name__)

_KEYS = ("view", "wipe", "blend", "engine", "reference", "strength", "masks")
_SWATCH = 9


class RunControl:
    """The `LiveControl` of one run.

    What is changed is the run's own picture: every sink of the run shows it, recorded files too.

    Attributes:
        loop: the run, as soon as there is one.
    """

    def __init__(
        self,
        engine: str,
        composer: ViewComposer,
        make: Callable[[str], Colorizer],
        references: RunReferences | None = None,
        privacy: PrivacyMasks | None = None,
    ) -> None:
        """Begin with the engine that the configuration names.

        Args:
            engine: as configured.
            composer: whose view is changed.
            make: opens an engine by its name.
            references: of the run, as told here; None where it has none.
            privacy: the run's masks; None where there can be none.
        """
        self._references, self._privacy = references, privacy
        self._composer, self._make = composer, make
        self._engine = engine
        self._changing: str | None = None
        self._error: str | None = None
        self.loop: Loop | None = None
        self.engines = choices()

    def state(self) -> dict[str, Any]:
        """See `LiveControl.state`."""
        view = self._composer.view
        guarded = self.loop.guarded if self.loop is not None else None
        return {
            "view": view.view,
            "wipe": view.wipe,
            "blend": view.blend,
            "engine": self._engine,
            "changing": self._changing,
            "error": self._error,
            "latency_ms": round(self._composer.latency_ms, 1),
            "reason": guarded.reason if guarded is not None else None,
            "reference": self._references.state() if self._references is not None else None,
            "privacy": self._privacy.state() if self._privacy is not None else None,
        }

    def thumbnail(self, key: str) -> bytes | None:
        """See `LiveControl.thumbnail`."""
        return self._references.thumbnail(key) if self._references is not None else None

    def engine_is(self, engine: str) -> None:
        """What `auto` turned out to be."""
        self._engine = engine

    def change(self, wanted: dict[str, Any]) -> None:
        """See `LiveControl.change`."""
        for key in wanted:
            if key not in _KEYS:
                raise ConfigError(f"unknown key {shortened(key)}{nearest(key, list(_KEYS))}")
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
        if {"reference", "strength"} & set(wanted):
            self._change_reference(wanted)
        if masks is not None and self._privacy is not None:
            self._privacy.draw(masks)
            log.info("privacy: %d masks were drawn on the page", len(masks))
        self._composer.view = view
        if engine is not None and engine != (self._changing or self._engine):
            self._change_engine(str(engine))

    def _view(self, wanted: dict[str, Any]) -> ViewOptions:
        now = self._composer.view
        name = wanted.get("view", now.view)
        if name not in VIEWS:
            raise ConfigError(f"view: expected one of {', '.join(VIEWS)}, got {shortened(repr(name))}")
        return ViewOptions(name, _share("wipe", wanted, now.wipe), _share("blend", wanted, now.blend))

    def _change_reference(self, wanted: dict[str, Any]) -> None:
        if self._references is None:
            raise ConfigError("this run has no reference: begin it with --reference FILE or auto")
        strength = _share("strength", wanted, 1.0)
        if "reference" in wanted:
            self._references.choose(wanted["reference"])
        if "strength" in wanted:
            self._references.strengthen(strength)

    def _change_engine(self, engine: str) -> None:
        guarded = self.loop.guarded if self.loop is not None else None
        if guarded is None:
            raise ConfigError("the run has not begun yet")
        self._changing, self._error = engine, None
        if engine == self._engine:  # another mind before the other engine was ready
            self._changing = None
            guarded.stay()
            return

        def done(reason: str | None) -> None:
            if self._changing != engine:
                return  # another choice came after this one
            self._changing = None
            if reason is None:
                self._engine = engine
            else:
                self._error = f"{engine}: {reason}"

        log.info("engine %s was chosen on the page", engine)
        guarded.exchange(lambda: self._make(engine), done)


def _share(key: str, wanted: dict[str, Any], now: float) -> float:
    value = wanted.get(key, now)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ConfigError(f"{key}: expected a number from 0 to 1, got {shortened(repr(value))}")
    if not 0 <= value <= 1:  # numbers of a thousand digits do not become a float
        raise ConfigError(f"{key}: expected a number from 0 to 1, got {shortened(str(value))}")
    return float(value)


def choices() -> tuple[Choice, ...]:
    """Every engine that can be chosen on a page: the networks whose weights are here, palettes, gray."""
    networks = [
        Choice(f"{band}:{size}", size, band)
        for band, network in catalog.NETWORKS.items()
        for size in network.sizes
        if catalog.weights_path(band, size).is_file()
    ]
    palettes = [Choice(f"palette:{name}", name, "palette", _swatch(name)) for name in PALETTES]
    return (*networks, *palettes, Choice("gray", "gray", "palette"))


def _swatch(palette: str) -> tuple[str, ...]:
    """Some of a palette's colors, as CSS has them."""
    table = palette_table(palette)
    places = [round(step * (len(table) - 1) / (_SWATCH - 1)) for step in range(_SWATCH)]
    return tuple("#" + bytes(table[place].tolist()).hex() for place in places)
