"""A headless Chromium for tests of pages, spoken to through its debugging pipe (DevTools Protocol)."""

from __future__ import annotations

import base64
import json
import os
import select
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SHOWN = "[...document.querySelectorAll('main > img, main > video')].find((one) => !one.hidden)"
"""What shows the page's picture, an image or a video."""
WIDTH = f"(shown => shown && (shown.naturalWidth || shown.videoWidth))({SHOWN})"
"""Its width in the picture's pixels."""


class Tab:
    """One page in the browser."""

    def __init__(self, commands: int, answers: int) -> None:
        self._commands, self._answers = commands, answers
        self._number = 0
        self._session: str | None = None
        self._rest = b""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command and its answer."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + 30
        while True:
            while b"\0" not in self._rest:
                ready, _, _ = select.select([self._answers], [], [], max(0.0, deadline - time.monotonic()))
                assert ready, f"the browser does not answer to {method}"
                self._rest += os.read(self._answers, 1 << 20)
            line, _, self._rest = self._rest.partition(b"\0")
            answer = json.loads(line)
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return dict(answer["result"])

    def value(self, script: str) -> Any:
        """What an expression (also a promise) is in the page."""
        got = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in got, got["exceptionDetails"]
        return got["result"].get("value")

    def wait_for(self, script: str) -> None:
        """Wait until an expression is true in the page."""
        deadline = time.monotonic() + 30
        while not self.value(f"Boolean({script})"):
            assert time.monotonic() < deadline, f"waited in vain for {script}"
            time.sleep(0.05)

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """The mouse with its left button down, in CSS pixels."""
        for kind, (x, y) in (("mousePressed", start), ("mouseMoved", end), ("mouseReleased", end)):
            held = 0 if kind == "mouseReleased" else 1
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=held)

    def press(self, key: str) -> None:
        """A key of the keyboard, by its name in `KeyboardEvent.key`."""
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key)

    def look(self, scheme: str, size: tuple[int, int]) -> None:
        """Show the page in `light` or `dark`, in a window of `size` (H, W)."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", features=features)
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=size[1],
            height=size[0],
            deviceScaleFactor=1,
            mobile=size[1] < 600,
        )

    def screenshot(self, path: Path) -> None:
        """A PNG of what is seen."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))


@contextmanager
def opened(address: str, profile: Path, size: tuple[int, int] = (800, 1200)) -> Iterator[Tab]:
    """A tab of a fresh browser with that page in a window of `size` (H, W)."""
    to_browser, from_browser = os.pipe(), os.pipe()
    shell = (
        f"exec chromium --headless=new --no-sandbox --disable-gpu --no-first-run --remote-debugging-pipe"
        f" --window-size={size[1]},{size[0]} --user-data-dir='{profile}'"
        f" 3<&{to_browser[0]} 4>&{from_browser[1]}"
    )
    process = subprocess.Popen(
        ["bash", "-c", shell], pass_fds=(to_browser[0], from_browser[1]), stderr=subprocess.DEVNULL
    )
    os.close(to_browser[0])
    os.close(from_browser[1])
    try:
        tab = Tab(to_browser[1], from_browser[0])
        tab.call("Page.navigate", url=address)
        tab.wait_for(f"location.href.startsWith({json.dumps(address)}) && document.readyState !== 'loading'")
        yield tab
    finally:
        os.close(to_browser[1])  # the browser ends with its pipe
        os.close(from_browser[0])
        process.terminate()
        process.wait(30)
