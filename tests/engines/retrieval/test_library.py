"""A library of references: what is in the folder, what is in the index, and what is found."""

from __future__ import annotations

import json
import sys
import threading
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from tests import daytime_scene

from irchroma.engines.errors import EngineOptionError, EngineUnavailable
from irchroma.engines.reference.pictures import Reference
from irchroma.engines.retrieval import features
from irchroma.engines.retrieval.library import ReferenceLibrary, default_folder

SEEDS = range(6)


def reference(seed: int, still: bool = False) -> Reference:
    rgb, _ = daytime_scene.draw(seed)
    return Reference(rgb, np.full(rgb.shape[:2], 255, np.uint8), f"scene {seed}.png", still)


@pytest.fixture
def library(tmp_path: Path) -> ReferenceLibrary:
    made = ReferenceLibrary(tmp_path / "library", make=True)
    with made.changing():
        for seed in SEEDS:
            assert made.add(reference(seed)) is not None
    return made


def test_what_is_added_is_there_for_the_next_who_opens_it(library: ReferenceLibrary) -> None:
    again = ReferenceLibrary(library.folder)
    assert [entry.key for entry in again.entries] == [entry.key for entry in library.entries]
    for before, after in zip(library.entries, again.entries, strict=True):
        assert replace(before, vectors=0, levels=0, tiny=0) == replace(after, vectors=0, levels=0, tiny=0)  # type: ignore[arg-type]
        assert float((before.vectors * after.vectors).sum(1).min()) > 0.9999
        assert (library.folder / before.file).is_file()
        small = cv2.imdecode(np.frombuffer(again.thumbnail(after), np.uint8), cv2.IMREAD_COLOR)
        assert max(small.shape) == 192
    assert again.load(again.entries[2]).name == "scene 2.png"


def test_the_same_picture_is_there_once_also_as_another_file(
    library: ReferenceLibrary, tmp_path: Path
) -> None:
    with library.changing():
        assert library.add(reference(3)) is None
        almost = reference(3)
        noise = np.random.default_rng(0).integers(0, 3, almost.rgb.shape)
        assert library.add(replace(almost, rgb=(almost.rgb * 0.99 + noise).astype(np.uint8))) is None
        assert library.add(library.load(library.entries[0])) is None
    assert len(ReferenceLibrary(library.folder).entries) == len(SEEDS)


def test_what_is_removed_is_gone_from_folder_and_index(library: ReferenceLibrary) -> None:
    first, second = library.entries[:2]
    with library.changing():
        assert library.remove([first.key[:6], second.file]) == [first, second]
    assert not (library.folder / first.file).exists()
    assert not (library.folder / "thumbnails" / f"{first.key}.jpg").exists()
    assert len(ReferenceLibrary(library.folder).entries) == len(SEEDS) - 2
    with library.changing(), pytest.raises(EngineOptionError, match="no picture 'nothing'"):
        library.remove([library.entries[0].key, "nothing"])
    assert len(ReferenceLibrary(library.folder).entries) == len(SEEDS) - 2


def test_a_picture_that_somebody_deletes_is_no_longer_found(library: ReferenceLibrary) -> None:
    pytest.importorskip("voyager")
    _, infrared = daytime_scene.draw(4)
    gone = library.entries[4]
    (library.folder / gone.file).unlink()
    again = ReferenceLibrary(library.folder)
    assert [entry.key for entry in again.gone] == [gone.key]
    assert gone.key not in [match.entry.key for match in again.search(infrared, 10)]
    with again.changing():
        assert again.add(reference(99)) is not None
    assert json.loads((library.folder / "index.json").read_text())["pictures"][-1]["source"] == "scene 99.png"
    assert not ReferenceLibrary(library.folder).gone
    with again.changing():
        assert again.add(reference(4)) is not None


def test_a_picture_that_goes_while_it_is_in_use_is_one_clear_error(library: ReferenceLibrary) -> None:
    entry = library.entries[0]
    (library.folder / entry.file).unlink()
    (library.folder / "thumbnails" / f"{entry.key}.jpg").unlink()
    with pytest.raises(EngineOptionError, match="cannot read"):
        library.load(entry)
    with pytest.raises(EngineOptionError, match="cannot read"):
        library.thumbnail(entry)


