"""What the supervisor of a fleet does as machines come, go, hang and are drained; they are objects here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from irchroma.launch.config import ConfigError
from irchroma.launch.fleet.config import FleetConfig, FleetOptions, load_fleet, read_camera
from irchroma.launch.fleet.placement import Camera, Node
from irchroma.launch.fleet.supervisor import Fleet, HostLost, NodeProcesses


class Machine:
    """A host whose cameras are in color when the test says so."""

    def __init__(self) -> None:
        self.running: list[str] = []
        self.texts: dict[str, str] = {}
        self.figured: dict[str, dict[str, Any]] = {}
        self.lost = self.closed = self.abandoned = False

    def begin(self, camera: str, text: str) -> None:
        assert text.startswith(f"text of {camera}")
        self.running.append(camera)
        self.texts[camera] = text
        self.figured[camera] = {"state": "waiting", "frames": 0, "failure": None}

    def end(self, camera: str) -> None:
        self.running.remove(camera)
        self.figured.pop(camera)

    def figures(self) -> dict[str, dict[str, Any]]:
        if self.lost:
            raise HostLost("it is lost")
        return {name: dict(told) for name, told in self.figured.items()}

    def shine(self) -> None:
        """All of its cameras are in color."""
        for name in self.running:
            self.figured[name] = {"state": "live", "frames": 9, "failure": None}

    def lines(self) -> list[dict[str, Any]]:
        return [{"message": f"{name} runs"} for name in self.running]

    def close(self) -> None:
        self.closed = True

    def abandon(self) -> None:
        self.abandoned = True


class Machines:
    """A cluster."""

    def __init__(self, *names: str) -> None:
        self.there = [Node(name, "cpu", 2.0) for name in names]
        self.hosts: dict[str, Machine] = {}

    def nodes(self) -> list[Node]:
        return list(self.there)

    def open_host(self, node: str) -> Machine:
        self.hosts[node] = Machine()
        return self.hosts[node]


@pytest.fixture
def config() -> FleetConfig:
    names = [f"cam{n}" for n in range(4)]
    cameras = tuple(Camera(name, {"cpu": 0.5}) for name in names)
    return FleetConfig(FleetOptions(), cameras, {name: f"text of {name}" for name in names})


def everywhere(machines: Machines) -> list[str]:
    return sorted(name for host in machines.hosts.values() for name in host.running)


def test_a_machine_that_is_lost_leaves_its_cameras_to_the_others(config: FleetConfig) -> None:
    machines, now = Machines("a", "b"), [0.0]
    fleet = Fleet(config, machines, lambda: now[0])
    fleet.step()
    lost, other = machines.hosts["a"], machines.hosts["b"]
    assert len(lost.running) == len(other.running) == 2
    lost.lost = True
    fleet.step()
    assert lost.abandoned
    assert sorted(other.running) == ["cam0", "cam1", "cam2", "cam3"]
    now[0] = 30.0  # it is still known, and trusted again after a while
    other.shine()
    fleet.step()
    machines.hosts["a"].shine()
    fleet.step()
    assert everywhere(machines) == ["cam0", "cam1", "cam2", "cam3"]
    assert len(machines.hosts["a"].running) == 2


def test_nobody_is_dark_while_a_machine_is_drained(config: FleetConfig) -> None:
    machines = Machines("a", "b")
    fleet = Fleet(config, machines)
    fleet.step()
    left, other = machines.hosts["a"], machines.hosts["b"]
    left.shine()
    other.shine()
    leaving = list(left.running)
    fleet.step(["a"])
    fleet.step(["a"])
    assert sorted(other.running) == ["cam0", "cam1", "cam2", "cam3"]
    assert left.running == leaving  # until they are in color on the other
    assert fleet.status()["cameras"][leaving[0]]["moving_from"] == ["a"]
    other.shine()
    fleet.step(["a"])
    assert left.running == []
    assert fleet.status()["nodes"]["a"] == {"kind": "cpu", "draining": True, "load": 0.0}


def test_cameras_stay_on_a_drained_machine_while_there_is_no_room_elsewhere(config: FleetConfig) -> None:
    machines = Machines("a")
    fleet = Fleet(config, machines)
    fleet.step()
    machines.hosts["a"].shine()
    fleet.step(["a"])
    assert machines.hosts["a"].running == ["cam0", "cam1", "cam2", "cam3"]
    machines.there.append(Node("b", "cpu", 2.0))
    fleet.step(["a"])
    machines.hosts["b"].shine()
    fleet.step(["a"])
    assert machines.hosts["a"].running == []


def test_a_machine_that_joins_gets_its_share(config: FleetConfig) -> None:
    machines = Machines("a")
    fleet = Fleet(config, machines)
    fleet.step()
    machines.there.append(Node("b", "cpu", 2.0))
    fleet.step()
    machines.hosts["b"].shine()
    fleet.step()
    assert len(machines.hosts["a"].running) == len(machines.hosts["b"].running) == 2


def test_a_camera_that_was_given_up_is_begun_again(config: FleetConfig) -> None:
    machines, now = Machines("a"), [0.0]
    fleet = Fleet(config, machines, lambda: now[0])
    fleet.step()
    host = machines.hosts["a"]
    host.figured["cam2"] = {"state": "failed", "frames": 0, "failure": "no such camera"}
    fleet.step()
    assert host.running.count("cam2") == 1
    now[0] = 6.0
    fleet.step()
    assert host.running.count("cam2") == 2


def test_what_does_not_fit_waits_and_is_told(config: FleetConfig) -> None:
    machines = Machines()
    machines.there = [Node("small", "cpu", 1.0)]
    fleet = Fleet(config, machines)
    fleet.step()
    assert len(fleet.status()["waiting"]) == 2
    fleet.close()
    assert machines.hosts["small"].closed


def test_what_a_machine_logs_is_told_with_its_name(config: FleetConfig) -> None:
    machines = Machines("a", "b")
    fleet = Fleet(config, machines)
    fleet.step()
    fleet.step()
    told = {(line["node"], line["message"]) for line in fleet.lines()}
    assert len(told) == 4
    assert {node for node, _ in told} == {"a", "b"}
    assert fleet.lines() == []


def test_a_changed_configuration_begins_that_camera_anew_and_no_other(config: FleetConfig) -> None:
    machines = Machines("a")
    fleet = Fleet(config, machines)
    fleet.step()
    host = machines.hosts["a"]
    fleet.use(replace(config, texts={**config.texts, "cam2": "text of cam2, changed"}))
    assert host.running == ["cam0", "cam1", "cam2", "cam3", "cam2"]
    assert host.texts["cam2"] == "text of cam2, changed"


def test_cameras_come_and_go_with_the_configuration(config: FleetConfig) -> None:
    machines = Machines("a")
    fleet = Fleet(config, machines)
    fleet.step()
    cameras = (*config.cameras[1:], Camera("new", {"cpu": 0.5}))
    texts = {camera.name: f"text of {camera.name}" for camera in cameras}
    fleet.use(replace(config, cameras=cameras, texts=texts))
    fleet.step()
    assert machines.hosts["a"].running == ["cam1", "cam2", "cam3", "new"]
    assert set(fleet.status()["cameras"]) == set(texts)


def test_a_machine_has_as_many_processes_as_its_cameras_need() -> None:
    made: list[Machine] = []

    def opened() -> Machine:
        made.append(Machine())
        return made[-1]

    host = NodeProcesses(opened, 2)
    for number in range(5):
        host.begin(f"cam{number}", f"text of cam{number}")
    assert [one.running for one in made] == [["cam0", "cam1"], ["cam2", "cam3"], ["cam4"]]
    assert set(host.figures()) == {f"cam{number}" for number in range(5)}
    host.end("cam2")
    host.begin("cam5", "text of cam5")
    assert made[1].running == ["cam3", "cam5"]
    assert len(host.lines()) == 5

    # One process ends: its cameras are begun again, the others do not notice.
    made[0].lost = True
    assert set(host.figures()) == {"cam3", "cam4", "cam5"}
    assert made[0].abandoned
    assert made[1].running == ["cam3", "cam5"]
    assert [one.running for one in made[2:]] == [["cam4", "cam0"], ["cam1"]]

    # The last one ends: the machine is lost.
    for one in made[1:]:
        one.lost = True
    with pytest.raises(HostLost):
        host.figures()


FILE = """
engine = "gray"
[fleet]
cost = { cpu = 0.25 }
[[cameras]]
name = "gate"
group = "yard"
source = "rtsp://user:${GATE}@10.0.0.5/stream"
to = ["hls:/srv/{node}/gate"]
[[cameras]]
name = "roof"
source = "test:nir"
to = ["null"]
cost = { gpu = 0.1 }
"""


def test_a_fleet_s_file_is_one_of_several_cameras_with_costs(tmp_path: Path) -> None:
    path = tmp_path / "fleet.toml"
    path.write_text(FILE)
    fleet = load_fleet(path)
    assert fleet.cameras == (
        Camera("gate", {"cpu": 0.25}, "yard"),
        Camera("roof", {"gpu": 0.1}),
    )
    gate = read_camera(fleet.texts["gate"], "rack1")
    assert gate.to == ("hls:/srv/rack1/gate",)
    assert gate.source == "rtsp://user:${GATE}@10.0.0.5/stream"
    assert gate.engine == "gray"


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("${GATE}", "secret", "holds a password"),
        ("cpu = 0.25", "cpu = 0", "expected a share for each kind"),
        ("[fleet]", "[fleet]\nadress = 'auto'", "adress"),
        ("hls:/srv/{node}", "hls:~", r"cameras\.to: hls:~/gate is in another folder on each machine"),
        ("[fleet]", "[fleet]\ncameras_per_process = 0", "expected 1 or more"),
    ],
)
def test_what_a_fleet_cannot_use_is_one_line(tmp_path: Path, before: str, after: str, said: str) -> None:
    path = tmp_path / "fleet.toml"
    path.write_text(FILE.replace(before, after))
    with pytest.raises(ConfigError, match=said) as found:
        load_fleet(path)
    assert "secret" not in str(found.value)
    assert "\n" not in str(found.value)


def test_the_example_is_a_fleet_s_file() -> None:
    example = load_fleet(Path("launch/fleet/fleet.toml"))
    assert [camera.group for camera in example.cameras] == ["yard", "yard"]
