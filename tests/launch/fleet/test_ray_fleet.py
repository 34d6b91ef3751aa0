"""A fleet on Ray's own cluster of several machines, all of them on this one: a loss, a newcomer, a drain."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from irchroma.launch.fleet.config import load_fleet
from irchroma.launch.fleet.ray_cluster import RayCluster
from irchroma.launch.fleet.supervisor import Fleet
from irchroma.stream.errors import StreamError

pytestmark = [pytest.mark.gst, pytest.mark.timeout(300)]

T = TypeVar("T")
CAMERAS = 6
FILE = """
engine = "palette:ironbow"
fixed = true
[reconnect]
wait_at_start = true
[fleet]
cost = { cpu = 0.5 }
lost_after_s = 5.0
cameras_per_process = 2
""" + "".join(
    f"""
[[cameras]]
name = "cam{number}"
group = "place{number % 2}"
source = "test:nir?live=1&rate=5&size=64x48"
to = ["null"]
"""
    for number in range(CAMERAS)
)
STORE = {"object_store_memory": 80 << 20}
QUICK = {
    "health_check_initial_delay_ms": 2000,
    "health_check_period_ms": 1000,
    "health_check_failure_threshold": 3,
}


class Watched:
    """A fleet whose supervisor runs as long as it is looked at; when every camera gave frames."""

    def __init__(self, fleet: Fleet, cluster: RayCluster) -> None:
        self.fleet, self.cluster = fleet, cluster
        self.draining: set[str] = set()
        self.longest_s: dict[str, float] = {}
        self._last: dict[str, tuple[Any, float]] = {}

    @property
    def nodes(self) -> dict[str, dict[str, Any]]:
        return self.fleet.status()["nodes"]

    @property
    def loads(self) -> list[float]:
        return [node["load"] for node in self.nodes.values()]

    @property
    def homes(self) -> dict[str, str]:
        return {name: told["node"] for name, told in self.fleet.status()["cameras"].items()}

    def settled(self) -> bool:
        """All in color, and none on its way."""
        cameras = self.fleet.status()["cameras"].values()
        return all(one.get("state") == "live" and one["frames"] and not one["moving_from"] for one in cameras)

    def until(self, reached: Callable[[], bool], within_s: float = 90.0) -> float:
        """Go on until then; how long it took. In `longest_s`: each camera's longest time without a frame."""
        began_s = time.monotonic()
        self.longest_s = {}
        self._last = {}
        while not reached():
            assert time.monotonic() - began_s < within_s, self.fleet.status()
            self.fleet.step(self.draining)
            self.draining = self.cluster.exchange(self.fleet.status(), self.fleet.lines())
            for name, told in self.fleet.status()["cameras"].items():
                now_s, seen = time.monotonic(), (told["node"], told.get("frames"))
                before = self._last.get(name)
                if before is None or (before[0] != seen and told.get("frames")):
                    self._last[name] = (seen, now_s)
                pause_s = now_s - self._last[name][1]
                self.longest_s[name] = max(self.longest_s.get(name, 0.0), pause_s)
            time.sleep(0.1)
        return time.monotonic() - began_s


@pytest.fixture
def ray_machines(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    pytest.importorskip("ray", reason="Ray is not here: pip install 'irchroma[fleet]'")
    monkeypatch.setenv("RAY_worker_niceness", "0")
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 0, "include_dashboard": False, **STORE, "_system_config": QUICK}
    machines = Cluster(initialize_head=True, head_node_args=head)
    yield machines
    machines.shutdown()


@pytest.mark.alone
def test_cameras_outlive_their_machines(ray_machines: Any, tmp_path: Path) -> None:
    path = tmp_path / "fleet.toml"
    path.write_text(FILE)
    more = {"num_cpus": 2, **STORE}
    workers = [ray_machines.add_node(**more) for _ in range(2)]
    config = load_fleet(path)
    cluster = RayCluster(
        ray_machines.address, config.options.lost_after_s, config.options.cameras_per_process
    )
    fleet = Fleet(config, cluster)
    watched = Watched(fleet, cluster)
    try:
        watched.until(watched.settled)
        assert watched.loads == [0.75, 0.75]

        # Nothing of a fleet lies in Ray's object store, where something else does show.
        assert stored_bytes(cluster) == 0
        there = cluster.ray.put(np.zeros(4 << 20, np.uint8))
        watched.until(lambda: stored_bytes(cluster) >= 4 << 20)
        del there

        # One that joins gets its share.
        workers.append(ray_machines.add_node(**more))
        watched.until(lambda: len(watched.nodes) == 3 and watched.settled() and all(watched.loads))
        assert watched.loads == [0.5, 0.5, 0.5]

        # One that is drained is left, and nobody is dark.
        left = next(iter(watched.nodes))
        assert cluster.ray.get(cluster.ray.get_actor("fleet").drain.remote(left, True))
        watched.until(lambda: watched.nodes[left]["load"] == 0)
        watched.until(watched.settled)
        assert left not in watched.homes.values()
        assert cluster.ray.get(cluster.ray.get_actor("fleet").drain.remote(left, False))
        watched.until(lambda: watched.nodes[left]["load"] > 0 and watched.settled())

        # The cameras of one that is lost are in color again within 10 s; the others do not even notice.
        ids = {told["NodeID"]: name for name, told in _named(cluster).items()}
        lost = ids[workers[1].node_id]
        stay = [name for name, home in watched.homes.items() if home != lost]
        ray_machines.remove_node(workers[1], allow_graceful=False)
        took_s = watched.until(lambda: lost not in watched.homes.values() and watched.settled(), 30)
        assert took_s < 10
        assert len(watched.homes) == CAMERAS
        assert all(watched.longest_s[name] < 2.0 for name in stay), watched.longest_s
    finally:
        fleet.close()
        cluster.close()


