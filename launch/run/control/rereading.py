"""A configuration that is read again while its run goes on."""

from __future__ import annotations

import dataclasses
import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

from irchroma.launch.config import ConfigError, shortened
from irchroma.launch.run.control.run_control import RunControl
from irchroma.launch.run.settings.options import RunConfig

log = logging.getLogger(__name__)

_LIVE = (
    "view.", "osd.", "engine", "neural.", "palette.", "tone_map.", "privacy.masks", "color_camera",
    "repeat_s",
)  # fmt: skip
"""What a configuration that is read again may change."""
_NOT_LIVE = ("neural.reference", "palette.gain", "palette.offset")
"""Of these what is built into a run."""


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
