"""`irchroma references`: a library of color pictures, from which a run or a picture takes what suits it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from irchroma.calibration.references import ReferenceCollector
from irchroma.engines.errors import EngineError
from irchroma.engines.reference.pictures import Reference, is_gray, read_picture
from irchroma.engines.retrieval import features
from irchroma.engines.retrieval.index import Entry
from irchroma.engines.retrieval.library import Match, ReferenceLibrary, default_folder
from irchroma.launch.arguments import add_actions
from irchroma.launch.commands.calibrate.reference import pictures
from irchroma.launch.measured import words_of, write_json
from irchroma.launch.progress import Progress
from irchroma.launch.stills.coloring import luma_of
from irchroma.launch.stills.picture_files import (
    PictureError,
    contact_sheet,
    list_pictures,
    read_infrared,
    write_rgb,
)

EXAMPLE = """irchroma references add holiday/ yard.jpg --from-run day.mp4
  irchroma references search night.png --top 5 --sheet found.png
  irchroma run rtsp://camera/stream --to http://:8080 --reference auto"""
ACTIONS = {
    "add": ("take pictures in", "irchroma references add holiday/ yard.jpg --from-run day.mp4"),
    "list": ("say what is there", "irchroma references list --library yard-references/"),
    "remove": ("take pictures out, files and all", "irchroma references remove 1f0c9a7b street-77aa01c2.jpg"),
    "search": (
        "find what suits an infrared frame",
        "irchroma references search night.png --top 5 --json found.json",
    ),
}


