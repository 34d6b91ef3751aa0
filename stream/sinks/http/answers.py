"""What one port answers to its requests: an ASGI application over the pages that are on it."""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
from collections.abc import Callable, Mapping
from functools import cache
from io import BytesIO
from typing import Any, Protocol
from urllib.parse import parse_qs, quote, urlsplit

import anyio
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.types import Message, Receive, Scope, Send

from irchroma.stream.sinks.http.access import Access, Role, WrongTries, ticket
from irchroma.stream.sinks.http.description import described
from irchroma.stream.sinks.http.feeds import FEEDS, Feed
from irchroma.stream.sinks.http.page import ASSETS, LiveControl, LiveThermometer, index_page, login_page, page
from irchroma.stream.sinks.http.watching import (
    FOR_ALL,
    FRESH,
    LONGEST_BODY,
    LONGEST_HEAD,
    STUCK_S,
    body_of,
    let_watch,
    problem,
    watched,
)

log = logging.getLogger(__name__)

_KEPT_S = 30 * 24 * 3600  # how long a browser remembers a token


class Page(Protocol):
    """One stream's page."""

    @property
    def title(self) -> str:
        """What its figures call it."""

    @property
    def heading(self) -> str:
        """What stands above its picture."""

    @property
    def control(self) -> LiveControl | None:
        """What its viewers may change; None for nothing."""

    @property
    def thermometer(self) -> LiveThermometer | None:
        """What measures temperatures in its picture; None where its counts have no scale."""

    @property
    def feeds(self) -> Mapping[str, Feed]:
        """What can be watched on it, each of `FEEDS`."""

    def figures(self) -> dict[str, Any]:
        """What its `stats.json` says."""


