"""Who gets in to a page, by what name it is called, and what keeps the others out."""

from __future__ import annotations

import base64
import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from tests.waiting import answers, wait_for

from irchroma.stream.errors import SinkError, StreamError
from irchroma.stream.protocols import VideoInfo
from irchroma.stream.sinks.http.access import Access, host_name
from irchroma.stream.sinks.http.page import Choice
from irchroma.stream.sinks.http.sink import HttpSink, HttpSinkOptions
from irchroma.stream.sinks.open_sink import SinkOptions, open_sink

LIVE = VideoInfo((48, 64), Fraction(25), live=True)
OPERATOR, VIEWER = "operators-token", "viewers-token"
JSON = {"Content-Type": "application/json"}


class View:
    """Remembers what was asked of it."""

    engines: tuple[Choice, ...] = ()

    def __init__(self) -> None:
        self.wanted: list[dict[str, Any]] = []

    def state(self) -> dict[str, Any]:
        return {"view": "color", "wipe": 0.5, "blend": 0.5, "latency_ms": 1.0}

    def change(self, wanted: dict[str, Any]) -> None:
        self.wanted.append(wanted)


class Served:
    def __init__(self, host: str, access: Access) -> None:
        self.view, self.stats = View(), dict[str, Any]()
        options = HttpSinkOptions(stats=lambda: self.stats, control=self.view, access=access)
        self.sink = HttpSink(host, 0, options)
        self.sink.open(LIVE, (48, 64))
        self.sink.write(np.full((48, 64, 3), 90, np.uint8), 0, 40_000_000)
        self.port = self.sink.port

    def ask(
        self, path: str = "/stats.json", method: str = "GET", body: str = "", **headers: str
    ) -> tuple[int, http.client.HTTPMessage, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            connection.request(method, path, body or None, named)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read().decode("utf-8", "replace")
        finally:
            connection.close()

    def status(self, path: str = "/stats.json", method: str = "GET", body: str = "", **headers: str) -> int:
        return self.ask(path, method, body, **headers)[0]


@contextmanager
def served(host: str = "127.0.0.1", **access: Any) -> Iterator[Served]:
    one = Served(host, Access(**access))
    try:
        yield one
    finally:
        one.sink.close()


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def test_without_a_secret_only_this_machine_is_served(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "irchroma")
    with served("") as page:
        assert [answers(host, page.port) for host in ("127.0.0.1", "::1", "127.0.0.2")] == [True, True, False]
        assert page.status("/control", "POST", "{}", **JSON) == 200  # whoever sits here may do everything
    assert not answers("::1", page.port)
    said = [record.getMessage() for record in caplog.records if "this machine alone" in record.getMessage()]
    assert len(said) == 1
    assert "--token" in said[0]
    assert "http://user:password@" in said[0]


def test_with_a_secret_all_addresses_are_served() -> None:
    with served("", operator=OPERATOR) as page:
        assert [answers(host, page.port) for host in ("127.0.0.1", "::1", "127.0.0.2")] == [True] * 3
        assert page.status() == 401
        assert page.status(Authorization=f"Bearer {OPERATOR}") == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "127.0.0.1.example"])
def test_no_address_that_others_reach_goes_without_a_secret(host: str) -> None:
    with pytest.raises(SinkError, match="--token"):
        Served(host, Access())


def test_an_address_of_this_machine_needs_none() -> None:
    for host in ("127.0.0.2", "::1", "localhost"):
        sink = HttpSink(host, 0)
        sink.open(LIVE, (48, 64))
        assert answers(host, sink.port)
        sink.close()


def test_viewers_look_and_operators_change() -> None:
    with served(operator=OPERATOR, viewer=VIEWER) as page:
        assert page.status("/control", "POST", '{"view": "raw"}', **JSON) == 401
        viewer, operator = f"Bearer {VIEWER}", f"Bearer {OPERATOR}"
        assert page.status(Authorization=viewer) == page.status(Authorization=operator) == 200
        assert page.status(Authorization=basic("anybody", VIEWER)) == 200
        refused = page.ask("/control", "POST", '{"view": "raw"}', Authorization=viewer, **JSON)
        assert refused[0] == 403
        assert "operator" in refused[2]
        assert page.view.wanted == []
        assert page.status("/control", "POST", '{"view": "raw"}', Authorization=operator, **JSON) == 200
        assert page.view.wanted == [{"view": "raw"}]
        assert '"control": null' in page.ask("/", Authorization=viewer)[2]
        assert '"views"' in page.ask("/", Authorization=operator)[2]


def test_every_path_is_closed_to_strangers() -> None:
    with served(operator=OPERATOR) as page:
        for method in ("GET", "HEAD", "POST"):
            for path in ("/", "/stats.json", "/snapshot.jpg", "/live.mjpg", "/nothing", "/control", "/a/b"):
                assert page.status(path, method) == 401, (method, path)


