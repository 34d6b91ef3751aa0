"""A camera that costs next to nothing: a clip, drawn before, played at a camera's pace.

Frames that nobody takes in time are left out, as by a real camera.
"""

from __future__ import annotations

import itertools
import socket
import threading
import time
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from irchroma.stream.synthetic.camera import SyntheticCamera
from irchroma.stream.synthetic.options import SyntheticOptions

CLIP_FRAMES = 30
_CLIENT_STUCK_S = 10.0

Pixels = NDArray[np.uint8] | NDArray[np.uint16]


def drawn(band: Literal["nir", "thermal"], size: tuple[int, int]) -> list[Pixels]:
    """A second of the synthetic camera, (H, W) each: to draw a large frame takes longer than to color it."""
    camera = SyntheticCamera(SyntheticOptions(band=band, size=size))
    return [camera.frame(number).pixels for number in range(CLIP_FRAMES)]


class ClipServer:
    """Serves one clip, to and fro, as raw video over TCP, to whoever connects.

    Args:
        size: (H, W) in pixels.
        rate: frames a second.
        shown: (H, W) uint8, or uint16 counts, each; None for the synthetic near-infrared camera's.

    Attributes:
        taken: set as soon as a client has taken a frame.
        left_out: frames that the last client did not take in time, from the first on that it took.
    """

    def __init__(self, size: tuple[int, int], rate: int, shown: Sequence[Pixels] | None = None) -> None:
        shown = shown or drawn("nir", size)
        pictures = [np.ascontiguousarray(one, one.dtype.newbyteorder("<")).tobytes() for one in shown]
        self._clip = pictures + pictures[-2:0:-1]
        self._size, self._rate = size, rate
        self._format = "gray8" if shown[0].dtype == np.uint8 else "gray16le"
        self.taken, self.left_out = threading.Event(), 0
        self._ended = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._accept, name="clip server", daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        """As `irchroma run` takes a source."""
        port = self._listener.getsockname()[1]
        size = f"{self._size[1]}x{self._size[0]}"
        return f"raw:tcp://127.0.0.1:{port}?size={size}&format={self._format}&rate={self._rate}&live=1"

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
            threading.Thread(target=self._play, args=(client,), daemon=True).start()

    def _play(self, client: socket.socket) -> None:
        start_s, self.left_out = time.monotonic(), 0
        with client:
            client.settimeout(_CLIENT_STUCK_S)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, len(self._clip[0]))
            for number in itertools.count():
                late_s = time.monotonic() - start_s - number / self._rate
                if late_s > 1 / self._rate:
                    self.left_out += 1  # the client was too slow for this one
                    continue
                if self._ended.wait(max(0.0, -late_s)):
                    return
                try:
                    client.sendall(self._clip[number % len(self._clip)])
                except OSError:
                    return
                if number == 0:
                    start_s = time.monotonic()  # who loads a network first has left nothing out
                    self.taken.set()
