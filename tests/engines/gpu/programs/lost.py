"""Loses a GPU on purpose, by a kernel on an address that is none, in a thread that then ends. A program.

It must end with one clear error and exit code 0, not by an abort; and nothing may try the GPU again.
"""

from __future__ import annotations

import argparse
import threading

from tests.engines.gpu.programs.copying_network import device_of

from irchroma.engines.errors import DeviceLost, EngineError
from irchroma.engines.gpu.kernels.source import launch


class Nowhere:
    """Memory that is none."""

    address, nbytes = 0x10, 4 * 64 * 64


def main() -> None:
    """Lose it, close it, and be refused."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="torch")
    args = parser.parse_args()
    device = device_of(args.device)
    queue, mark = device.open_queue(), device.make_mark()
    said: list[EngineError] = []

    def lose() -> None:
        try:
            size = {"width": 64, "height": 64, "radius": 1}
            queue.launch(launch("box", (64, 64, 1), planes=Nowhere(), out=Nowhere(), **size))
            queue.record(mark)
            mark.wait()
        except EngineError as error:
            said.append(error)

    thread = threading.Thread(target=lose)
    thread.start()
    thread.join()
    assert len(said) == 1, "the device went on"
    print(type(said[0]).__name__, said[0])
    assert isinstance(said[0], DeviceLost)
    for close in (mark.close, queue.close, device.close):
        try:
            close()
        except EngineError as error:
            print("closing:", error)
    try:
        device_of(args.device)
    except DeviceLost as error:
        print("refused:", error)
    else:
        raise AssertionError("a lost device was opened again")


if __name__ == "__main__":
    main()
