"""The camera profiles that come with the program, by name."""

from __future__ import annotations

import difflib
from pathlib import Path

from irchroma.stream.errors import StreamOptionError

FOLDER = Path(__file__).parent / "cameras"


def names() -> list[str]:
    """All names, in order."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def find_profile(text: str) -> Path:
    """The profile file that a user named: a file of theirs, or one of ours by its name.

    Raises:
        StreamOptionError: there is neither; names what was probably meant.
    """
    path = Path(text)
    if path.is_file():
        return path
    if text in names():
        return FOLDER / f"{text}.toml"
    near = difflib.get_close_matches(text, names(), 1, 0.5)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(names())}"
    raise StreamOptionError(f"no camera profile {text}: {hint}")
