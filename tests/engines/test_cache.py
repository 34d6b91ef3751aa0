"""What took long to make is found where it is, and kept where it can be, if only as long as this process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from irchroma.engines import cache
from irchroma.engines.cache import cache_folder, where_kept


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = cache_folder()
    assert folder is not None
    return folder


@pytest.fixture
def read_only(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """As in a container whose files came with its image."""
    monkeypatch.setattr(cache.os, "access", lambda path, mode: False)
    assert cache_folder() is None
    return home


def test_a_file_is_to_go_into_the_users_folder(home: Path) -> None:
    assert where_kept("a/b.plan") == home / "a" / "b.plan"
    assert (home / "a").is_dir()


def test_a_file_that_is_there_is_found_where_nothing_can_be_written(read_only: Path) -> None:
    (read_only / "a.plan").touch()
    assert where_kept("a.plan") == read_only / "a.plan"


def test_one_that_is_stale_or_missing_is_to_go_where_it_can_be_written(read_only: Path) -> None:
    (read_only / "a.plan").touch()
    found = [where_kept("a.plan", lambda path: False), where_kept("a/b.plan")]
    assert [one.name for one in found] == ["a.plan", "b.plan"]
    for one in found:
        assert read_only not in one.parents
        one.touch()
        assert where_kept(one.name if one.parent.name != "a" else "a/b.plan", Path.is_file).is_file()


def test_that_place_goes_with_its_process(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    program = (
        "import os, sys; from irchroma.engines.cache import where_kept\n"
        "os.environ['XDG_CACHE_HOME'] = sys.argv[1]\n"
        "where_kept('a.plan').touch(); print(where_kept('a.plan'))"
    )
    words = [sys.executable, "-c", program, str(tmp_path / "file")]
    done = subprocess.run(words, capture_output=True, encoding="utf-8", check=True)
    place = Path(done.stdout.strip())
    assert place.name == "a.plan"
    assert not place.parent.exists()
