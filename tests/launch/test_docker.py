"""What docker compose runs fits together: ports, names, secrets, files, the dashboard's metrics."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from irchroma.launch.run.settings.options import load, require
from irchroma.stream.sinks.http.metrics import exposition
from irchroma.stream.sinks.open_sink import open_sink

FOLDER = Path(__file__).parents[2] / "launch" / "docker"


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return dict(yaml.safe_load((FOLDER / "compose.yaml").read_text(encoding="utf-8")))


def read(name: str) -> Any:
    return yaml.safe_load((FOLDER / name).read_text(encoding="utf-8"))


def test_the_run_writes_to_ports_and_names_that_are_there(compose: dict[str, Any]) -> None:
    config = load(FOLDER / "gate.toml", {})
    require(config)
    services = compose["services"]
    pages = [urlsplit(text) for text in config.to if text.startswith("http:")]
    published = [urlsplit(text) for text in config.to if text.startswith("publish+")]
    assert [page.port for page in pages] == [8080]
    assert pages[0].hostname == "0.0.0.0"  # within the container, whose port is opened to this machine alone
    assert [one.hostname for one in published] == ["mediamtx"]
    assert "mediamtx" in services
    for text in config.to:
        open_sink(text)
    assert config.output.page_names == ("irchroma",)
    for token in (config.output.page_token, config.output.page_viewer_token):
        name = re.fullmatch(r"\$\{file:/run/secrets/(\w+)\}", token)
        assert name is not None
        assert name[1] in services["irchroma"]["secrets"]


def test_nothing_is_open_to_others_and_every_secret_and_file_is_declared(
    compose: dict[str, Any],
) -> None:
    for name, service in compose["services"].items():
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), (name, port)
        assert set(service.get("secrets", [])) <= set(compose["secrets"])
        for volume in service.get("volumes", []):
            host = volume.split(":")[0]
            if host.startswith("./"):
                assert (FOLDER / host).is_file(), host
            else:
                assert host in compose["volumes"]
        assert set(service.get("depends_on", [])) <= set(compose["services"])
        image = service["image"]
        assert image == "irchroma" or re.search(r":v?\d", image), image
    build = compose["services"]["irchroma"]["build"]
    assert (FOLDER / build["context"] / build["dockerfile"]).resolve() == FOLDER / "Dockerfile"


def test_every_container_reads_the_secrets_that_the_steps_make_and_nobody_else_of_the_machine(
    compose: dict[str, Any], tmp_path: Path
) -> None:
    """Compose mounts the files as they are: with the owner and mode of the host, other users in containers.

    Reference: github.com/docker/compose/issues/9648.
    """
    text = (FOLDER / "compose.yaml").read_text(encoding="utf-8")
    said = [line.removeprefix("#   ") for line in text.splitlines() if line.startswith("#   ")]
    steps = [line for line in said if "secrets" in line]
    if shutil.which("openssl") is None:
        steps = [line.replace("openssl rand -hex 18", "echo 1") for line in steps]
    script = "umask 077; set -e\n" + "\n".join(steps)
    subprocess.run(["bash", "-c", script], cwd=tmp_path, input=b"pass word\n", check=True)
    folder = tmp_path / "secrets"
    assert folder.stat().st_mode & 0o777 == 0o700
    made = {path.name: path for path in folder.iterdir()}
    assert made.pop("camera").read_text() == "pass word"
    assert set(made) == set(compose["secrets"])
    for name, path in [*made.items(), ("camera", folder / "camera")]:
        assert path.stat().st_mode & 0o777 == 0o644, name
        assert path.read_text().strip()


def test_no_secret_goes_into_the_image_or_into_git(compose: dict[str, Any]) -> None:
    left_out = (FOLDER / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    ignored = (FOLDER.parents[1] / ".gitignore").read_text(encoding="utf-8").splitlines()
    for secret in compose["secrets"].values():
        folder = f"launch/docker/{Path(secret['file']).parent}"
        assert folder in left_out
        assert f"/{folder}/" in ignored


def test_figures_go_from_the_page_to_the_dashboard(compose: dict[str, Any]) -> None:
    job = read("prometheus.yml")["scrape_configs"][0]
    assert job["static_configs"][0]["targets"] == ["irchroma:8080"]
    assert job["authorization"]["credentials_file"] == "/run/secrets/viewer"
    source = read("grafana/provisioning.yaml")["datasources"][0]
    assert urlsplit(source["url"]).hostname in compose["services"]
    assert urlsplit(source["url"]).port == 9090
    board = json.loads((FOLDER / "grafana" / "dashboard.json").read_text(encoding="utf-8"))
    stage = {"count": 1, "avg_ms": 1.0, "p50_ms": 1.0, "p95_ms": 1.0, "p99_ms": 1.0}
    sink = {"written": 1, "dropped": 0, "reopened": 0}
    figures = {"state": "live", "engine": "x", "viewers": 1, "fps": 1, "flicker": 0.1}
    told = exposition({"gate": {**figures, "sinks": {"a": sink}, "stages": {"color": stage}}}).decode()
    known = set(re.findall(r"^(irchroma_\w+)", told, re.MULTILINE))
    asked = set(
        re.findall(r"irchroma_\w+", " ".join(t["expr"] for p in board["panels"] for t in p["targets"]))
    )
    assert asked
    assert asked <= known, asked - known
    assert {p["datasource"]["uid"] for p in board["panels"]} == {source["uid"]}
    labels = set(re.findall(r"\{\{(\w+)\}\}", json.dumps(board)))
    assert all(re.search(rf"\b{label}=\"", told) for label in labels)
    mounted = [volume.split(":")[1] for volume in compose["services"]["grafana"]["volumes"]]
    folder = read("grafana/dashboards.yaml")["providers"][0]["options"]["path"]
    assert any(path.startswith(folder) and path.endswith(".json") for path in mounted)


def test_the_image_is_made_by_the_same_setup_and_runs_as_nobody_special() -> None:
    text = (FOLDER / "Dockerfile").read_text(encoding="utf-8")
    lines = re.sub(r"\\\n", " ", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE)).splitlines()
    words = [line.split(maxsplit=1)[0] for line in lines if line.strip()]
    known = {"FROM", "COPY", "RUN", "USER", "WORKDIR", "ENV", "EXPOSE", "STOPSIGNAL", "HEALTHCHECK"}
    assert set(words) <= known | {"ENTRYPOINT", "CMD"}
    assert words[0] == "FROM"
    assert re.search(r"^FROM \S+:\S+$", text, re.MULTILINE)
    assert "launch/setup" in text
    assert (FOLDER.parent / "setup").is_file()
    assert [line for line in lines if line.startswith("USER ")] == ["USER irchroma"]
    health = next(line for line in lines if line.startswith("HEALTHCHECK"))
    command = json.loads(health[health.index("[") :])
    compile(command[2], "healthcheck", "exec")
    assert "8080/healthz" in command[2]


def test_kubernetes_workers_know_the_passwords_that_the_fleet_names() -> None:
    text = (FOLDER / "kuberay.yaml").read_text(encoding="utf-8")
    cluster = yaml.safe_load(text)
    head = cluster["spec"]["headGroupSpec"]
    assert head["rayStartParams"]["num-cpus"] == "0"
    (front,) = head["template"]["spec"]["containers"]
    assert {mount["name"] for mount in front["volumeMounts"]} == {
        volume["name"] for volume in head["template"]["spec"]["volumes"]
    }
    (group,) = cluster["spec"]["workerGroupSpecs"]
    (worker,) = group["template"]["spec"]["containers"]
    for container in (front, worker):
        assert {"name": "RAY_worker_niceness", "value": "0"} in container["env"]
    assert worker["envFrom"] == [{"secretRef": {"name": "cameras"}}]
    assert "envFrom" not in front  # no camera runs there
    fleet = (FOLDER.parent / "fleet" / "fleet.toml").read_text(encoding="utf-8")
    named = set(re.findall(r"\$\{([A-Z_]+)\}", fleet)) - {"NAME"}
    assert named
    assert named <= set(re.findall(r"--from-literal (\w+)=", text))
