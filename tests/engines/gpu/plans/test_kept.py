"""Where plans and what is measured for them are kept, and what becomes of them where they cannot be."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.engines.gpu.plans.plan_source import plan_options

from irchroma.engines import cache
from irchroma.engines.errors import EngineUnavailable, PlanError
from irchroma.engines.gpu.plans import build, library
from irchroma.engines.gpu.plans.build import ensure_plan, plan_name
from irchroma.engines.gpu.plans.file import PlanSource


def test_a_plan_is_used_and_built_where_the_cache_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a container: what came with its image is taken, and what did not goes with the process."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    home = cache.cache_folder()
    assert home is not None
    options = replace(plan_options(tmp_path), folder=None)
    built = ensure_plan(options)
    assert built.path.parent == home
    monkeypatch.setattr(cache.os, "access", lambda path, mode: False)
    # Else another test would find there what this one builds.
    monkeypatch.setattr(cache, "_folder_of_process", functools.cache(cache._folder_of_process.__wrapped__))
    found = ensure_plan(replace(options, build=False))
    assert found.path == built.path
    assert found.reason is None
    other = ensure_plan(replace(options, shapes="1x64x64"))
    assert other.reason == "not built yet"
    assert home not in other.path.parents
    assert ensure_plan(replace(options, shapes="1x64x64", build=False)).path == other.path
    anew = ensure_plan(replace(options, anew=True))  # as the library refuses the one that came with the image
    assert anew.reason == "not built yet"
    assert home not in anew.path.parents
    assert ensure_plan(replace(options, build=False)).path == anew.path


def test_gpus_of_one_generation_do_not_take_each_others_place() -> None:
    """Or a machine with two would build both anew, minutes long, at each start."""
    sources = [
        PlanSource("a.onnx", "ab" * 32, "tensorrt", "11.4.0", device, "8.9", "fp16", "1x64x64")
        for device in ("NVIDIA GeForce RTX 4060", "NVIDIA GeForce RTX 4090", "NVIDIA L4/24C MIG 1g.5gb")
    ]
    names = [plan_name(one) for one in sources]
    assert len(set(names)) == len(names)
    assert names[0] == "a.fp16.tensorrt.sm_89.nvidia-geforce-rtx-4060.1x64x64.plan"
    assert "/" not in names[2]
    portable = [plan_name(replace(one, runtime="tensorrt-rtx")) for one in sources]
    assert set(portable) == {"a.fp16.tensorrt-rtx.any.1x64x64.plan"}


def test_a_build_is_not_lost_where_its_timings_cannot_be_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(path: Path, parts: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(library, "write_atomically", full)
    timings = SimpleNamespace(get_timing_cache=lambda: SimpleNamespace(serialize=lambda: b"some"))
    library.keep_timings(timings, tmp_path / "timing.cache")
    assert "No space left on device" in caplog.text


def test_a_folder_that_cannot_be_used_is_told_in_one_line(tmp_path: Path) -> None:
    options = plan_options(tmp_path / "plans")
    (tmp_path / "file").touch()
    with pytest.raises(EngineUnavailable, match="file: file exists"):
        ensure_plan(replace(options, folder=tmp_path / "file"))
    lock = tmp_path / "plans" / ".nir_fast.fp16.tensorrt-rtx.any.1x64x96.plan.lock"
    lock.mkdir()  # as good as a folder that is read-only, which it is not for the superuser
    with pytest.raises(PlanError, match="plans: is a directory"):
        ensure_plan(options)


def test_a_plan_that_cannot_be_kept_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, header: object, plan: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(build, "write_plan", full)
    with pytest.raises(EngineUnavailable, match=r"\.plan: it cannot be kept \(no space left on device\)"):
        ensure_plan(plan_options(tmp_path))
