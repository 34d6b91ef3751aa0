"""What took long to make is found where it is, and kept where it can be, if only as long as this process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from irchroma.engines import cache
from irchroma.engines.cache import alone_in, cache_folder, digest_of, digest_on_disk, where_kept


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


@pytest.fixture
def of_another_user() -> Iterator[Path]:
    """A home as root's in a container that runs as somebody else: there, and not to be entered."""
    if os.geteuid() != 0:
        pytest.skip("only the superuser can become somebody else")
    pytest.importorskip("onnx")
    with tempfile.TemporaryDirectory() as made:  # pytest's own folders are nobody else's to enter either
        Path(made).chmod(0o755)
        home = Path(made) / "root"
        home.mkdir(0o700)
        yield home


def as_somebody_else(program: str, home: Path) -> str:
    """What a program prints that first imports what it needs, then is another user, in that home."""
    first = (
        "import os, sys; from pathlib import Path\n"
        "from irchroma.engines import catalog; from irchroma.engines.cache import where_kept\n"
        "from irchroma.engines.gpu.cuda import compile\n"
        "from irchroma.engines.gpu.plans.file import why_unusable\n"
        "from irchroma.engines.network.weight_storage import float16_twin, load\n"
        "weights = catalog.weights_path('nir', 'fast'); load(weights)\n"
        "os.setgid(65534); os.setuid(65534)\n"
        "if not os.access(weights, os.R_OK): sys.exit(77)\n"
    )
    environment = {name: text for name, text in os.environ.items() if name != "XDG_CACHE_HOME"}
    done = subprocess.run(
        [sys.executable, "-c", first + program],
        env={**environment, "HOME": str(home)},
        capture_output=True,
        encoding="utf-8",
    )
    if done.returncode == 77:
        pytest.skip("nobody else can read this checkout")
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_home_of_another_user_is_as_none(of_another_user: Path) -> None:
    """It was a PermissionError, of kernels, plans and float16 twins."""
    said = as_somebody_else(
        "place = where_kept('a.plan'); place.touch()\n"
        "print(place)\n"
        "print(why_unusable(Path.home() / 'a.plan', None))\n"
        "compile.compile_ahead = lambda *_: b'made'; compile.Nvrtc.compile = lambda *_: b'made'\n"
        "print(next(compile.kernel_binaries('8.9')).code)\n",
        of_another_user,
    )
    place, unusable, code = said.splitlines()
    assert of_another_user not in Path(place).parents
    assert unusable == "permission denied"
    assert code == "b'made'"


def test_a_twin_is_made_in_a_home_of_another_user(of_another_user: Path) -> None:
    made = as_somebody_else("twin = float16_twin(weights); print(twin.is_file(), twin)", of_another_user)
    assert made.startswith("True ")
    assert str(of_another_user) not in made


def test_a_file_of_another_user_is_as_none(of_another_user: Path) -> None:
    of_another_user.chmod(0o755)
    folder = of_another_user / ".cache" / "irchroma" / "compiled"
    folder.mkdir(parents=True)
    (folder / "a.plan").touch(0o600)
    said = as_somebody_else("print(where_kept('a.plan'))", of_another_user)
    assert of_another_user not in Path(said.strip()).parents


def test_what_a_process_made_in_place_of_what_is_of_no_use_is_found_again(read_only: Path) -> None:
    (read_only / "c.plan").touch()
    made = where_kept("c.plan", lambda path: False)
    made.touch()
    assert where_kept("c.plan") == made


@pytest.mark.parametrize("in_place", [True, False])
def test_a_file_with_the_date_and_length_of_what_was_there_has_a_digest_of_its_own(
    tmp_path: Path, in_place: bool
) -> None:
    path, other = tmp_path / "a.onnx", tmp_path / "b.onnx"
    path.write_bytes(b"one")
    about, before = path.stat(), digest_of(path)
    assert before == digest_of(path) == digest_on_disk(path)
    time.sleep(0.02)  # a file system's clock has steps
    (path if in_place else other).write_bytes(b"two")
    if not in_place:
        other.replace(path)
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))
    assert digest_of(path) == digest_on_disk(path) != before


def test_of_two_processes_that_make_the_same_one_waits_and_none_waits_for_ever(tmp_path: Path) -> None:
    program = f"""
from irchroma.engines.cache import alone_in
with alone_in({str(tmp_path)!r}, "a network") as alone:
    print(alone, flush=True)
    input()
"""
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "True\n"
        with alone_in(str(tmp_path), "a network", 0.1) as alone:
            assert not alone
        with alone_in(str(tmp_path), "another network", 0.1) as alone:
            assert alone
        other.kill()
        with alone_in(str(tmp_path), "a network") as alone:
            assert alone


def test_a_process_that_was_forked_meanwhile_keeps_nobody_from_it(tmp_path: Path) -> None:
    """Its copy of the open file would hold the lock for as long as it lives."""
    with alone_in(str(tmp_path), "a network"):
        child = os.fork()
        if child == 0:  # as a pool's worker does, which goes on
            while True:
                time.sleep(1.0)
    try:
        with alone_in(str(tmp_path), "a network", 0.1) as alone:
            assert alone
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_where_nothing_can_be_locked_nobody_is_kept_from_it(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in (None, str(tmp_path / "file"), str(tmp_path / "file" / "below")):
        with alone_in(folder, "a network") as alone:
            assert alone
