"""`irchroma image`: colors a picture or a folder of pictures."""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path

import numpy as np

from irchroma.engines.errors import EngineError
from irchroma.engines.network.network import NetworkOptions
from irchroma.engines.repair.mask import MaskError
from irchroma.launch.archive.plan import SUFFIXES as VIDEO_SUFFIXES
from irchroma.launch.config import ConfigError
from irchroma.launch.progress import Progress
from irchroma.launch.run.process import interruptible, settle_threads
from irchroma.launch.run.repairing import PictureRepair
from irchroma.launch.run.settings.options import RepairChoice
from irchroma.launch.stills.coloring import StillPictures, add_engine_arguments, options_from
from irchroma.launch.stills.picture_files import (
    WRITTEN,
    PictureError,
    infrared_of,
    is_in_color,
    list_pictures,
    other_entries,
    read_pixels,
    write_rgb,
)
from irchroma.stream.errors import NO_ROOM, StreamError

EXAMPLE = (
    "irchroma image night/ colored/ --engine nir\n"
    "  irchroma image gate.png clean.png --engine gray --repair mask.png"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("input", type=Path, metavar="IN", help="a picture, or a folder of pictures")
    parser.add_argument("output", metavar="OUT", help="a .png or .jpg file, or a folder (FOLDER/ is made)")
    add_engine_arguments(parser, "auto")
    parser.add_argument(
        "--repair",
        metavar="MASK.png|DIR|FILE.toml",
        help="fill in what is white in a mask of the pictures' size, each picture's own (a folder of masks by"
        " its name), or a camera profile's bad pixels",
    )
    parser.add_argument(
        "--repair-with",
        default="auto",
        metavar="METHOD",
        help="auto, partial-conv, glcic, context-encoder, telea, navier-stokes or FILE.onnx (default auto)",
    )


def run(args: argparse.Namespace) -> int:
    """Color everything that can be read; 1 when something could not."""
    return interruptible(partial(_color, args))


def _color(args: argparse.Namespace) -> int:
    settle_threads(args.runtime, args.threads)
    if args.repair == "auto":
        raise ConfigError("--repair auto looks at a video: name a mask, such as calibrate burn-in writes")
    choice = RepairChoice(args.repair or "", args.repair_with)
    jobs = plan(args.input, Path(args.output), folder=args.output.endswith(os.sep))
    with StillPictures(options_from(args)) as still, ExitStack() as held:
        repair = None
        if choice.mask:
            repair = held.enter_context(
                closing(PictureRepair(choice, NetworkOptions(args.runtime, args.threads)))
            )
        noted = _Noted()
        failures = _color_each(jobs, still, repair, noted)
        if colored := len(jobs) - failures:
            where = args.output if len(jobs) > 1 else jobs[0][1]
            missing = f", {failures} of {len(jobs)} could not be colored" if failures else ""
            print(
                f"{Path(where)}: {colored} picture{'s' * (colored != 1)}, {', '.join(still.names)}{missing}"
            )
        if args.input.is_dir() and (others := other_entries(args.input)):
            print(f"{args.input}: left out what is no picture, or lies in a folder: {', '.join(others)}")
        for line in (*still.notes, *noted.lines):
            print(line)
    return 1 if failures else 0


class _Noted:
    """What is to be said of pictures that were colored all the same."""

    def __init__(self) -> None:
        self._names: dict[str, list[str]] = {}

    def note(self, text: str, name: str) -> None:
        """Of one picture."""
        self._names.setdefault(text, []).append(name)

    @property
    def lines(self) -> list[str]:
        """One a text: the picture, or how many there are and the first."""
        return [
            f"{names[0] if len(names) == 1 else f'{len(names)} pictures, the first {names[0]}'}: {text}"
            for text, names in self._names.items()
        ]


def _color_each(
    jobs: list[tuple[Path, Path]], still: StillPictures, repair: PictureRepair | None, noted: _Noted
) -> int:
    """Color what can be read, say what cannot; how many pictures were not written."""
    failures = 0
    progress = Progress(len(jobs))
    for done, (source, target) in enumerate(jobs):
        progress.update(done, source.name)
        try:
            read = read_pixels(source)
            if is_in_color(read):
                noted.note("in color already; its brightness was taken for infrared", source.name)
            pixels = infrared_of(read)
            if pixels.dtype == np.uint16 and still.options.engine == "auto":
                noted.note("16-bit counts were taken for thermal; --engine nir says otherwise", source.name)
            unlike, unmarked = still.unlike, 0 if repair is None else repair.unmarked
            write_rgb(target, still.color(pixels if repair is None else repair.apply(pixels, source.stem)))
            if still.unlike > unlike:
                noted.note("without a reference, as nothing in the library is alike enough", source.name)
            if repair is not None and repair.unmarked > unmarked:
                noted.note("not repaired, without a mask of its name or with an empty one", source.name)
        except (PictureError, StreamError, MaskError) as error:
            progress.close()
            print(f"irchroma image: {error}", file=sys.stderr)
            failures += 1
            if isinstance(error.__cause__, OSError) and error.__cause__.errno in NO_ROOM:
                print(f"irchroma image: {len(jobs) - done} pictures are left", file=sys.stderr)
                return failures + len(jobs) - done - 1
        except EngineError:
            progress.close()
            raise
    progress.close()
    return failures


def plan(source: Path, target: Path, *, folder: bool = False) -> list[tuple[Path, Path]]:
    """(input, output) files; makes the output's folder.

    Args:
        source: a picture, or a folder of them.
        target: the output, or its folder.
        folder: `target` was written as a folder's name, with a slash behind it.

    Raises:
        PictureError: input or output make no sense.
    """
    into_folder = folder or source.is_dir() or target.is_dir()
    _require_fitting(source, target, folder, into_folder)
    jobs = _named(list_pictures(source) if source.is_dir() else [source], target) if into_folder else []
    for path, output in jobs or [(source, target)]:
        if output.exists() and output.samefile(path):
            raise PictureError(f"{output}: would overwrite the input; choose another folder or name")
    made = target if into_folder else target.parent
    try:
        made.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PictureError(f"{made}: cannot be made ({error.strerror})") from error
    return jobs or [(source, target)]


def _require_fitting(source: Path, target: Path, folder: bool, into_folder: bool) -> None:
    """Raise where the input is no picture and no folder, or the output cannot be its output."""
    if not source.exists():
        raise PictureError(f"{source}: no such file or folder")
    if not source.is_file() and not source.is_dir():
        raise PictureError(f"{source}: is no file, expected a picture or a folder")
    if source.is_file() and source.suffix.lower() in VIDEO_SUFFIXES:
        raise PictureError(f"{source}: is a video, expected a picture: irchroma run colors videos")
    if not into_folder and target.suffix.lower() not in WRITTEN:
        raise PictureError(
            f"{target}: expected an existing folder or a name ending in {', '.join(WRITTEN)};"
            f" {target}/ makes a folder"
        )
    if into_folder and target.exists() and not target.is_dir():
        raise PictureError(f"{target}: is a file; pictures of a folder need a folder")
    if source.is_dir() and not folder and not target.exists() and target.suffix.lower() in WRITTEN:
        raise PictureError(f"{target}: is a picture's name; pictures of a folder need a folder")


def _named(pictures: list[Path], folder: Path) -> list[tuple[Path, Path]]:
    """Each picture with its own output: its own name where that can be written, else its stem's, or, where
    another has that, its name's with `.png` behind it."""
    taken = {path.name for path in pictures if path.suffix.lower() in WRITTEN}
    jobs = []
    for path in pictures:
        name = path.name
        if path.suffix.lower() not in WRITTEN:
            name = path.stem + ".png"
            while name in taken:
                name = (path.name if name == path.stem + ".png" else name) + ".png"
            taken.add(name)
        jobs.append((path, folder / name))
    return jobs