def test_a_link_with_the_token_lets_a_browser_in_and_takes_it_out_of_the_address() -> None:
    with served(operator=OPERATOR) as page:
        status, headers, _ = page.ask(f"/?token={OPERATOR}")
        assert (status, headers["Location"]) == (303, "/")
        cookie = headers["Set-Cookie"]
        assert OPERATOR not in cookie
        assert "HttpOnly" in cookie
        assert "samesite=lax" in cookie.lower()
        kept = cookie.partition(";")[0]
        assert page.status(Cookie=kept) == 200
        assert page.status("/control", "POST", "{}", Cookie=kept, **JSON) == 200
        assert page.status(Cookie=kept[:-1] + "x") == 401
        assert page.status("/?token=wrong") == 401
    with served(operator="another-token") as page:
        assert page.status(Cookie=kept) == 401


def test_a_browser_without_a_token_is_asked_for_one() -> None:
    with served(operator=OPERATOR) as page:
        status, headers, asked = page.ask("/", Accept="text/html")
        assert status == 401
        assert "WWW-Authenticate" not in headers
        assert '<form method="post" action="/login">' in asked
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        wrong = page.ask("/login", "POST", "token=wrong&to=%2F", **form)
        assert wrong[0] == 401
        assert "not known" in wrong[2]
        status, headers, _ = page.ask("/login", "POST", f"token={OPERATOR}&to=%2F%2Fevil.example", **form)
        assert (status, headers["Location"]) == (303, "/evil.example")
        assert page.status(Cookie=headers["Set-Cookie"].partition(";")[0]) == 200


def test_a_user_and_a_password_are_asked_for_by_the_browser_itself() -> None:
    with served(user="ada", password="s3cret:word") as page:
        status, headers, _ = page.ask("/", Accept="text/html")
        assert (status, headers["WWW-Authenticate"].partition(" ")[0]) == (401, "Basic")
        assert page.status(Authorization=basic("ada", "s3cret:word")) == 200
        assert page.status("/control", "POST", "{}", Authorization=basic("ada", "s3cret:word"), **JSON) == 200
        for user, password in (("ada", "s3cret"), ("eve", "s3cret:word"), ("ada", ""), ("", "")):
            assert page.status(Authorization=basic(user, password)) == 401
        assert page.status(Authorization="Basic ////") == 401


def test_tokens_cannot_be_found_by_trying() -> None:
    with served(operator=OPERATOR) as page:
        tried = [page.status(Authorization=f"Bearer {number}") for number in range(12)]
        assert tried[:9] == [401] * 9
        assert tried[9:] == [429] * 3
        assert page.status(Authorization=f"Bearer {OPERATOR}") == 429
        cookie = page.ask(f"/?token={OPERATOR}")
        assert cookie[0] == 429


@pytest.mark.parametrize("path", ["/", "/stats.json", "/snapshot.jpg", "/live.mjpg"])
def test_another_name_for_this_address_gets_nothing(path: str) -> None:
    """DNS rebinding: a page of evil.example whose name is turned to 127.0.0.1 is of the same origin."""
    with served() as page:
        status, _, text = page.ask(path, Host=f"evil.example:{page.port}")
        assert status == 421
        assert "page_names" in text
        assert page.status("/control", "POST", "{}", Host="evil.example", **JSON) == 421
        assert page.view.wanted == []


def test_the_names_of_this_machine_are_known() -> None:
    machine = socket.gethostname()
    with served(names=("cam.example.org",)) as page:
        for host in ("127.0.0.1", "[::1]:8080", "localhost", "LOCALHOST:80", f"{machine}:1", "10.0.0.7:8080"):
            assert page.status(Host=host) == 200, host
        assert page.status(Host=f"{machine}.local") == page.status(Host="cam.example.org.:8080") == 200
        for host in ("", "localhost.evil.example", "cam.example.org.evil", "127.0.0.1.evil.example", "[::1"):
            assert page.status(Host=host) == 421, host


def test_host_headers_are_taken_apart() -> None:
    assert [host_name(text) for text in ("a:80", "[::1]:80", "A.b.", ":80", "a:b", "[::1", "[::1]x", "")] == [
        "a",
        "::1",
        "a.b",
        None,
        None,
        None,
        None,
        None,
    ]