class Answers:
    """The application of one port.

    Args:
        own: the address that the server was told to listen on, empty for the usual ones.
        port: its port.
        access: who gets in.
    """

    def __init__(self, own: str, port: int, access: Access) -> None:
        self.pages: dict[str, Page] = {}
        self.access = access
        self._own, self._cookie = own, f"irchroma-{port}"
        self._tries = WrongTries()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request. A client that takes nothing for a while is cut off; so is one whose request breaks."""
        begun = False

        async def send_in_time(message: Message) -> None:
            nonlocal begun
            begun = True
            try:
                with anyio.fail_after(STUCK_S):
                    await send(message)
            except TimeoutError:
                scope["state"]["transport"].abort()
                raise ClientDisconnect from None

        try:
            answer = await self._answer(Request(scope, receive))
            await answer(scope, receive, send_in_time)
        except ClientDisconnect:
            pass
        except Exception:  # the request's last stand: the others go on
            log.exception("http: answering %s failed", scope.get("path"))
            if not begun:
                await PlainTextResponse("this request broke the server", 500)(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        refusal = self._refusal(request)
        if refusal is not None:
            return problem(*refusal)
        path = request.url.path
        if path == "/healthz":
            return JSONResponse({"status": "ok"}, headers=FRESH)
        if path == "/readyz":  # no names, no reasons: strangers may ask
            ready = await asyncio.to_thread(self._ready)
            return JSONResponse({"ready": ready}, 200 if ready else 503, headers=FRESH)
        role, given = self._role(request)
        if path == "/login":
            return await self._log_in(request)
        if role is None:
            return self._stranger(request, wrong=given)
        if "token" in request.query_params:  # not to be seen over the shoulder, nor kept in the history
            return self._let_in(request, request.query_params["token"], path)
        answer = await self._for_page(request, path, role)
        answer.headers.setdefault("Cache-Control", "no-store")
        for name, value in FOR_ALL.items():
            answer.headers[name] = value
        return answer

    def _refusal(self, request: Request) -> tuple[int, str] | None:
        """Why a request is not heeded whoever sends it; None where it is."""
        words = (*request.headers.raw, (request.scope["raw_path"], request.scope["query_string"]))
        if (
            sum(len(name) + len(value) for name, value in words) > LONGEST_HEAD
        ):  # it came at once, in one piece
            return 431, f"expected a head of at most {LONGEST_HEAD} bytes"
        host, origin = request.headers.get("host", ""), request.headers.get("origin")
        if not self.access.may_be_called(host, self._own):
            return 421, (
                "this page is not called by that name: use the machine's address, or add the name to"
                " page_names ([output] of the configuration)"
            )
        if origin is not None and urlsplit(origin).netloc != host:
            return 403, "pages of other sites may neither read nor change anything here"
        fetched = request.headers.get("sec-fetch-site", "none")
        arriving = request.method == "GET" and request.headers.get("sec-fetch-mode") == "navigate"
        if fetched not in ("same-origin", "none") and not arriving:
            return 403, "pages of other sites may neither read nor change anything here"
        if request.method not in ("GET", "HEAD", "POST", "DELETE"):
            return 405, "expected GET, POST or DELETE"
        return None

    def _ready(self) -> bool:
        """Whether every page shows what its camera sees now."""
        return all(one.figures().get("state", "live") == "live" for one in list(self.pages.values()))

    def _role(self, request: Request) -> tuple[Role | None, bool]:
        """What the sender is, and whether it has given something to be known by."""
        address = request.client.host if request.client else ""
        token = request.query_params.get("token")
        given = token is not None or "authorization" in request.headers
        if given and self._tries.too_many(address):
            return None, True
        if token is not None:
            role = self.access.role_of_token(token) if self.access.protected else "operator"
        else:
            role = self.access.role_of(request.headers, request.cookies.get(self._cookie))
        if role is None and given:
            self._tries.note(address)
        return role, given

    def _stranger(self, request: Request, wrong: bool) -> Response:
        address = request.client.host if request.client else ""
        if wrong and self._tries.too_many(address):
            return problem(429, "too many wrong tokens: wait a minute", {"Retry-After": "60"})
        by_name = {"WWW-Authenticate": 'Basic realm="irchroma", charset="UTF-8"'}
        asked = by_name if self.access.user else {"WWW-Authenticate": 'Bearer realm="irchroma"'}
        if request.method == "GET" and "text/html" in request.headers.get("accept", ""):
            if not (self.access.operator or self.access.viewer):
                return HTMLResponse("a user and a password are needed", 401, {**asked, **FOR_ALL})
            text = login_page(request.url.path, wrong)
            # With a challenge the browser would ask for a user and a password instead of showing the page.
            return HTMLResponse(text, 401, {**(by_name if self.access.user else {}), **FOR_ALL})
        return problem(401, "a token is needed: Authorization: Bearer TOKEN", asked)

    async def _log_in(self, request: Request) -> Response:
        if request.method != "POST":
            return HTMLResponse(login_page("/", False), headers=FOR_ALL)
        body = await body_of(request)
        if body is None:
            return problem(413, f"expected at most {LONGEST_BODY} bytes")
        given = parse_qs(body.decode("utf-8", "replace"))
        address = request.client.host if request.client else ""
        token, to = given.get("token", [""])[0], given.get("to", ["/"])[0]
        if self._tries.too_many(address):
            return problem(429, "too many wrong tokens: wait a minute", {"Retry-After": "60"})
        if self.access.role_of_token(token) is None:
            self._tries.note(address)
            return HTMLResponse(login_page(to, True), 401, FOR_ALL)
        return self._let_in(request, token, to)

    def _let_in(self, request: Request, token: str, to: str) -> Response:
        """On to the page, and the browser keeps the token's ticket."""
        path = "/" + to.lstrip("/\\")  # //elsewhere would be another site
        answer = Response(status_code=303, headers={"Location": quote(path), **FOR_ALL})
        if self.access.protected:
            secure = request.url.scheme == "https"
            answer.set_cookie(
                self._cookie, ticket(token), max_age=_KEPT_S, httponly=True, samesite="lax", secure=secure
            )
        return answer

    async def _for_page(self, request: Request, path: str, role: Role) -> Response:
        pages = dict(self.pages)
        name, what = ("", path.removeprefix("/")) if "" in pages else _first(path)
        one = pages.get(name)
        if request.method == "POST":
            if one is not None and what == "whep":
                feed = _feed(request, one)
                return _no_feed() if feed is None else await let_watch(request, feed)
            return await self._change(request, _action(one, what) if one is not None else None, role)
        if request.method == "DELETE":
            viewer = what.removeprefix("whep/")
            watched = [feed.whep for feed in one.feeds.values() if feed.whep is not None] if one else []
            if viewer == what or not any(whep.end(viewer) for whep in watched):
                return problem(404, "there is no such viewer")
            return Response(status_code=200)
        if (answer := await self._of_all(pages, path)) is not None:
            return answer
        if path.strip("/") in pages and not path.endswith("/"):
            return Response(status_code=301, headers={"Location": quote(path) + "/"})
        if one is None:
            return problem(404, "there is no such page")
        return await self._of(request, one, what, role)

    async def _of_all(self, pages: dict[str, Page], path: str) -> Response | None:
        """What is told of all pages at once; None where the path is one page's."""
        if path == "/metrics":
            from irchroma.stream.sinks.http import metrics  # where somebody scrapes

            told = {name or one.title: await asyncio.to_thread(one.figures) for name, one in pages.items()}
            return Response(metrics.exposition(told), headers={"Content-Type": metrics.CONTENT_TYPE})
        if path == "/openapi.json":
            told_of = [
                (name, one.control, _webrtc(one), one.thermometer is not None) for name, one in pages.items()
            ]
            return JSONResponse(described(told_of, self.access.protected))
        if "" in pages:  # the one page there is has these for itself
            return None
        if path == "/":
            nonce = secrets.token_urlsafe(16)
            return _page(index_page(sorted(pages), nonce), nonce, framed=not self.access.protected)
        if path == "/stats.json":
            return JSONResponse({name: await asyncio.to_thread(one.figures) for name, one in pages.items()})
        return None

    async def _of(self, request: Request, one: Page, what: str, role: Role) -> Response:
        if what == "":
            named = "" not in self.pages
            nonce = secrets.token_urlsafe(16)
            may_change = one.control if role == "operator" else None
            role = "viewer" if may_change is None else role
            text = page(one.heading, nonce, may_change, named, _ways(one), role, one.title)
            return _page(text, nonce, framed=one.control is None and not self.access.protected)
        if what == "stats.json":
            return JSONResponse(await asyncio.to_thread(one.figures))
        feed = _feed(request, one)
        if what in ("snapshot.jpg", "clip.mp4", "live.mjpg") or what.startswith("hls/"):
            return _no_feed() if feed is None else await watched(request, feed, what)
        if what == "temperature.json" and one.thermometer is not None:
            return _temperature(request, one.thermometer)
        if what == "address.svg":
            return _qr_code(request)
        if what == "hls.js":
            return Response(_vendored(what), media_type="text/javascript", headers=_KEPT)
        if what.startswith("references/") and one.control is not None and role == "operator":
            key = what.removeprefix("references/").removesuffix(".jpg")
            small = await asyncio.to_thread(one.control.thumbnail, key)
            if small is not None:
                kept = {"Cache-Control": "private, max-age=3600"}
                return Response(small, media_type="image/jpeg", headers=kept)
        return problem(404, "there is no such thing on this page")

    async def _change(
        self, request: Request, action: Callable[[dict[str, Any]], Any] | None, role: Role
    ) -> Response:
        if action is None:
            return problem(404, "nothing can be changed here")
        if role != "operator":
            return problem(403, "viewers may look only: this needs the operator's token")
        # Browsers let other sites send forms, but no JSON.
        if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            return problem(415, "expected application/json")
        body = await body_of(request)
        if body is None:
            return problem(413, f"expected at most {LONGEST_BODY} bytes")
        try:
            wanted = json.loads(body or b"{}")
            if not isinstance(wanted, dict):
                raise ValueError("expected an object")
            return JSONResponse(await asyncio.to_thread(action, wanted))
        except RecursionError:
            return problem(400, "nested too deeply")
        except json.JSONDecodeError as error:
            return problem(400, f"expected JSON: {error}")
        except ValueError as error:
            return problem(400, str(error))


