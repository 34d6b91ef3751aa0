"""What a port's pages answer to, as an OpenAPI description.

Reference: OpenAPI Specification 3.1.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from irchroma.stream.sinks.http.clips import LONGEST_S, PRE_ROLL_S
from irchroma.stream.sinks.http.feeds import FEEDS
from irchroma.stream.sinks.http.page import LiveControl
from irchroma.stream.view.osd import READINGS
from irchroma.stream.view.privacy import MOST_MASKS, MOST_POINTS, STYLES
from irchroma.stream.view.views import VIEWS

_SHARE = {"type": "number", "minimum": 0, "maximum": 1}
_MASK = {
    "type": "object",
    "description": "a privacy mask; those that were drawn before are replaced by all that are given",
    "required": ["points"],
    "additionalProperties": False,
    "properties": {
        "points": {
            "type": "array",
            "minItems": 3,
            "maxItems": MOST_POINTS,
            "items": {"type": "array", "minItems": 2, "maxItems": 2, "items": _SHARE},
        },
        "style": {"type": "string", "enum": list(STYLES)},
        "name": {"type": "string", "maxLength": 80},
    },
}
_PROBLEM = {
    "content": {
        "application/json": {
            "schema": {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}}
        }
    }
}
_STATE = {"type": "string", "enum": ["waiting", "live", "lost", "slate", "failed", "ended"]}
_BINARY = {"type": "string", "contentMediaType": "application/octet-stream"}
_SHOW = {
    "name": "show",
    "in": "query",
    "description": "the run's picture, both halves of a wipe side by side, or how sure the color is",
    "schema": {"type": "string", "enum": list(FEEDS), "default": "run"},
}

_CLIP = [
    {
        "name": name,
        "in": "query",
        "description": f"seconds {name} the request",
        "schema": {"type": "number", "minimum": 0, "maximum": most, "default": PRE_ROLL_S},
    }
    for name, most in (("before", PRE_ROLL_S), ("after", LONGEST_S))
]


def described(pages: Iterable[tuple[str, LiveControl | None, bool, bool]], protected: bool) -> dict[str, Any]:
    """The description of a port.

    Args:
        pages: of each its name (empty where it has the port to itself), what may be changed on it, and
            whether it can be watched over WebRTC, and whether it tells temperatures.
        protected: something is asked of who comes.
    """
    paths: dict[str, Any] = {
        "/healthz": {"get": _gives("the program runs", _json({"type": "object"}), problems=())},
        "/readyz": {
            "get": _gives(
                "every page shows what its camera sees",
                _json({"type": "object", "properties": {"ready": {"type": "boolean"}}}),
                more={"503": {"description": "not all do", **_json({"type": "object"})}},
                problems=(),
            )
        },
        "/metrics": {"get": _gives("figures for Prometheus", _of("text/plain", {"type": "string"}))},
    }
    for name, control, webrtc, warm in pages:
        at = f"/{name}/" if name else "/"
        paths |= _page_paths(at, control, webrtc) | (_warm_paths(at) if warm else {})
    schemes = {"bearer": {"type": "http", "scheme": "bearer"}, "basic": {"type": "http", "scheme": "basic"}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "irchroma", "version": "1", "description": "Live infrared video in color."},
        "paths": paths,
        **({"components": {"securitySchemes": schemes}} if protected else {}),
        **({"security": [{"bearer": []}, {"basic": []}]} if protected else {}),
    }


def _page_paths(at: str, control: LiveControl | None, webrtc: bool) -> dict[str, Any]:
    """The page and what it shows."""
    figures = {
        "type": "object",
        "required": ["title", "fps", "viewers", "width", "height"],
        "properties": {
            "title": {"type": "string"},
            "fps": {"type": "number"},
            "viewers": {"type": "integer"},
            "width": {"type": "integer"},
            "height": {"type": "integer"},
            "pixel_aspect": {
                "type": "number",
                "description": "of the video's pixels, width to height; images have square ones",
            },
            "state": _STATE,
            "sent": {
                "type": "object",
                "description": "the view that recordings and streams show",
                "properties": {"view": {"type": "string", "enum": list(VIEWS)}, "wipe": _SHARE},
            },
            "scale": {
                "type": ["object", "null"],
                "description": "which color of a palette stands for which value",
                "properties": {
                    "colors": {"type": "array", "items": {"type": "string"}},
                    "ends": {"type": "array", "items": {"type": "number"}, "maxItems": 2},
                    "unit": {"type": "string", "enum": ["celsius", "counts", "luma"]},
                    "fixed": {"type": "boolean"},
                },
            },
            "ends": {"type": "boolean", "description": "of a recording, which comes to its end"},
        },
    }
    part = {"name": "part", "in": "path", "required": True, "schema": {"type": "string"}}
    paths: dict[str, Any] = {
        at: {"get": _gives("the page", _of("text/html", {"type": "string"}))},
        f"{at}stats.json": {"get": _gives("what goes on", _json(figures))},
        f"{at}snapshot.jpg": {
            "parameters": [_SHOW],
            "get": _gives("the newest picture", _of("image/jpeg", _BINARY), problems=("503",)),
        },
        f"{at}clip.mp4": {
            "parameters": [_SHOW, *_CLIP],
            "get": _gives(
                "a clip of the last seconds, as far as somebody watched, and of some to come",
                _of("video/mp4", _BINARY),
                problems=("400", "501", "503"),
            ),
        },
        f"{at}address.svg": {
            "get": _gives("this page's address as a QR code", _of("image/svg+xml", {"type": "string"}))
        },
        f"{at}hls.js": {"get": _gives("plays HLS in browsers", _of("text/javascript", {"type": "string"}))},
        f"{at}hls/{{show}}/{{part}}": {
            "parameters": [{**_SHOW, "in": "path", "required": True}, part],
            "get": _gives(
                "the playlist, live.m3u8, or a segment that it names; encoded while somebody asks",
                {
                    "content": {
                        "application/vnd.apple.mpegurl": {"schema": {"type": "string"}},
                        "video/mp2t": {"schema": _BINARY},
                    }
                },
                problems=("501", "503"),
            ),
        },
        f"{at}live.mjpg": {
            "parameters": [_SHOW],
            "get": _gives(
                "picture after picture", _of("multipart/x-mixed-replace", _BINARY), problems=("503",)
            ),
        },
    }
    if control is not None:
        paths |= _control_paths(at, control)
    return paths | _whep_paths(at) if webrtc else paths


def _control_paths(at: str, control: LiveControl) -> dict[str, Any]:
    """What operators change a run by."""
    paths: dict[str, Any] = {}
    wanted = {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "view": {"type": "string", "enum": list(VIEWS)},
            "wipe": _SHARE,
            "blend": _SHARE,
            "engine": {"type": "string", "enum": [choice.value for choice in control.engines]},
            "reference": {"type": "string", "description": "a candidate's key, none or auto"},
            "strength": {**_SHARE, "maximum": 2},
            "masks": {"type": "array", "maxItems": MOST_MASKS, "items": _MASK},
            "tone": {"type": "string", "description": "how sensor values become luma, one of the state's"},
            "lock": {"type": "boolean", "description": "hold the tone curve as it is"},
            "span": {
                "type": ["array", "null"],
                "description": "black and white in degrees Celsius, or sensor values without a scale",
                "minItems": 2,
                "maxItems": 2,
                "items": {"type": "number"},
            },
            "readings": {"type": "array", "items": {"type": "string", "enum": list(READINGS)}},
            "mode": {"type": "string", "enum": ["full", "chroma"]},
            "chroma_limit": {"type": ["number", "null"], "minimum": 0, "maximum": 255},
            "smoothing_s": {"type": "number", "minimum": 0, "maximum": 60},
        },
    }
    paths[f"{at}control"] = {
        "post": {
            **_gives(
                "change what is shown; an operator's",
                _json({"type": "object"}),
                problems=("400", "413", "415"),
            ),
            "requestBody": {"required": True, **_json(wanted)},
        }
    }
    paths[f"{at}reload"] = {
        "post": {
            **_gives(
                "read the configuration again; an operator's",
                _json(
                    {
                        "type": "object",
                        "required": ["changed"],
                        "properties": {"changed": {"type": "array", "items": {"type": "string"}}},
                    }
                ),
                problems=("400", "413", "415"),
            ),
            "requestBody": {"required": True, **_json({"type": "object", "properties": {}})},
        }
    }
    key = {"name": "key", "in": "path", "required": True, "schema": {"type": "string"}}
    paths[f"{at}references/{{key}}.jpg"] = {
        "parameters": [key],
        "get": _gives("a reference, small; an operator's", _of("image/jpeg", _BINARY)),
    }
    return paths


def _whep_paths(at: str) -> dict[str, Any]:
    """Watching over WebRTC."""
    paths: dict[str, Any] = {}
    sdp = _of("application/sdp", {"type": "string"})
    found = {"Location": {"schema": {"type": "string"}, "description": "what DELETE ends"}}
    paths[f"{at}whep"] = {
        "parameters": [_SHOW],
        "post": {
            **_gives("watch over WebRTC (WHEP)", {}, problems=("406", "413", "415", "503"), good=None),
            "requestBody": {"required": True, **sdp},
        },
    }
    paths[f"{at}whep"]["post"]["responses"]["201"] = {
        "description": "the answer to the offer",
        "headers": found,
        **sdp,
    }
    viewer = {"name": "viewer", "in": "path", "required": True, "schema": {"type": "string"}}
    paths[f"{at}whep/{{viewer}}"] = {
        "parameters": [viewer],
        "delete": _gives("watch no longer", {}, problems=("404",)),
    }
    return paths


def _warm_paths(at: str) -> dict[str, Any]:
    """Of a page that tells temperatures."""
    places = [{"name": key, "in": "query", "required": True, "schema": _SHARE} for key in "xy"]
    celsius = {"type": "object", "properties": {"celsius": {"type": ["number", "null"]}}}
    texts = {"type": "array", "items": {"type": "string"}, "maxItems": 32}
    wanted = {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "emissivity": {"type": "number", "minimum": 0.05, "maximum": 1},
            "reflected_celsius": {"type": "number"},
            "measure": {**texts, "description": "NAME=point X,Y, NAME=box X,Y X,Y, NAME=line X,Y X,Y"},
            "alarm": {**texts, "description": "NAME above CELSIUS, NAME below .., NAME rise KELVIN_A_MINUTE"},
        },
    }
    return {
        f"{at}temperature.json": {
            "parameters": places,
            "get": _gives("degrees Celsius at a place of the picture", _json(celsius), problems=("400",)),
        },
        f"{at}thermometer": {
            "post": {
                **_gives(
                    "measure otherwise; an operator's",
                    _json({"type": "object"}),
                    problems=("400", "413", "415"),
                ),
                "requestBody": {"required": True, **_json(wanted)},
            }
        },
    }


def _of(kind: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"content": {kind: {"schema": schema}}}


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return _of("application/json", schema)


def _gives(
    what: str,
    content: dict[str, Any],
    more: dict[str, Any] | None = None,
    problems: tuple[str, ...] = (),
    good: str | None = "200",
) -> dict[str, Any]:
    """An operation: what it does, what comes of it; 400 to 429 may meet every request."""
    responses: dict[str, Any] = {good: {"description": what, **content}} if good is not None else {}
    named = sorted({*problems, "401", "403", "404", "405", "421", "429"})
    responses |= {status: {"description": "refused, and why", **_PROBLEM} for status in named}
    return {"summary": what, "responses": {**responses, **(more or {})}}