def stored_bytes(cluster: RayCluster) -> float:
    whole, left = cluster.ray.cluster_resources(), cluster.ray.available_resources()
    return float(whole["object_store_memory"] - left["object_store_memory"])


SECRET = "neither-here-nor-there-7b1f"
COMMANDS_FILE = """
engine = "gray"
fixed = true
[reconnect]
wait_at_start = true
[fleet]
address = "{address}"
files = "{files}"
cameras_per_process = 2
[[cameras]]
name = "gate"
source = "test:nir?live=1&rate=5&size=64x48"
to = ["null"]
repair = {{ mask = "shared:gate.png" }}
[[cameras]]
name = "roof"
source = "test:nir?live=1&rate=5&size=64x48"
to = ["null"]
[[cameras]]
name = "locked"
source = "rtsp://user:${{FLEET_SECRET}}@127.0.0.1:9/stream"
to = ["null"]
"""


@pytest.mark.cluster
def test_a_fleet_by_its_commands(ray_machines: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One page, one log, files by content; and no password in what Ray keeps, shows or writes."""
    monkeypatch.setenv("FLEET_SECRET", SECRET)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    ray_machines.add_node(num_cpus=2, **STORE)
    files, path, said = tmp_path / "site", tmp_path / "fleet.toml", tmp_path / "said"
    files.mkdir()
    write_mask(files / "gate.png", 10)
    path.write_text(COMMANDS_FILE.format(address=ray_machines.address, files=files))
    with said.open("wb") as output:
        words = ["up", "--config", str(path), "--serve", "127.0.0.1:0"]
        process = subprocess.Popen([*COMMAND, *words], stdout=output, stderr=output)
    try:
        page = until(lambda: re.search(r"http://\S+(?=/metrics)", said.read_text()), process)[0]

        def frames() -> dict[str, float]:
            figures = text_string_to_metric_families(fetched(f"{page}/metrics"))
            return {
                sample.labels["camera"]: sample.value
                for family in figures
                for sample in family.samples
                if sample.name == "irchroma_frames_total" and sample.labels["node"]
            }

        until(lambda: min(frames().get("gate", 0), frames().get("roof", 0)) > 10, process)

        before = frames()
        write_mask(files / "gate.png", 30)
        until(lambda: 0 < frames().get("gate", 0) < before["gate"], process)
        until(lambda: frames()["roof"] > before["roof"], process)
        told = logs(ray_machines.address, "--lines", "1000")
        assert "gate: begins anew" in told
        assert "roof: begins anew" not in told
        lines = [json.loads(line) for line in logs(ray_machines.address, "locked", "--jsonl").splitlines()]
        assert {line["camera"] for line in lines} == {"locked"}
        assert all(line["node"] for line in lines)
        assert any("127.0.0.1:9" in line["message"] for line in lines)

        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
    session = Path(ray_machines.head_node.get_session_dir_path())
    written = [one for one in session.rglob("*") if one.is_file()]
    assert len(written) > 5
    assert not [one for one in session.rglob("*spilled*") if one.is_dir() and any(one.iterdir())]
    holders = [one for one in [*written, said] if SECRET.encode() in one.read_bytes()]
    assert not holders
    assert SECRET not in told


COMMAND = [sys.executable, "-m", "irchroma.launch", "fleet"]


def write_mask(path: Path, column: int) -> None:
    mask = np.zeros((48, 64), np.uint8)
    mask[10:14, column : column + 4] = 255
    assert cv2.imwrite(str(path), mask)


def until(found: Callable[[], T | None], process: subprocess.Popen[bytes]) -> T:
    deadline_s = time.monotonic() + 120
    while not (answer := found()):
        assert process.poll() is None
        assert time.monotonic() < deadline_s
        time.sleep(0.3)
    return answer


def fetched(address: str) -> str:
    with urllib.request.urlopen(address, timeout=20) as answer:
        body: bytes = answer.read()
    return body.decode()


def logs(address: str, *words: str) -> str:
    command = [*COMMAND, "logs", *words, "--address", address]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _named(cluster: RayCluster) -> dict[str, dict[str, Any]]:
    return {
        f"{told['NodeManagerHostname']}-{told['NodeID'][:6]}": told
        for told in cluster.ray.nodes()
        if told["Alive"]
    }


def test_without_ray_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(StreamError, match=r"^a fleet needs Ray: pip install 'irchroma\[fleet\]'$"):
        RayCluster("auto", 3.0)