def test_pages_of_other_sites_read_nothing() -> None:
    with served() as page:
        for headers in (
            {"Origin": "http://evil.example"},
            {"Origin": "null"},
            {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "no-cors"},
            {"Sec_Fetch_Site": "same-site", "Sec_Fetch_Mode": "cors"},
        ):
            for path in ("/stats.json", "/snapshot.jpg", "/live.mjpg"):
                assert page.status(path, **headers) == 403, (path, headers)
        assert page.status("/", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="navigate") == 200  # a link
        assert page.status(Origin=f"http://127.0.0.1:{page.port}") == 200
        headers = page.ask("/")[1]
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert "Access-Control-Allow-Origin" not in headers


def test_hostile_bodies_get_an_answer() -> None:
    with served() as page:
        for body, status in (
            ("[" * 4000, 400),
            ('{"a":' * 800, 400),
            ("9" * 4000, 400),
            ('{"wipe": 1e400}', 200),  # for the control to judge
            (" " * 40_000, 413),
            ("[]", 400),
            ("\x00", 400),
        ):
            answer = page.ask("/control", "POST", body, **JSON)
            assert answer[0] == status, body[:10]
            assert json.loads(answer[2])
        assert page.ask("/control", "POST", "", **JSON)[0] == 200, "nothing to change"


def test_a_head_that_is_too_long_is_refused_however_it_comes() -> None:
    with served() as page:
        assert page.status(**{"X-Long": "y" * 15_000}) == 200
        assert page.status(**{"X-Long": "y" * 17_000}) == 431
        assert page.status("/stats.json?" + "y" * 17_000) == 431


def test_a_request_that_never_ends_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("irchroma.stream.sinks.http.server._REQUEST_S", 0.3)
    with served() as page:
        for begin in (b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: x\r\nA: b"):
            with socket.create_connection(("127.0.0.1", page.port), timeout=10) as slow:
                slow.sendall(begin)
                start = time.monotonic()
                try:
                    assert slow.recv(1) == b""
                except ConnectionResetError:
                    pass
                assert time.monotonic() - start < 5


def test_connections_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("irchroma.stream.sinks.http.server._MOST_CONNECTIONS", 3)
    with served() as page:
        held = [socket.create_connection(("127.0.0.1", page.port), timeout=10) for _ in range(3)]
        threading.Event().wait(0.2)
        with pytest.raises((ConnectionError, http.client.HTTPException)):
            page.status()
        for one in held:
            one.close()
        wait_for(lambda: _works(page))


def _works(page: Served) -> bool:
    try:
        return page.status() == 200
    except (ConnectionError, http.client.HTTPException):
        return False


def test_strangers_may_ask_whether_it_works_and_no_more() -> None:
    with served(operator=OPERATOR) as page:
        assert page.ask("/healthz")[::2] == (200, '{"status":"ok"}')
        assert page.ask("/readyz")[::2] == (200, '{"ready":true}')
        page.stats = {"state": "lost", "reason": "secret reasons"}
        assert page.ask("/readyz")[::2] == (503, '{"ready":false}')
        figures = json.loads(page.ask(Authorization=f"Bearer {OPERATOR}")[2])
        assert (figures["fps"], figures["live"]["latency_ms"]) == (0.0, None)
        assert figures["reason"] == "secret reasons"


def test_garbage_neither_breaks_nor_leaks(caplog: pytest.LogCaptureFixture) -> None:
    noise = np.random.default_rng(5)
    with served() as page:
        for number in range(60):
            with socket.create_connection(("127.0.0.1", page.port), timeout=10) as one:
                head = b"GET /stats.json HTTP/1.1\r\nHost: localhost\r\n" if number % 2 else b""
                one.sendall(head + noise.integers(0, 256, 300, np.uint8).tobytes() + b"\r\n\r\n")
        assert page.status() == 200
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def test_an_address_takes_a_user_and_a_password() -> None:
    sink = open_sink("http://ada:p%40ss@:0", SinkOptions(access=Access(viewer=VIEWER)))
    assert isinstance(sink, HttpSink)
    access = sink.options.access
    assert (access.user, access.password, access.viewer) == ("ada", "p@ss", VIEWER)
    assert "p@ss" not in repr(sink.options)
    assert VIEWER not in repr(sink.options)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"operator": "short"}, "8 printable ASCII characters or more, got 5"),
        ({"viewer": "with a\nnewline"}, "8 printable ASCII characters or more, got others among them"),
        ({"operator": VIEWER, "viewer": VIEWER}, "give two"),
        ({"user": "ada"}, "both a user and a password"),
    ],
)
def test_secrets_that_protect_nothing_are_refused(wrong: dict[str, str], says: str) -> None:
    with pytest.raises(StreamError, match=says):
        Access(**wrong)


def test_pages_of_one_port_have_the_same_secrets() -> None:
    with served(operator=OPERATOR) as page:
        other = HttpSink("127.0.0.1", page.port, HttpSinkOptions(name="yard"))
        with pytest.raises(SinkError):
            other.open(LIVE, (48, 64))
