"""The manifests for the server, against the server itself, its image and the simulation."""

import re
from typing import Any

import pytest

from deployment.scale.manifests import ROOT, SCALE, parse_derma, read
from doctor_derma.bundle import read_info
from doctor_derma.server.metrics import METRICS_PATH, Metrics
from doctor_derma.server.process import DRAIN_SECONDS, SHUTDOWN_SECONDS
from doctor_derma.server.routes.health import health_routes
from doctor_derma.server.settings import PREFIX, Settings

FOLDER = SCALE / "serving"
DOCKERFILE = (ROOT / "deployment" / "Dockerfile").read_text()
COMPOSE = (ROOT / "deployment" / "docker-compose.yml").read_text()
CHAMPION = ROOT / "deployment" / "models" / "champion"
DEPLOYMENT, SERVICE, AUTOSCALER, BUDGET, NETWORK = (
    read(f"serving/{name}.yaml")
    for name in ("deployment", "service", "autoscaler", "disruption-budget", "network-policy")
)
POD = DEPLOYMENT["spec"]["template"]
WEB = POD["spec"]["containers"][0]
ADAPTER = read("serving/prometheus/adapter-values.yaml")["rules"]["custom"][0]


def written(pattern: str, text: str) -> str:
    found = re.search(pattern, text, re.MULTILINE)
    assert found, pattern
    return found[1]


@pytest.fixture(scope="module")
def exposition() -> str:
    """What a server of the shipped model tells Prometheus."""
    return Metrics(read_info(CHAMPION)).exposition()[0].decode()


def variables() -> dict[str, str]:
    return {each["name"]: each["value"] for each in WEB["env"] if "value" in each}


def test_it_listens_where_everybody_asks() -> None:
    port = written(r"^EXPOSE (\d+)$", DOCKERFILE)
    assert WEB["ports"] == [{"name": "http", "containerPort": int(port)}]
    assert variables()["PORT"] == port
    assert POD["metadata"]["annotations"]["prometheus.io/port"] == port
    assert SERVICE["spec"]["ports"][0]["targetPort"] == "http"
    assert NETWORK["spec"]["ingress"][0]["ports"] == [{"protocol": "TCP", "port": "http"}]


def test_probes_ask_paths_that_the_server_has() -> None:
    info = read_info(CHAMPION)
    routes = health_routes(None, info, ()).routes  # type: ignore[arg-type]
    paths = {route.path for route in routes}  # type: ignore[attr-defined]
    asked = {name: WEB[name]["httpGet"] for name in WEB if name.endswith("Probe")}
    assert {each["path"] for each in asked.values()} == paths
    assert {each["port"] for each in asked.values()} == {"http"}
    assert asked["livenessProbe"]["path"] == asked["startupProbe"]["path"] == "/healthz"
    assert asked["readinessProbe"]["path"] == "/readyz"
    assert POD["metadata"]["annotations"]["prometheus.io/path"] == METRICS_PATH


