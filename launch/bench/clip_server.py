"""Plays a short clip as raw video over TCP, at a camera's pace: a camera that costs next to nothing."""

from __future__ import annotations

import itertools
import socket
import threading
import time

import numpy as np

from irchroma.stream.synthetic.camera import SyntheticCamera
from irchroma.stream.synthetic.options import SyntheticOptions

_CLIP_FRAMES = 30
_STUCK_S = 10.0


class ClipServer:
    """Serves one clip of the synthetic near-infrared camera, to and fro, to whoever connects.

    Frames that a client does not take in time are left out, as by a real camera.

    Args:
        size: (H, W) in pixels.
        rate: frames a second.
    """

    def __init__(self, size: tuple[int, int], rate: int) -> None:
        camera = SyntheticCamera(SyntheticOptions(band="nir", size=size))
        pictures = [np.ascontiguousarray(camera.frame(n).pixels).tobytes() for n in range(_CLIP_FRAMES)]
        self._clip = pictures + pictures[-2:0:-1]
        self._size, self._rate = size, rate
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
        """Disconnect everybody."""
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
            threading.Thread(target=self._play, args=(client,), daemon=True).start()

    def _play(self, client: socket.socket) -> None:
        start_s = time.monotonic()
        with client:
            client.settimeout(_STUCK_S)
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