_KEPT = {"Cache-Control": "private, max-age=86400"}
_WORKERS = "media-src 'self' blob:; worker-src blob:"  # of hls.js


@cache
def _vendored(name: str) -> bytes:
    return (ASSETS / "vendor" / name).read_bytes()


def _action(one: Page, what: str) -> Callable[[dict[str, Any]], Any] | None:
    """What an operator's POST does, and answers; None where there is no such thing."""
    control, thermometer = one.control, one.thermometer
    if control is None:
        return None

    def change(wanted: dict[str, Any]) -> Any:
        control.change(wanted)
        return control.state()

    def measure(wanted: dict[str, Any]) -> Any:
        if thermometer is None:
            raise ValueError("counts have no scale here")
        thermometer.change(wanted)
        return thermometer.state()

    actions = {"control": change, "reload": lambda _: {"changed": control.reload()}}
    return (actions | ({"thermometer": measure} if thermometer is not None else {})).get(what)


def _feed(request: Request, one: Page) -> Feed | None:
    """The feed that a request asks for, the run's own where it asks for none; None where there is no such."""
    _, hls, rest = request.url.path.rpartition("/hls/")
    return one.feeds.get(rest.partition("/")[0] if hls else request.query_params.get("show", "run"))


def _no_feed() -> Response:
    return problem(404, f"show: expected one of {', '.join(FEEDS)}")


