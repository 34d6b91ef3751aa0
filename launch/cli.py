"""The `irchroma` command: finds the command's module, runs it, turns errors into one line."""

from __future__ import annotations

import argparse
import os
import select
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from irchroma.engines.errors import EngineError
from irchroma.engines.gpu.probe import ask_for_queues
from irchroma.launch.arguments import CommandTable, OneLineParser, hide_arguments, one_line
from irchroma.launch.config import ConfigError
from irchroma.stream.errors import StreamError
from irchroma.stream.remarks import Remarks, run_remarks

COMMANDS = CommandTable(
    "command",
    {
        "run": ("commands.run", "color a stream or a file and send it to one or more sinks"),
        "image": ("commands.image", "color a picture or a folder of pictures"),
        "evaluate": ("commands.evaluate", "measure an engine on infrared and color pairs"),
        "find": ("commands.find", "find cameras on the network and at this machine"),
        "flicker": ("commands.flicker", "measure how much a video's color flickers"),
        "engines": ("commands.engines.command", "list, build and inspect engines"),
        "train": ("commands.train.command", "train a network from pairs"),
        "calibrate": ("commands.calibrate.command", "measure a camera, a scene or this machine"),
        "references": (
            "commands.references",
            "keep color pictures, and find those that suit an infrared scene",
        ),
        "bench": ("bench.command", "measure speed on this machine"),
        "archive": ("commands.archive", "color a folder of recordings, in parallel"),
        "fleet": ("commands.fleet", "run many cameras on many machines, or simulate it"),
        "verify": ("commands.verify", "check that evidence is as it was recorded"),
        "recolor": ("commands.recolor", "color the untouched input of a recording anew"),
        "latency": ("commands.latency", "from a frame's making to its colored picture at a viewer's"),
        "doctor": ("commands.doctor", "what works on this machine, and what mends the rest"),
    },
    colors="run",
)


class _Version(argparse.Action):
    """Prints the version, which is looked up only where somebody asks."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import PackageNotFoundError, version

        try:
            print(f"irchroma {version('irchroma')}")
        except PackageNotFoundError:
            print("irchroma, of a checkout that is not installed")
        parser.exit()


def build_parser() -> OneLineParser:
    """The parser of the whole command line."""
    parser = OneLineParser(prog="irchroma", description="Live infrared-to-color video.")
    parser.add_argument("--version", action=_Version, nargs=0, help="show the program's version and exit")
    COMMANDS.add_to(parser)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run one command.

    Returns:
        0 when it did what was asked; 1 when it could not, after one line on standard error; 2 for a
        command line that makes no sense; 130 when interrupted, 143 when told to end before it had begun.
    """
    is_shown = occupy_standard_streams()
    own_process = argv is None
    if argv is None:
        argv = sys.argv[1:]
        hide_arguments(argv)
    try:
        with interrupted_at_once():
            args = build_parser().parse_args(argv)
            settle_process()
        end_tidily_when_told()
        code = _run(args, is_shown)
    except KeyboardInterrupt:
        code = 130
    except SystemExit as told:  # help was shown, or a mistake was told
        if not _all_is_written(told.code or 0):
            raise SystemExit(1) from None
        raise
    except BrokenPipeError:  # whoever read the help has seen enough
        code = 0
    except OSError as error:
        print(f"irchroma: {one_line(error)}", file=sys.stderr)
        code = 1
    if not _all_is_written(code):
        code = 1
    if own_process and "irchroma.stream.loop.threads" in sys.modules:  # else nothing can hang
        from irchroma.launch.run.process import left_with

        try:
            return left_with(code)
        except KeyboardInterrupt:
            os._exit(130)
    return code


def occupy_standard_streams() -> bool:
    """Give what was closed by whoever started this (`2>&-`) to nobody, before a video gets its number.

    Returns:
        Whether standard output was open.
    """
    is_shown = sys.stdout is not None
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 (for good)
    return is_shown


@contextmanager
def interrupted_at_once() -> Iterator[None]:
    """Ctrl-C while nothing but imports has been done: there is nothing to unwind and nothing to say."""
    main_thread = threading.current_thread() is threading.main_thread()
    if not main_thread or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, lambda number, frame: os._exit(130))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def let_go_of_readers() -> bool:
    """Write what is waiting to be read; True where a reader has gone (`| head`), to whom no more is said."""
    gone = False
    for stream in (sys.stdout, sys.stderr):
        try:
            watch = select.poll()
            watch.register(stream.fileno(), 0)
            broken = any(event & select.POLLERR for _, event in watch.poll(0))
            if broken:  # before the interpreter's end, which would complain
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            gone = gone or broken
            stream.flush()
        except (OSError, ValueError):  # a full disk, a stream that a test has closed
            pass
    return gone


def _all_is_written(code: object) -> bool:
    """False where what was said on standard output did not get to where it was to go, but for who has left.

    Args:
        code: as it would be; of a failure that was told nothing more is said.
    """
    let_go_of_readers()
    try:
        sys.stdout.flush()
    except ValueError:  # a stream that a test has closed
        return True
    except OSError as error:
        if isinstance(error, BrokenPipeError):  # who has left in the midst of it
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return True
        if code == 0:
            print(f"irchroma: standard output: {one_line(error)}", file=sys.stderr)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter's end complains
        return False
    return True


def settle_process() -> None:
    """What is set for the whole process, before any library asks for it; the user's own word stays."""
    ask_for_queues()
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")  # a broken file is one line, ours
    cv2 = sys.modules.get("cv2")
    if cv2 is not None:  # it looks at its environment when it is loaded
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # AV_LOG_QUIET, for the same reason


def _run(args: argparse.Namespace, is_shown: bool) -> int:
    token = run_remarks.set(Remarks())  # of commands that have no run: each kind is said once, too
    try:
        from irchroma.launch.run.outputs import require_results_writable

        require_results_writable(args, is_shown)
        return COMMANDS.run(args)
    except KeyboardInterrupt:
        return 130
    except SystemExit as told:  # by SIGTERM: whoever still works is not waited for long, see `left_with`
        return told.code if isinstance(told.code, int) else 1
    except BrokenPipeError as error:
        if let_go_of_readers():  # whoever read has seen enough
            return 0
        print(f"irchroma {args.command}: {one_line(error)}", file=sys.stderr)
        return 1
    except (StreamError, EngineError, ConfigError, OSError) as error:
        print(f"irchroma {args.command}: {one_line(error)}", file=sys.stderr)
        return 1
    except Exception as error:
        if os.environ.get("IRCHROMA_DEBUG"):
            raise
        print(
            f"irchroma {args.command}: unexpected {type(error).__name__}: {one_line(error)}"
            " (set IRCHROMA_DEBUG=1 for the traceback)",
            file=sys.stderr,
        )
        return 1
    finally:
        run_remarks.reset(token)


def end_tidily_when_told() -> None:
    """Let SIGTERM unwind as Ctrl-C does, so that unfinished files go; `run` answers to it in its own way.

    So does SIGHUP, the end of the terminal, but where somebody wants none of it (`nohup`).
    """

    def leave(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, leave)
        if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:
            signal.signal(signal.SIGHUP, leave)
