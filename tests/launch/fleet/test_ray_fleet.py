"""A fleet on Ray's own cluster of several machines, all of them on this one: a loss, a newcomer, a drain."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from irchroma.launch.fleet.config import load_fleet
from irchroma.launch.fleet.ray_cluster import RayCluster
from irchroma.launch.fleet.supervisor import Fleet
from irchroma.stream.errors import StreamError

pytestmark = [pytest.mark.gst, pytest.mark.timeout(300)]

CAMERAS = 6
FILE = """
engine = "palette:ironbow"
fixed = true
[reconnect]
wait_at_start = true
[fleet]
cost = { cpu = 0.5 }
lost_after_s = 5.0
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
            self.draining = self.cluster.exchange(self.fleet.status())
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


def test_cameras_outlive_their_machines(ray_machines: Any, tmp_path: Path) -> None:
    path = tmp_path / "fleet.toml"
    path.write_text(FILE)
    more = {"num_cpus": 2, **STORE}
    workers = [ray_machines.add_node(**more) for _ in range(2)]
    config = load_fleet(path)
    cluster = RayCluster(ray_machines.address, config.options.lost_after_s)
    fleet = Fleet(config, cluster)
    watched = Watched(fleet, cluster)
    try:
        watched.until(watched.settled)
        assert watched.loads == [0.75, 0.75]

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