def _qr_code(request: Request) -> Response:
    """The page's address as it was asked for, without what its query says: tokens stay where they are."""
    import segno  # where somebody asks

    address = str(
        request.url.replace(path=request.url.path.removesuffix("address.svg"), query="", fragment="")
    )
    drawn = BytesIO()
    segno.make(address, error="m", micro=False).save(drawn, kind="svg", scale=8, border=4)
    return Response(drawn.getvalue(), media_type="image/svg+xml")


def _temperature(request: Request, thermometer: LiveThermometer) -> Response:
    """Degrees Celsius under a viewer's pointer."""
    try:
        x, y = (float(request.query_params[key]) for key in "xy")
    except (KeyError, ValueError):
        return problem(400, "expected x and y, each from 0 to 1")
    if not (0 <= x <= 1 and 0 <= y <= 1):
        return problem(400, "expected x and y, each from 0 to 1")
    celsius = thermometer.read(x, y)
    return JSONResponse({"celsius": None if celsius is None else round(celsius, 2)})


def _webrtc(one: Page) -> bool:
    return one.feeds["run"].whep is not None


def _ways(one: Page) -> tuple[str, ...]:
    """How a page's picture can be had beside motion JPEG."""
    run = one.feeds["run"]
    return (*(["webrtc"] if run.whep is not None else []), *(["hls"] if run.hls is not None else []))


def _first(path: str) -> tuple[str, str]:
    """The page's name in a path, and what is asked of it."""
    name, _, what = path.removeprefix("/").partition("/")
    return name, what


def _page(text: str, nonce: str, framed: bool) -> Response:
    policy = (
        f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'unsafe-inline';"
        " img-src 'self' blob: data:; connect-src 'self'; form-action 'self'; base-uri 'none';"
        f" {_WORKERS}"
    )
    if not framed:  # no other site may lay its own over the buttons
        policy += "; frame-ancestors 'none'"
    return HTMLResponse(text, headers={"Content-Security-Policy": policy})
