"""What an archive has noted of its results: which are finished, of which recording, with which settings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from irchroma.engines.cache import digest_on_disk, write_atomically
from irchroma.launch.archive.plan import Recording
from irchroma.stream.errors import StreamError

MANIFEST = "irchroma-archive.json"


class Manifest:
    """A file that is written anew with each note.

    Args:
        path: of the file; it may be absent.
        asked: setting -> what is asked for now, for people.

    Raises:
        StreamError: there is something else of that name.
    """

    def __init__(self, path: Path, asked: dict[str, str]) -> None:
        self._path, self.asked = path, asked
        self._noted = read_manifest(path)

    def note(self, recording: Recording, told: dict[str, Any]) -> None:
        """Write what has become of a recording."""
        self._noted["recordings"][recording.name] = told
        write_atomically(self._path, [(json.dumps(self._noted, indent=1) + "\n").encode()])

    def finished(self, recording: Recording) -> dict[str, Any] | None:
        """What is noted of its result; None where there is none, or not the one that was written.

        Raises:
            OSError: the result cannot be read.
        """
        known = self._noted["recordings"].get(recording.name, {})
        there = known.get("state") in ("done", "damaged") and recording.target.is_file()
        return dict(known) if there and digest_on_disk(recording.target) == known["sha256"] else None

    def other_settings(self, known: dict[str, Any]) -> str:
        """What a result was made with that is not asked for now, and what to do."""
        was = known.get("asked", {})
        changed = [
            f"{key} {was.get(key) or 'not given'}, now {self.asked.get(key) or 'not given'}"
            for key in sorted({*was, *self.asked})
            if was.get(key) != self.asked.get(key)
        ]
        told = f" ({', '.join(changed)})" if was and changed else ""
        return f"is there, with other settings{told}: --again colors it anew, another folder keeps both"


def read_manifest(path: Path) -> dict[str, Any]:
    """All that is noted; an empty manifest where the file is absent.

    Raises:
        StreamError: there is something else of that name.
    """
    if not path.exists():
        return {"irchroma archive": 1, "recordings": {}}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(found["recordings"], dict):
            return dict(found)
    except (OSError, ValueError, KeyError, TypeError):
        pass
    raise StreamError(f"{path}: is no manifest of an archive: move it away")
