"""What is answered to whoever watches a feed: WebRTC by WHEP, HLS, motion JPEG, a single picture."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

import anyio
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from irchroma.stream.errors import SinkError
from irchroma.stream.sinks.files.hls_sink import PLAYLIST
from irchroma.stream.sinks.http.clips import LONGEST_S, PRE_ROLL_S
from irchroma.stream.sinks.http.feeds import Feed
from irchroma.stream.sinks.http.live_picture import MOST_VIEWERS, LivePicture
from irchroma.stream.sinks.http.whep import LONGEST_OFFER, OfferRefused

STUCK_S = 10.0
"""A client that takes or says nothing for so long is disconnected."""
LONGEST_HEAD = 16 * 1024
LONGEST_BODY = 32 * 1024  # a page full of privacy masks

FOR_ALL = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # with no-referrer the form would be sent with Origin: null
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""Headers of every answer."""
FRESH = {**FOR_ALL, "Cache-Control": "no-store"}

_BOUNDARY = "irchroma-picture"
_NO_PICTURE = "no picture yet"


def problem(status: int, text: str, headers: dict[str, str] | None = None) -> Response:
    """A refusal that says why."""
    return JSONResponse({"error": text}, status, {**(headers or {}), **FRESH})


async def watched(request: Request, feed: Feed, what: str) -> Response:
    """The answer to `snapshot.jpg`, `clip.mp4`, `live.mjpg` or a file of `hls/`."""
    if what == "snapshot.jpg":
        return await snapshot(feed.live_picture)
    if what == "live.mjpg":
        full = feed.live_picture.viewers >= MOST_VIEWERS
        return problem(503, "too many viewers") if full else _MotionJpeg(feed.live_picture)
    if what == "clip.mp4":
        return await _clip(request, feed)
    return await _hls(feed, what.rpartition("/")[2])


async def _clip(request: Request, feed: Feed) -> Response:
    """The last seconds and some to come, as a file."""
    if feed.pre_roll is None:
        return problem(501, "no clips: they need an encoder of H.264")
    wanted = {"before": (PRE_ROLL_S, PRE_ROLL_S), "after": (PRE_ROLL_S, LONGEST_S)}
    seconds: dict[str, float] = {}
    for name, (usual, most) in wanted.items():
        try:
            seconds[name] = float(request.query_params.get(name, usual))
        except ValueError:
            seconds[name] = -1.0
        if not 0 <= seconds[name] <= most:
            return problem(400, f"{name}: expected seconds from 0 to {most:g}")
    if request.method == "HEAD":
        return Response(media_type="video/mp4")
    try:
        clip = feed.pre_roll.begin(seconds["before"], seconds["after"])
    except SinkError as error:
        return problem(503, str(error))
    try:
        while not clip.done:
            if feed.live_picture.ended or await request.is_disconnected():
                break
            await anyio.sleep(0.1)
        data = await asyncio.to_thread(clip.file)
    except SinkError as error:
        return problem(503, str(error))
    finally:
        feed.pre_roll.give_up(clip)
    headers = {
        "Content-Disposition": 'attachment; filename="clip.mp4"',
        "Clip-Before": f"{clip.before_s:.1f}",
    }
    return Response(data, media_type="video/mp4", headers=headers)


async def snapshot(live: LivePicture) -> Response:
    """The newest picture."""
    async with aclosing(_pictures(live)) as pictures:
        async for _, jpeg in pictures:
            return Response(jpeg, media_type="image/jpeg")
    return problem(503, _NO_PICTURE)


async def _hls(feed: Feed, name: str) -> Response:
    """The playlist or a segment. The first who asks for the playlist waits for it to be begun."""
    if feed.hls is None:
        return problem(501, "no HLS: it needs an encoder of H.264")
    try:
        found = await asyncio.to_thread(feed.hls.file, name)
        with anyio.move_on_after(STUCK_S):
            while found is None and name == PLAYLIST and not feed.live_picture.ended:
                await anyio.sleep(0.1)
                found = await asyncio.to_thread(feed.hls.file, name)
    except SinkError as error:
        return problem(503, str(error))
    if found is None:
        return problem(503 if name == PLAYLIST else 404, "there is no such part of the video (any more)")
    kind = "application/vnd.apple.mpegurl" if name == PLAYLIST else "video/mp2t"
    return Response(found, media_type=kind)


async def let_watch(request: Request, feed: Feed) -> Response:
    """The answer to a WebRTC viewer's offer (WHEP)."""
    if feed.whep is None:
        return problem(501, "this machine has no WebRTC: install gstreamer1.0-nice")
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/sdp":
        return problem(415, "expected application/sdp")
    body = await body_of(request, LONGEST_OFFER)
    if body is None:
        return problem(413, f"expected at most {LONGEST_OFFER} bytes")
    reached = str(request.scope["server"][0]).removeprefix("::ffff:")
    try:
        name, answer = await asyncio.to_thread(feed.whep.answer, body.decode("utf-8", "replace"), reached)
    except OfferRefused as error:
        return problem(406, str(error))
    except SinkError as error:
        return problem(503, str(error))
    headers = {"Location": f"{request.url.path.rstrip('/')}/{name}"}
    return Response(answer, 201, headers, "application/sdp")


async def body_of(request: Request, longest: int = LONGEST_BODY) -> bytes | None:
    """The request's body; None where it is too long. TimeoutError for a sender that stops."""
    data = b""
    length = request.headers.get("content-length", "0")
    if not length.isdigit() or int(length) > longest:
        return None
    try:
        with anyio.fail_after(STUCK_S):
            async for chunk in request.stream():
                data += chunk
                if len(data) > longest:
                    return None
    except TimeoutError:
        raise ClientDisconnect from None
    return data


async def _pictures(live: LivePicture) -> AsyncGenerator[tuple[int, bytes]]:
    """Number and JPEG of each picture that is newer than the one before; ends when none comes for a while."""
    loop, changed = asyncio.get_running_loop(), asyncio.Event()

    def wake() -> None:
        try:
            loop.call_soon_threadsafe(changed.set)
        except RuntimeError:  # the server has stopped in the meantime
            pass

    number = 0
    with live.watched(wake):
        while not live.ended:
            changed.clear()
            newest = await asyncio.to_thread(live.newer, number)
            if newest is not None:
                number = newest[0]
                yield newest
                continue
            try:
                with anyio.fail_after(STUCK_S):
                    await changed.wait()
            except TimeoutError:
                return


class _MotionJpeg(StreamingResponse):
    """Picture after picture, as long as the viewer takes them (motion JPEG)."""

    def __init__(self, live: LivePicture) -> None:
        self._live, self._pictures = live, _pictures(live)
        kind = f"multipart/x-mixed-replace; boundary={_BOUNDARY}"
        super().__init__(self._parts(), media_type=kind, headers={"Connection": "close"})

    async def _parts(self) -> AsyncIterator[bytes]:
        async for _, jpeg in self._pictures:
            head = f"--{_BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
            yield head.encode() + jpeg + b"\r\n"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "HEAD":
            await Response(headers=dict(self.headers))(scope, receive, send)
            return
        self._live.join()
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._live.leave()
            await self._pictures.aclose()
