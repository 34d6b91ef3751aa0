"""`--reference auto`: the running scene chooses its picture of a library, and an operator may."""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from tests import daytime_scene
from tests.waiting import wait_for

from irchroma.engines.errors import EngineOptionError
from irchroma.engines.reference.pictures import AUTO, Reference
from irchroma.engines.retrieval import chooser, gathering
from irchroma.engines.retrieval.gathering import DayPictures
from irchroma.engines.retrieval.library import ReferenceLibrary
from irchroma.launch.cli import main
from irchroma.launch.config import ConfigError
from irchroma.launch.run import auto_reference
from irchroma.launch.run.auto_reference import EVERY_NS, AutoReference, without_passers_by
from irchroma.launch.run.given_references import GivenReferences

pytest.importorskip("voyager", reason="libraries are searched with voyager")


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another picture is taken after two seconds."""
    monkeypatch.setattr(chooser, "LASTING_S", 2.0)


class Engine:
    """What it was given, in order."""

    def __init__(self) -> None:
        self.given: list[list[str]] = []
        self.wished: list[bool] = []
        self.strength: float | None = None

    def exchange_references(self, references: list[Reference]) -> None:
        self.given.append([one.name for one in references])
        self.wished += [one.wished for one in references]

    def set_reference_strength(self, strength: float) -> None:
        self.strength = strength


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a library that no test changes."""
    return daytime_scene.library(tmp_path_factory.mktemp("drawn") / "library", 8).folder


@pytest.fixture
def library(tmp_path: Path, drawn: Path) -> ReferenceLibrary:
    shutil.copytree(drawn, tmp_path / "library")
    return ReferenceLibrary(tmp_path / "library")


@pytest.fixture
def auto(library: ReferenceLibrary, soon: None) -> Iterator[AutoReference]:
    made = AutoReference(library, waits=True)
    yield made
    made.close()
    made.close()


class Camera:
    """Shows scenes to an `AutoReference`, a little shaken, one look after the other."""

    def __init__(self, auto: AutoReference) -> None:
        self._auto, self._pts_ns, self._random = auto, 0, np.random.default_rng(0)

    def show(self, luma: np.ndarray, seconds: float) -> None:
        for _ in range(round(seconds * 1e9 / EVERY_NS)):
            shift = tuple(self._random.uniform(-2, 2, 2).tolist())
            self._auto.see(daytime_scene.moved(luma, 1.0, 0.0, shift), self._pts_ns, False)
            self._pts_ns += EVERY_NS


def infrared(seed: int) -> np.ndarray:
    return daytime_scene.draw(seed)[1]


def test_the_scene_chooses_and_a_cut_chooses_anew(auto: AutoReference) -> None:
    engine, camera = Engine(), Camera(auto)
    auto.attend(engine)
    camera.show(infrared(3), 4)
    assert engine.given == [["scene 3"]]
    assert auto.state()["current"] == auto.library.entries[3].key
    camera.show(infrared(5), 4)
    camera.show(infrared(3), 4)
    assert engine.given == [["scene 3"], ["scene 5"], ["scene 3"]]


def test_an_engine_that_comes_later_is_given_what_is_in_use(auto: AutoReference) -> None:
    Camera(auto).show(infrared(3), 3)
    auto.strengthen(0.3)
    engine = Engine()
    auto.attend(engine)
    assert (engine.given, engine.strength) == ([["scene 3"]], 0.3)
    auto.strengthen(0.8)
    assert engine.strength == 0.8
    auto.attend(object())  # a palette


def test_a_scene_that_is_like_none_is_said_once_and_gets_none(
    auto: AutoReference, caplog: pytest.LogCaptureFixture
) -> None:
    engine, camera = Engine(), Camera(auto)
    auto.attend(engine)
    noise = np.random.default_rng(0).integers(0, 255, (12, 16), dtype=np.uint8)
    with caplog.at_level(logging.WARNING):
        camera.show(cv2.resize(noise, (320, 240), interpolation=cv2.INTER_CUBIC), 6)
    assert engine.given == []
    assert [record.message.startswith("reference auto: none of 8 pictures") for record in caplog.records] == [
        True
    ]