def test_a_change_by_another_process_is_seen_and_two_do_not_lose_each_others(
    library: ReferenceLibrary,
) -> None:
    other = ReferenceLibrary(library.folder)

    def add(seed: int) -> None:
        mine = ReferenceLibrary(library.folder)
        with mine.changing():
            mine.add(reference(seed))

    threads = [threading.Thread(target=add, args=(seed,)) for seed in (50, 51, 52)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert other.refresh()
    assert len(other.entries) == len(SEEDS) + 3
    assert not other.refresh()


def test_mistrust_and_stillness_are_kept(library: ReferenceLibrary) -> None:
    mixed = reference(60, still=True)
    mixed.trust[20:40, 30:60] = 0
    with library.changing():
        entry = library.add(mixed)
    assert entry is not None
    assert entry.file.endswith(".png")
    loaded = ReferenceLibrary(library.folder).load(entry)
    assert loaded.still
    assert np.array_equal(loaded.trust, mixed.trust)
    assert np.array_equal(loaded.rgb, mixed.rgb)


def test_a_monochrome_picture_is_refused_and_the_index_stays(library: ReferenceLibrary) -> None:
    gray = Reference(np.full((60, 80, 3), 90, np.uint8), np.full((60, 80), 255, np.uint8), "night.png")
    with library.changing(), pytest.raises(EngineOptionError, match="has no color"):
        library.add(gray)
    assert len(ReferenceLibrary(library.folder).entries) == len(SEEDS)


def test_features_of_another_kind_are_computed_anew(library: ReferenceLibrary) -> None:
    index = library.folder / "index.json"
    listed = json.loads(index.read_text())
    listed["features"] = "of before"
    for one in listed["pictures"]:
        one["features"] = listed["pictures"][0]["features"]
    index.write_text(json.dumps(listed))
    again = ReferenceLibrary(library.folder)
    for before, after in zip(library.entries, again.entries, strict=True):
        assert float((before.vectors * after.vectors).sum(1).min()) > 0.97  # the picture went through JPEG


def test_no_library_and_a_broken_index_are_one_line(tmp_path: Path, library: ReferenceLibrary) -> None:
    with pytest.raises(EngineOptionError, match="irchroma references add PICTURES --library"):
        ReferenceLibrary(tmp_path / "nothing")
    (library.folder / "index.json").write_text("[1, 2")
    with pytest.raises(EngineOptionError, match="is no index of references"):
        ReferenceLibrary(library.folder)
    (library.folder / "index.json").write_text('{"features": "x", "pictures": [{"key": 1}]}')
    with pytest.raises(EngineOptionError, match="an entry cannot be read"):
        ReferenceLibrary(library.folder)


def test_an_empty_library_finds_nothing(tmp_path: Path) -> None:
    library = ReferenceLibrary(tmp_path, make=True)
    with library.changing():
        pass
    assert ReferenceLibrary(tmp_path).search(np.zeros((40, 40), np.uint8)) == []


def test_the_color_picture_is_found_for_the_infrared_of_its_scene(tmp_path: Path) -> None:
    """Gray levels that have nothing to do with the color; a third inverted, all moved a little."""
    pytest.importorskip("voyager")
    library = ReferenceLibrary(tmp_path, make=True)
    with library.changing():
        for seed in range(40):
            library.add(reference(seed))
    first = fifth = 0
    for seed in range(40):
        _, infrared = daytime_scene.draw(seed)
        infrared = daytime_scene.moved(infrared, 1.05, 0.5, (4, -3))
        found = library.search(255 - infrared if seed % 3 == 0 else infrared, 5)
        names = [match.entry.source for match in found]
        first, fifth = first + (names[0] == f"scene {seed}.png"), fifth + (f"scene {seed}.png" in names)
    assert first >= 36
    assert fifth >= 38


def test_brightness_decides_between_two_of_the_same_content(tmp_path: Path) -> None:
    pytest.importorskip("voyager")
    rgb, _ = daytime_scene.draw(7)
    luma = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    query, levels = features.describe(luma), features.brightness(luma)
    dark = (luma * 0.4).astype(np.uint8)
    same = features.score(query, levels, query, features.brightness(luma))
    darker = features.score(query, levels, query, features.brightness(dark))
    assert same == pytest.approx(1.0, abs=1e-3)
    assert same - 0.1 < darker < same


def test_without_its_search_library_the_line_says_what_to_install(
    library: ReferenceLibrary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "voyager", None)
    with pytest.raises(EngineUnavailable, match=r"pip install 'irchroma\[references\]'"):
        library.search(np.zeros((40, 40), np.uint8))


def test_everybodys_own_library_lies_where_the_system_keeps_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", "/data/mine")
    assert default_folder() == Path("/data/mine/irchroma/references")
