"""The pages that show live pictures: dark, nothing to load from elsewhere.

What viewers of a page may change while a run goes on: the view, the engine, and its reference.
"""

from __future__ import annotations

import html
import json
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from irchroma.stream.view.views import VIEWS

ASSETS = Path(__file__).parent / "assets"
_SCRIPTS = (
    "controls.js", "video.js", "own_view.js", "thermometer.js", "adjust.js", "masks.js", "charts.js",
    "figures.js", "talk.js",
)  # fmt: skip


@cache
def _template(name: str) -> str:
    return (ASSETS / name).read_text(encoding="utf-8")


def page(
    title: str,
    nonce: str = "",
    control: LiveControl | None = None,
    named: bool = False,
    ways: tuple[str, ...] = (),
    role: str = "viewer",
    full: str = "",
) -> str:
    """One stream's page as HTML.

    Args:
        title: its heading.
        nonce: of its script, as its content security policy has it.
        control: what its viewers may change; None for nothing.
        named: it is one of several on its port, which are listed one level above.
        ways: how its picture can be had beside motion JPEG: `webrtc`, `hls`.
        role: of who asks for it.
        full: what the title is short for, such as the source's address; empty for the title itself.
    """
    setup: dict[str, Any] = {
        "named": named,
        "control": None,
        "ways": ways,
        "views": list(VIEWS),
        "role": role,
    }
    if control is not None:
        engines = [asdict(choice) for choice in control.engines]
        setup["control"] = {"engines": engines, "state": control.state()}
    text = _template("live_page.html").replace("{{style}}", _template("page.css"), 1)
    for script in _SCRIPTS:
        text = text.replace("{{" + script + "}}", _template(script), 1)
    tooltip = f' title="{html.escape(full)}"' if full not in ("", title) else ""
    # What others have written last: a text with braces of its own must not be taken for a place.
    return (
        text.replace("{{nonce}}", nonce)
        .replace("{{setup}}", _for_script(setup), 1)
        .replace("{{full}}", tooltip, 1)
        .replace("{{title}}", html.escape(title))
    )


def index_page(names: list[str], nonce: str = "") -> str:
    """The list of all pages on one port as HTML."""
    named = _template("index_page.html").replace("{{nonce}}", nonce)
    return named.replace("{{names}}", _for_script(names), 1)


def login_page(to: str, wrong: bool) -> str:
    """What asks for a token, as HTML.

    Args:
        to: the path to go on to.
        wrong: the token that was given is not known.
    """
    said = "This token is not known." if wrong else ""
    return _template("login_page.html").replace("{{said}}", said).replace("{{to}}", html.escape(to))


def _for_script(value: Any) -> str:
    """JSON that may stand within a script element."""
    return json.dumps(value).replace("<", "\\u003c")


@dataclass(frozen=True, slots=True)
class Choice:
    """An engine that a page offers.

    Attributes:
        value: as `change` takes it, `palette:ironbow`.
        label: for people.
        group: the heading above it.
        swatch: colors that it makes of dark to bright, as CSS has them; empty where that says nothing.
    """

    value: str
    label: str
    group: str
    swatch: tuple[str, ...] = ()


class LiveControl(Protocol):
    """Changes a run that goes on; any thread calls."""

    @property
    def engines(self) -> tuple[Choice, ...]:
        """What `change` takes as `engine`."""

    def state(self) -> dict[str, Any]:
        """`view`, `wipe`, `blend` as they are; `engine`, the choice that colors now; `band`, `nir` or
        `thermal` by what the source gives, empty before that is known; `changing`, the choice that is being
        made ready or None; `error`, why the last choice was not taken or None; `latency_ms` from a
        frame's arrival to its picture, None for a recording, which waits in queues; `reason`, why there
        is no color or None; `reference`, None or `auto`, whether the scene chooses it, `strength`,
        `current`, its key or None, and
        `candidates`, each with `key`, `name` and `score`; `privacy`, None or `fixed`, `drawn` and
        `can_be_drawn`, see `irchroma.stream.view.privacy`; `tone`, its `method` of `methods`, `lock`, `span`
        or None, `now`, the limits as they are or None, both in `unit`, `celsius`, `counts` or `luma`;
        `readings`, those on the picture; `color`, a network's `mode`, `chroma_limit` and `smoothing_s`."""

    def thumbnail(self, key: str) -> bytes | None:
        """A small JPEG of a reference; None where there is none of that key."""

    def reload(self) -> list[str]:
        """Read the run's configuration again and go on with what has changed, one line each.

        Raises:
            ValueError: it cannot be used, or holds a change that needs a restart; nothing was changed.
        """

    def change(self, wanted: dict[str, Any]) -> None:
        """Take over any of `view`, `wipe`, `blend`, `engine`, `reference`, `strength`, `masks`, `tone`,
        `lock`, `span`, `readings`, `mode`, `chroma_limit` and `smoothing_s`.

        A view is there at once; an engine takes over when it is ready, see `state`. A reference is a
        candidate's key, `none`, or `auto`.

        Raises:
            ValueError: a key or a value is not known; nothing was changed.
        """


class LiveThermometer(Protocol):
    """Temperatures of a run's picture; any thread calls. See `irchroma.stream.sensor.thermometer`."""

    def read(self, x: float, y: float) -> float | None:
        """Degrees Celsius at a place, each from 0 to 1; None where nothing is known."""

    def state(self) -> dict[str, Any]:
        """What is measured, and which alarms are on."""

    def change(self, wanted: dict[str, Any]) -> None:
        """Measure otherwise. ValueError: a key or a value is not known; nothing was changed."""
