"""Cameras that cost next to nothing: a clip of the synthetic camera, drawn before, played at a camera's pace.

Frames that nobody takes in time are left out, as by a real camera.
"""

from __future__ import annotations

import itertools
import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from irchroma.launch.config import ConfigError
from irchroma.stream.synthetic.camera import SyntheticCamera
from irchroma.stream.synthetic.options import SyntheticOptions

CLIP_FRAMES = 30
RATE, PLAYED = 30, 60
"""Frames a second, and that are drawn, of a `PlayedCamera`."""
_CLIENT_STUCK_S, _STUCK_S = 10.0, 60.0


class ClipServer:
    """Serves one clip of the near-infrared camera, to and fro, as raw video over TCP, to whoever connects.

    Args:
        size: (H, W) in pixels.
        rate: frames a second.
        shown: (H, W) uint8 each, instead of the synthetic camera's, which takes its time to draw large ones.
    """

    def __init__(
        self, size: tuple[int, int], rate: int, shown: list[NDArray[np.uint8]] | None = None
    ) -> None:
        if shown is None:
            camera = SyntheticCamera(SyntheticOptions(band="nir", size=size))
            shown = [np.asarray(camera.frame(n).pixels, np.uint8) for n in range(CLIP_FRAMES)]
        pictures = [np.ascontiguousarray(one).tobytes() for one in shown]
        self._clip = pictures + pictures[-2:0:-1]
        self._size, self._rate = size, rate
        self.clients = 0  # that have come so far
        self._ended = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._accept, name="clip server", daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        """As `irchroma run` takes a source."""
        port = self._listener.getsockname()[1]
        size = f"{self._size[1]}x{self._size[0]}"
        return f"raw:tcp://127.0.0.1:{port}?size={size}&format=gray8&rate={self._rate}&live=1"

    def close(self) -> None:
        self._ended.set()
        self._listener.close()
        self._thread.join()

    def _accept(self) -> None:
        self._listener.settimeout(0.2)
        while not self._ended.is_set():
            try:
                client, _ = self._listener.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            self.clients += 1
            threading.Thread(target=self._play, args=(client,), daemon=True).start()

    def _play(self, client: socket.socket) -> None:
        start_s = time.monotonic()
        with client:
            client.settimeout(_CLIENT_STUCK_S)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, len(self._clip[0]))
            for number in itertools.count():
                late_s = time.monotonic() - start_s - number / self._rate
                if late_s > 1 / self._rate:
                    continue  # the client was too slow for this one
                if self._ended.wait(max(0.0, -late_s)):
                    return
                try:
                    client.sendall(self._clip[number % len(self._clip)])
                except OSError:
                    return


class PlayedCamera:
    """Counts of the synthetic thermal camera, drawn before and played to and fro to a run's standard input.

    To draw a frame takes as much CPU time as to color it, and at 1280x720 more than there is from one to the
    next.

    Attributes:
        left_out: of the last play.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        """Args:
        size: (H, W).
        """
        camera = SyntheticCamera(SyntheticOptions(band="thermal", size=size))
        drawn = [camera.frame(number).pixels.astype("<u2").tobytes() for number in range(PLAYED)]
        self._frames = drawn + drawn[-2:0:-1]
        self.address = f"raw:-?size={size[1]}x{size[0]}&format=gray16le&rate={RATE}&live=1"
        self.left_out = 0

    def shown_to(self, command: list[str], count: int, about: str, environment: dict[str, str]) -> str:
        """Play so many frames to a command at their pace, end it, and return its log.

        It is ended by a signal: a run waits for a live source that ends.

        Raises:
            ConfigError: it failed, or does not end.
        """
        reading, writing = os.pipe()
        process = subprocess.Popen(
            command,
            stdin=reading,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            env={**os.environ, **environment},
        )
        os.close(reading)  # so that a play ends that nobody reads
        thread = threading.Thread(target=self._play, args=(writing, count, process.terminate), daemon=True)
        thread.start()
        try:
            log = process.communicate(timeout=2 * count / RATE + _STUCK_S)[1]
        except subprocess.TimeoutExpired as error:
            process.kill()
            raise ConfigError(f"{about} does not end") from error
        finally:
            thread.join()
        if process.returncode:
            raise ConfigError(f"{about} failed: {log.strip()[-300:]}")
        return log

    def _play(self, writing: int, count: int, end: Callable[[], None]) -> None:
        self.left_out = 0
        with os.fdopen(writing, "wb", buffering=0) as pipe, suppress(BrokenPipeError):
            start_s: float | None = None
            for number in range(count):
                due_s = 0.0 if start_s is None else start_s + number / RATE - time.monotonic()
                if due_s < -1 / RATE:
                    self.left_out += 1
                    continue
                time.sleep(max(0.0, due_s))
                left = memoryview(self._frames[number % len(self._frames)])
                while left:
                    left = left[pipe.write(left) or 0 :]
                start_s = start_s or time.monotonic()
            end()
