"""The program, as `irchroma` and as `python -m irchroma.launch`: its command line, and Ctrl-C around that."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType


def main() -> int:
    """The command line's `main`; Ctrl-C while that is imported, and when it is done, ends without a word."""
    unanswered = (
        signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )  # else `nohup` may have its word
    if unanswered:
        signal.signal(signal.SIGINT, _end)
    from irchroma.launch import cli

    if unanswered:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return cli.main()
    finally:
        if unanswered:
            signal.signal(signal.SIGINT, _end)


def _end(number: int, frame: FrameType | None) -> None:
    os._exit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