def test_an_operator_chooses_and_the_scene_may_again(auto: AutoReference) -> None:
    engine, camera = Engine(), Camera(auto)
    auto.attend(engine)
    camera.show(infrared(3), 3)
    wanted = auto.library.entries[6]
    auto.choose(wanted.key)
    camera.show(infrared(3), 4)
    assert engine.given[-1] == ["scene 6"]
    assert (auto.state()["auto"], auto.state()["current"]) == (False, wanted.key)
    assert wanted.key in [one["key"] for one in auto.state()["candidates"]]
    auto.choose("none")
    camera.show(infrared(3), 4)
    assert engine.given[-1] == []
    assert auto.state()["current"] is None
    auto.choose("auto")
    camera.show(infrared(3), 3)
    assert engine.given[-1] == ["scene 3"]
    for nothing in ("other", 7, None):
        with pytest.raises(ConfigError, match="there is no reference"):
            auto.choose(nothing)


def test_the_look_of_what_an_operator_chooses_is_wished_for_until_the_scene_chooses(
    auto: AutoReference,
) -> None:
    engine, camera = Engine(), Camera(auto)
    auto.attend(engine)
    camera.show(infrared(3), 3)
    assert engine.wished == [False]
    key = auto.library.entries[3].key
    auto.choose(key)
    assert engine.wished == [False, True]
    auto.choose("auto")
    camera.show(infrared(3), 3)
    assert engine.given[2:] == [["scene 3"]] * len(engine.given[2:])
    assert not any(engine.wished[2:])
    assert len(engine.wished) > 2


def test_a_picture_that_is_deleted_while_it_runs_costs_nothing_but_itself(
    auto: AutoReference, caplog: pytest.LogCaptureFixture
) -> None:
    engine, camera = Engine(), Camera(auto)
    auto.attend(engine)
    camera.show(infrared(3), 3)
    (auto.library.folder / auto.library.entries[5].file).unlink()
    camera.show(infrared(5), 4)
    assert ["scene 5"] not in engine.given
    camera.show(infrared(2), 4)
    assert engine.given[-1] == ["scene 2"]
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


def test_thumbnails_are_of_the_librarys_pictures_alone(auto: AutoReference) -> None:
    key = auto.library.entries[0].key
    for _ in range(2):
        small = auto.thumbnail(key)
        assert small is not None
        assert cv2.imdecode(np.frombuffer(small, np.uint8), cv2.IMREAD_COLOR) is not None
    assert auto.thumbnail("../../etc/passwd") is None


def test_given_references_are_all_in_use_until_an_operator_says_which() -> None:
    pictures = [
        Reference(daytime_scene.draw(seed)[0], np.full(daytime_scene.SIZE, 255, np.uint8), f"scene {seed}")
        for seed in (1, 2)
    ]
    given, engine = GivenReferences(pictures, 0.7), Engine()
    given.attend(engine)
    assert (engine.given, engine.strength) == ([], 0.7)  # it was made with them
    assert given.state() == {
        "auto": True,
        "strength": 0.7,
        "current": None,
        "candidates": [{"key": str(n), "name": f"scene {n}", "score": None} for n in (1, 2)],
    }
    for wanted, names in (("2", ["scene 2"]), ("none", []), ("auto", ["scene 1", "scene 2"])):
        given.choose(wanted)
        assert engine.given[-1] == names
        assert given.state()["current"] == (wanted if wanted == "2" else None)
    with pytest.raises(ConfigError, match="there is no reference '3'"):
        given.choose("3")
    later = Engine()
    given.choose("1")
    given.attend(later)
    assert later.given == [["scene 1"]]
    small = given.thumbnail("1")
    assert small is not None
    assert cv2.imdecode(np.frombuffer(small, np.uint8), cv2.IMREAD_COLOR).shape[1] == 192
    assert given.thumbnail("3") is None
    assert GivenReferences(pictures[:1]).state()["current"] == "1"


def test_an_engine_that_is_just_attended_ends_with_the_strength_that_was_set_last() -> None:
    references = GivenReferences([], 1.0)
    reached, goes_on = threading.Event(), threading.Event()

    class Slow(Engine):
        def set_reference_strength(self, strength: float) -> None:
            if not reached.is_set():
                reached.set()
                goes_on.wait(10)
            super().set_reference_strength(strength)

    engine = Slow()
    attending = threading.Thread(target=references.attend, args=(engine,))
    attending.start()
    assert reached.wait(10)
    turning = threading.Thread(target=references.strengthen, args=(0.2,))
    turning.start()
    turning.join(0.2)
    goes_on.set()
    attending.join(10)
    turning.join(10)
    assert engine.strength == 0.2