STILL_FROM = 8
"""Pictures of a recording from which nobody who lingered is taken for the scene."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    made = add_actions(parser, ACTIONS)
    for one in made.values():
        one.add_argument(
            "--library", type=Path, metavar="DIR", help=f"the library's folder (your own: {default_folder()})"
        )
    add = made["add"]
    add.add_argument(
        "pictures",
        nargs="*",
        type=Path,
        metavar="FOLDER|PICTURE",
        help="in color; of a folder that --collect has filled its rgb/ is taken",
    )
    add.add_argument(
        "--from-run",
        action="append",
        default=[],
        metavar="RECORDING",
        help="a recording or a camera by day: each view once, without what passes by",
    )
    add.add_argument("--every", type=float, default=1.0, metavar="S", help="of it, look every S seconds (1)")
    add.add_argument("--seconds", type=float, default=0.0, metavar="S", help="of it, read so long (0: all)")
    add.add_argument("--keep", type=int, default=8, metavar="N", help="of it, views to keep at most (8)")
    made["remove"].add_argument("names", nargs="+", metavar="KEY|FILE", help="as `list` names them")
    search = made["search"]
    search.add_argument("frame", type=Path, metavar="FRAME", help="an infrared picture, 8 or 16 bits")
    search.add_argument("--top", type=int, default=5, metavar="N", help="the best N (5)")
    search.add_argument("--json", type=Path, metavar="FILE", help="write them as JSON; - shows it")
    search.add_argument("--sheet", type=Path, metavar="FILE", help="the frame beside what was found: a PNG")


def run(args: argparse.Namespace) -> int:
    """Do it; 1 where a picture could not be taken in, or none was there to be."""
    folder: Path = args.library or default_folder()
    if args.action == "add":
        return _add(args, folder)
    library = ReferenceLibrary(folder)
    if args.action == "list":
        print("\n".join([*map(_line, library.entries), *(f"{_line(one)} (gone)" for one in library.gone)]))
        print(f"{folder}: {_counted(len(library.entries))}")
        return 0
    if args.action == "remove":
        with library.changing():
            removed = library.remove(args.names)
        print("\n".join(f"removed {entry.key} {entry.file}" for entry in removed))
        return 0
    return _search(args, library)


def _add(args: argparse.Namespace, folder: Path) -> int:
    if not args.pictures and not args.from_run:
        raise PictureError("nothing to add: name pictures, folders of them, or --from-run RECORDING")
    if args.every <= 0 or args.seconds < 0 or args.keep < 1:
        raise PictureError("expected --every above 0, --seconds of 0 or more and --keep of 1 or more")
    jobs = [(path, path != given) for given in args.pictures for path in _listed(given)]
    library = ReferenceLibrary(folder, make=True)
    added = known = gray = failed = 0
    progress = Progress(len(jobs))
    with library.changing():
        for number, reference in enumerate(_read(jobs)):
            progress.update(number, "")
            if isinstance(reference, Reference) and not is_gray(reference.rgb):
                taken = library.add(reference)
                added, known = added + (taken is not None), known + (taken is None)
            elif isinstance(reference, Reference) and jobs[number][1]:
                gray += 1
            else:
                progress.close()
                why = f"{jobs[number][0]} has no color" if isinstance(reference, Reference) else reference
                print(f"irchroma references: {why}", file=sys.stderr)
                failed += 1
        for source in args.from_run:
            for reference in _of_recording(source, args):
                taken = library.add(reference)
                added, known = added + (taken is not None), known + (taken is None)
    progress.close()
    parts = [f"{added} added", f"{known} there already"]
    parts += [f"{gray} monochrome left out"] * bool(gray) + [f"{failed} not taken"] * bool(failed)
    print(f"{folder}: {', '.join(parts)}; {_counted(len(library.entries))}")
    return 1 if failed or not added + known else 0


def _read(jobs: list[tuple[Path, bool]]) -> Iterator[Reference | str]:
    """Each picture, or why it cannot be read."""
    for path, _ in jobs:
        try:
            yield read_picture(path)
        except EngineError as error:
            yield str(error)


def _listed(given: Path) -> list[Path]:
    """The pictures that a path means.

    Raises:
        PictureError: there are none.
    """
    if given.is_dir():
        collected = (given / "rgb").is_dir() and (given / "ir").is_dir()
        return list_pictures(given / "rgb" if collected else given)
    if not given.is_file():
        raise PictureError(f"{given}: no such picture or folder")
    return [given]


def _of_recording(source: str, args: argparse.Namespace) -> list[Reference]:
    collector = ReferenceCollector(args.keep, STILL_FROM)
    progress = Progress(args.seconds or None)
    for at_s, rgb, name in pictures(source, args.every, args.seconds):
        collector.add(rgb, name)
        progress.update(at_s, name)
    progress.close()
    return collector.references()


def _search(args: argparse.Namespace, library: ReferenceLibrary) -> int:
    if args.top < 1:
        raise PictureError(f"expected --top of 1 or more, got {args.top}")
    luma = luma_of(read_infrared(args.frame))
    found, words = library.search(luma, args.top), words_of(args.json)
    for match in found:
        alike = "alike" if match.score >= features.ALIKE else "     "
        print(f"{match.score:6.3f} {alike}  {_line(match.entry)}", file=words)
    if not found:
        print(f"{library.folder} is empty", file=words)
    elif found[0].score < features.ALIKE:
        print(f"none is alike enough to be taken by itself: that begins at {features.ALIKE:g}", file=words)
    if args.json is not None:
        write_json(args.json, {"frame": str(args.frame), "matches": [_told(library, one) for one in found]})
    if args.sheet is not None:
        cells = [(f"{match.score:.3f} {match.entry.file}", library.load(match.entry).rgb) for match in found]
        write_rgb(args.sheet, contact_sheet([[(args.frame.name, luma), *cells]], cell_width=320))
    return 0


def _told(library: ReferenceLibrary, match: Match) -> dict[str, object]:
    return {
        "key": match.entry.key,
        "file": str(library.folder / match.entry.file),
        "source": match.entry.source,
        "score": round(match.score, 4),
        "alike": match.score >= features.ALIKE,
    }


def _line(entry: Entry) -> str:
    height, width = entry.size
    still = ", still" if entry.still else ""
    return f"{entry.key}  {entry.file}  {width}x{height}{still}  {entry.added[:10]}  {entry.source}"


def _counted(count: int) -> str:
    return f"{count} picture{'s' * (count != 1)}"
