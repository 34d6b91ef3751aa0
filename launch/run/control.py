"""Changes a run while it goes on: what the page's buttons do, and a configuration that is read again."""

from __future__ import annotations

import dataclasses
import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

from irchroma.engines import catalog
from irchroma.engines.neural.exemplar import STRONGEST
from irchroma.engines.palette.tables import PALETTES, palette_table
from irchroma.launch.config import ConfigError, nearest, shortened
from irchroma.launch.run.auto_reference import RunReferences
from irchroma.launch.run.options import RunConfig, whole_name
from irchroma.stream.loop.loop import Loop
from irchroma.stream.protocols import Colorizer
from irchroma.stream.sinks.http.page import Choice
from irchroma.stream.view.composer import ViewComposer
from irchroma.stream.view.privacy import PrivacyMasks
from irchroma.stream.view.views import VIEWS, ViewOptions

log = logging.getLogger(__name__)

_KEYS = ("view", "wipe", "blend", "engine", "reference", "strength", "masks")
_SWATCH = 9

_LIVE = (
    "view.",
    "osd.",
    "engine",
    "neural.",
    "palette.",
    "tone_map.",
    "privacy.masks",
    "color_camera",
    "repeat_s",
)
"""What a configuration that is read again may change."""
_NOT_LIVE = ("neural.reference", "palette.gain", "palette.offset")
"""Of these what is built into a run."""


class RunControl:
    """The `LiveControl` of one run.

    What is changed is the run's own picture: every sink of the run shows it, recorded files too.

    Attributes:
        loop: the run, as soon as there is one.
        config: of the run, as it is now.
        reread: the configuration as it was asked for, and what reads it again; None without a file.
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
        self.reread: Reread | None = None
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
            self._chosen = True

    def reload(self) -> list[str]:
        """See `LiveControl.reload`."""
        if self.reread is None:
            raise ConfigError("reload: this run was begun without --config: there is nothing to read again")
        return self.reread.take()

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
        if {"engine", "neural", "palette"} & parts:
            info = loop.reader.info
            asked = whole_name(config, info is not None and info.counts)
            engine = self._engine if self._chosen and "engine" not in parts else asked
            self._chosen = self._chosen and "engine" not in parts
            self._engine = ""  # with other options the same one is another
            self._change_engine(engine)

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

        log.info("engine %s was chosen", engine)
        guarded.exchange(lambda: self._make(engine), done)


class Reread:
    """The configuration of one run, which can be read again while it goes on. Any thread may call.

    Args:
        asked: as it was read at first.
        read: reads it again; raises ConfigError.

    Attributes:
        control: of the run; None before there is one.
    """

    def __init__(self, asked: RunConfig, read: Callable[[], RunConfig]) -> None:
        self._asked, self._read = asked, read
        self._lock = threading.Lock()
        self.control: RunControl | None = None

    def take(self) -> list[str]:
        """Read it and go on with what has changed, which is returned, one line each.

        Raises:
            ConfigError: it cannot be used, or something has changed that cannot while the run goes on;
                nothing was changed.
        """
        with self._lock:
            new = self._read()
            differ = dict(_differences(self._asked, new))
            fixed = [key for key in differ if not _may_change(key)]
            if fixed:
                raise ConfigError(
                    f"reload: {', '.join(fixed)} cannot change while the run goes on: nothing was changed;"
                    " restart it for that"
                )
            if differ:
                if self.control is None:
                    raise ConfigError("reload: the run has not begun yet")
                self.control.take({key: after for key, (_, after) in differ.items()})
            self._asked = new
            return [f"{key}: {_told(before)} -> {_told(after)}" for key, (before, after) in differ.items()]


def _may_change(key: str) -> bool:
    if key.startswith(_NOT_LIVE) and key != "neural.reference_strength":
        return False
    return any(key == one or (one.endswith(".") and key.startswith(one)) for one in _LIVE)


def _differences(old: Any, new: Any, at: str = "") -> Iterator[tuple[str, tuple[Any, Any]]]:
    """Dotted keys whose values differ, and both values."""
    for one in dataclasses.fields(old):
        before, after = getattr(old, one.name), getattr(new, one.name)
        if dataclasses.is_dataclass(before) and type(before) is type(after):
            yield from _differences(before, after, f"{at}{one.name}.")
        elif before != after:
            yield f"{at}{one.name}", (before, after)


def _with(options: Any, key: list[str], value: Any) -> Any:
    first, *rest = key
    return dataclasses.replace(
        options, **{first: _with(getattr(options, first), rest, value) if rest else value}
    )


def _told(value: Any) -> str:
    if isinstance(value, tuple) and value and dataclasses.is_dataclass(value[0]):
        return f"{len(value)} of them"
    return shortened(str(value), 60)


def reread_all(all_of_them: list[Reread]) -> None:
    """What SIGHUP does; says what has changed, or why nothing has."""
    for one in all_of_them:
        try:
            changed = one.take()
        except Exception as error:  # noqa: BLE001 (whatever is in the file, the run goes on)
            log.error("%s", error)
            continue
        for line in changed:
            log.info("reload: %s", line)
        if not changed:
            log.info("reload: nothing has changed")


def _share(key: str, wanted: dict[str, Any], now: float, most: int = 1) -> float:
    value = wanted.get(key, now)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ConfigError(f"{key}: expected a number from 0 to {most}, got {shortened(repr(value))}")
    if not 0 <= value <= most:  # numbers of a thousand digits do not become a float
        raise ConfigError(f"{key}: expected a number from 0 to {most}, got {shortened(str(value))}")
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