def test_of_two_who_choose_at_once_the_last_has_its_way() -> None:
    class Slow(Engine):
        """Takes its time for the first that it is given."""

        def __init__(self) -> None:
            super().__init__()
            self.begun, self.may_end = threading.Event(), threading.Event()

        def exchange_references(self, references: list[Reference]) -> None:
            first = not self.begun.is_set()
            self.begun.set()
            assert not first or self.may_end.wait(20)
            super().exchange_references(references)

    pictures = [
        Reference(daytime_scene.draw(seed)[0], np.full(daytime_scene.SIZE, 255, np.uint8), f"scene {seed}")
        for seed in (1, 2)
    ]
    given, engine = GivenReferences(pictures), Slow()
    given.attend(engine)
    older = threading.Thread(target=given.choose, args=("1",))
    older.start()
    assert engine.begun.wait(20)
    newer = threading.Thread(target=given.choose, args=("2",))
    newer.start()
    newer.join(0.2)  # it may be done already, and must not be overtaken then
    engine.may_end.set()
    for thread in (older, newer):
        thread.join(20)
    assert engine.given[-1] == ["scene 2"]
    assert given.state()["current"] == "2"


def test_live_frames_wait_for_nothing(library: ReferenceLibrary, soon: None) -> None:
    auto = AutoReference(library)
    camera = Camera(auto)
    engine = Engine()
    auto.attend(engine)
    try:
        for _ in range(3):
            camera.show(infrared(3), 1)
            wait_for(lambda: auto._next is None)
        wait_for(lambda: engine.given[-1] == ["scene 3"])
    finally:
        auto.close()


def test_what_the_camera_shows_by_day_colors_its_night_without_who_passed_by(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, soon: None
) -> None:
    rgb, luma = daytime_scene.draw(3)
    library = ReferenceLibrary(tmp_path, make=True)
    for name, value in (("SAMPLE_S", 1.0), ("SAMPLES", 7), ("EVERY_S", 60.0)):
        monkeypatch.setattr(gathering, name, value)
    days = DayPictures(library, "door", without_passers_by)
    auto = AutoReference(library, waits=True, gather=days)
    engine = Engine()
    auto.attend(engine)
    try:
        camera = Camera(auto)
        camera.show(luma, 2)  # nothing to choose from yet
        assert engine.given == []
        for second in range(8):
            passing = rgb.copy()
            passing[60:100, 20 * second : 20 * second + 30] = (230, 30, 40)
            auto.see_color(passing, second * 1_000_000_000)
        assert len(library.entries) == 1  # a file waits until it is there
        camera.show(luma, 3)
        assert engine.given == [["door by day, median of 7 pictures"]]
        kept = library.load(library.entries[0])
        assert kept.still
        assert np.abs(kept.rgb.astype(int) - rgb)[kept.trust > 0].mean() < 4  # JPEG
    finally:
        auto.close()


def test_a_run_gathers_while_its_camera_is_in_color(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auto_reference, "WAIT_S", 60.0)  # a busy machine needs longer for the last picture
    rgb, _ = daytime_scene.draw(3)
    clip = tmp_path / "day.avi"
    writer = cv2.VideoWriter(str(clip), cv2.VideoWriter.fourcc(*"MJPG"), 1.0, rgb.shape[1::-1])
    for _ in range(175):
        writer.write(np.ascontiguousarray(rgb[..., ::-1]))
    writer.release()
    library = tmp_path / "library"
    words = ["run", str(clip), "--to", "null", "--engine", "reference:thermal", "--gather-references"]
    assert main([*words, "--reference", "auto", "--references", str(library)]) == 0
    (entry,) = ReferenceLibrary(library).entries
    assert entry.source == f"{clip} by day, median of 9 pictures"
    assert np.abs(entry.tiny.astype(int) - cv2.resize(rgb, (16, 12), interpolation=cv2.INTER_AREA)).mean() < 6
    capsys.readouterr()
    assert main(words) == 1
    assert "--gather-references is for --reference auto" in capsys.readouterr().err


def test_an_empty_library_and_none_at_all_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = ReferenceLibrary(tmp_path / "empty", make=True)
    with empty.changing():
        pass
    with pytest.raises(EngineOptionError, match="is empty: irchroma references add"):
        AutoReference(empty)
    words = [
        "run",
        "test:nir",
        "--to",
        "null",
        "--reference",
        str(AUTO),
        "--references",
        str(tmp_path / "no"),
    ]
    assert main(words) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "there is no library of references in" in said
    assert main(["run", "test:nir", "--to", "null", "--references", str(tmp_path / "empty")]) == 1
    assert "--references is the library of --reference auto" in capsys.readouterr().err