def test_the_server_knows_its_settings_and_takes_them(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    assert {each["name"] for each in WEB["env"]} - {"PORT"} <= known
    standard = Settings.from_environment().max_batch
    for name, value in variables().items():
        monkeypatch.setenv(name, value)
    settings = Settings.from_environment()
    assert settings.log_format == "json"
    # Memory and the simulation are for these.
    assert (settings.workers, settings.queue_limit) == (1, 64)
    assert settings.max_batch == standard
    # Nobody may read keys in a manifest.
    keys = next(each for each in WEB["env"] if each["name"] == "DERMA_API_KEYS")
    assert keys["valueFrom"]["secretKeyRef"]["optional"] is True


def test_its_command_is_the_image_s_own_and_derma_s() -> None:
    command = written(r"^CMD \[(.+)\]$", DOCKERFILE)
    assert WEB["command"] == re.findall(r'"([^"]*)"', command)
    parse_derma(" ".join(WEB["command"]))


def test_it_may_do_as_little_as_under_compose() -> None:
    user, group = written(r"^USER (\S+)$", DOCKERFILE).split(":")
    pod = POD["spec"]["securityContext"]
    assert (pod["runAsUser"], pod["runAsGroup"]) == (int(user), int(group))
    assert pod["runAsNonRoot"] is True
    assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
    assert WEB["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert "read_only: true" in COMPOSE
    assert POD["spec"]["automountServiceAccountToken"] is False
    assert [mount["mountPath"] for mount in WEB["volumeMounts"]] == ["/tmp"]


def test_it_has_the_memory_that_it_has_under_compose() -> None:
    megabytes = written(r"^    mem_limit: (\d+)m$", COMPOSE)
    for kind in ("requests", "limits"):
        assert WEB["resources"][kind]["memory"] == f"{megabytes}Mi"
    assert "cpu" not in WEB["resources"]["limits"]


def test_no_accepted_request_is_lost_at_its_end() -> None:
    pause = WEB["lifecycle"]["preStop"]["sleep"]["seconds"]
    readiness = WEB["readinessProbe"]
    assert pause >= readiness["periodSeconds"] * readiness["failureThreshold"]
    least = pause + DRAIN_SECONDS + SHUTDOWN_SECONDS
    assert POD["spec"]["terminationGracePeriodSeconds"] > least


def test_everything_means_the_same_pods() -> None:
    labels = POD["metadata"]["labels"]
    spread = POD["spec"]["topologySpreadConstraints"]
    selectors = [
        DEPLOYMENT["spec"]["selector"]["matchLabels"],
        SERVICE["spec"]["selector"],
        BUDGET["spec"]["selector"]["matchLabels"],
        NETWORK["spec"]["podSelector"]["matchLabels"],
        *(constraint["labelSelector"]["matchLabels"] for constraint in spread),
    ]
    assert all(selector == labels for selector in selectors)
    assert len(spread) == 2


def test_the_autoscaler_has_the_say() -> None:
    target = AUTOSCALER["spec"]["scaleTargetRef"]
    assert target["kind"] == DEPLOYMENT["kind"]
    assert target["name"] == DEPLOYMENT["metadata"]["name"]
    assert "replicas" not in DEPLOYMENT["spec"]
    assert 2 <= AUTOSCALER["spec"]["minReplicas"] < AUTOSCALER["spec"]["maxReplicas"]


def test_its_metric_is_one_that_the_server_has(exposition: str) -> None:
    metric = AUTOSCALER["spec"]["metrics"][0]["pods"]["metric"]["name"]
    assert f"# TYPE {metric} gauge" in exposition
    series = written(r"^(\w+)\{", ADAPTER["seriesQuery"])
    assert f"# TYPE {series} gauge" in exposition
    assert re.search(ADAPTER["name"]["matches"], series)
    assert ADAPTER["name"]["as"] == metric
    assert set(ADAPTER["resources"]["overrides"]) == {"namespace", "pod"}
    for part in ("<<.Series>>", "<<.LabelMatchers>>", "<<.GroupBy>>"):
        assert part in ADAPTER["metricsQuery"]


def test_a_replica_is_seen_waiting_before_its_queue_is_full() -> None:
    target = AUTOSCALER["spec"]["metrics"][0]["pods"]["target"]
    assert target["type"] == "AverageValue"
    assert 1 <= int(target["averageValue"]) <= int(variables()["DERMA_QUEUE_LIMIT"]) / 4


def test_the_autoscaler_is_the_one_that_the_guide_measured() -> None:
    """Its figures in docs/scaling/serving.md are for these settings."""
    metric = AUTOSCALER["spec"]["metrics"][0]["pods"]["target"]
    up = {
        kind["type"]: kind["value"]
        for kind in AUTOSCALER["spec"]["behavior"]["scaleUp"]["policies"]
    }
    assert (metric["averageValue"], AUTOSCALER["spec"]["maxReplicas"]) == ("2", 32)
    assert up == {"Percent": 100, "Pods": 4}
    assert read("serving/prometheus/scrape.yaml")["server"]["global"]["scrape_interval"] == "15s"
    # The last look counts, not an average over some.
    assert "over_time" not in ADAPTER["metricsQuery"]


def test_kustomize_takes_every_manifest_and_gives_the_image_a_registry() -> None:
    kustomization = read("serving/kustomization.yaml")
    there = {path.name for path in FOLDER.glob("*.yaml")} - {"kustomization.yaml"}
    assert set(kustomization["resources"]) == there
    assert [image["name"] for image in kustomization["images"]] == [WEB["image"]]


def test_budget_lets_nodes_be_emptied() -> None:
    percent: Any = BUDGET["spec"]["maxUnavailable"]
    assert percent.endswith("%")
    assert 0 < int(percent[:-1]) < 50
