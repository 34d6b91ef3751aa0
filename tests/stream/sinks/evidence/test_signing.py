"""Keys of recordings as they are made and kept."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from irchroma.stream.errors import StreamError
from irchroma.stream.sinks.evidence import signing
from irchroma.stream.sinks.evidence.signing import Signer, public_file, read_public

pytest.importorskip("cryptography")


def test_a_key_that_cannot_be_kept_leaves_nothing_behind(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(signing, "public_file", lambda path: path / "none")  # a disk that is full by then
    with pytest.raises(
        StreamError, match=r"the key cannot be kept \(.*\): name a place for it, --evidence-key"
    ):
        Signer.kept(tmp_path / "key.pem")
    assert not list(tmp_path.iterdir())


def test_a_key_that_another_run_makes_meanwhile_is_left_alone(tmp_path: Path, monkeypatch: Any) -> None:
    path, theirs = tmp_path / "key.pem", tmp_path / "theirs.pem"
    Signer.kept(theirs)

    def made_by_another(*_: Any) -> int:
        path.write_bytes(theirs.read_bytes())
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", made_by_another)
        with pytest.raises(StreamError, match=r"the key cannot be kept \(too many open files\)"):
            Signer.kept(path)
    assert Signer.kept(path).public == read_public(public_file(theirs))


def test_a_key_that_another_run_is_writing_is_waited_for(tmp_path: Path) -> None:
    ready, path = tmp_path / "ready.pem", tmp_path / "evidence-key.pem"
    made = Signer.kept(ready)
    path.touch()
    writing = threading.Timer(0.2, lambda: path.write_bytes(ready.read_bytes()))
    writing.start()
    assert Signer.kept(path).public == made.public
    writing.join()
