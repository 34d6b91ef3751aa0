"""The pages that show live pictures: dark, nothing to load from elsewhere."""

from __future__ import annotations

import html
import json
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from irchroma.stream.sinks.http.live_control import LiveControl
from irchroma.stream.view.views import VIEWS


@cache
def _template(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def page(title: str, control: LiveControl | None = None, named: bool = False) -> str:
    """One stream's page as HTML.

    Args:
        title: its heading.
        control: what its viewers may change; None for nothing.
        named: it is one of several on its port, which are listed one level above.
    """
    setup: dict[str, Any] = {"named": named, "control": None}
    if control is not None:
        engines = [asdict(choice) for choice in control.engines]
        setup["control"] = {"views": list(VIEWS), "engines": engines, "state": control.state()}
    # The title last: a text with braces of its own must not be taken for a place.
    return (
        _template("live_page.html")
        .replace("{{setup}}", _for_script(setup), 1)
        .replace("{{title}}", html.escape(title))
    )


def index_page(names: list[str]) -> str:
    """The list of all pages on one port as HTML."""
    return _template("index_page.html").replace("{{names}}", _for_script(names), 1)


def _for_script(value: Any) -> str:
    """JSON that may stand within a script element."""
    return json.dumps(value).replace("<", "\\u003c")
