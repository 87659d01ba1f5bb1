"""Dashboard and rules against the figures that the server gives, and the stack that shows them."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from doctor_derma.server.app import create_app
from server.fake_engine import encoded
from tiny_bundle import GREEN, RED

DEPLOYMENT = Path(__file__).resolve().parents[2] / "deployment"
MONITORING = DEPLOYMENT / "monitoring"
PROMETHEUS = MONITORING / "prometheus"
SERVICES = yaml.safe_load((DEPLOYMENT / "docker-compose.yml").read_text())["services"]
DASHBOARD = json.loads((MONITORING / "grafana" / "dashboards" / "doctor-derma.json").read_text())
RULES = [
    rule
    for group in yaml.safe_load((PROMETHEUS / "rules.yml").read_text())["groups"]
    for rule in group["rules"]
]
RECORDED = {rule["record"] for rule in RULES if "record" in rule}
SHOWN = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
QUERIES = [target["expr"] for panel in SHOWN for target in panel["targets"]]
QUERIES += [rule["expr"] for rule in RULES]
promtool = pytest.mark.skipif(not shutil.which("promtool"), reason="Prometheus is not installed")


@pytest.fixture(scope="module")
def samples(bundle: Path) -> dict[str, set[str]]:
    """All figures of a server that has answered and refused, with the values of their labels."""
    found: dict[str, set[str]] = {}
    with TestClient(create_app(bundle)) as client:
        for picture in (encoded(RED), encoded(GREEN), b"nonsense"):
            client.post("/v1/predict", files={"image": picture})
        # Once more, for the request for the figures itself.
        client.get("/metrics")
        for family in text_string_to_metric_families(client.get("/metrics").text):
            for sample in family.samples:
                found.setdefault(sample.name, set()).update(sample.labels.values())
    return found


@pytest.mark.parametrize("query", sorted(set(QUERIES)))
def test_a_query_asks_for_figures_that_are_there(query: str, samples: dict[str, set[str]]) -> None:
    names = set(re.findall(r"\b(?:derma|process)_[a-z_]+\b(?!:)", re.sub(r"\w+(:\w+)+", "", query)))
    recorded = {found[0] for found in re.finditer(r"\w+(:\w+)+", query)}
    assert names | recorded
    assert names <= set(samples)
    assert recorded <= RECORDED
    there = set().union(*samples.values())
    for values in re.findall(r'(?:reason|route|stage)=~?"([^"]+)"', query):
        assert set(values.split("|")) <= there


def test_what_is_recorded_is_used() -> None:
    assert {name for name in RECORDED if not any(name in query for query in QUERIES)} == set()


def test_the_dashboard_is_one_that_grafana_takes_and_people_can_read() -> None:
    assert re.fullmatch(r"[a-z-]{1,40}", DASHBOARD["uid"])
    identifiers = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(identifiers)) == len(identifiers)
    (source,) = DASHBOARD["templating"]["list"]
    assert (source["type"], source["query"]) == ("datasource", "prometheus")
    for panel in SHOWN:
        assert panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert panel["datasource"]["uid"] == f"${{{source['name']}}}"
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])


def test_no_panel_lies_on_another() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        x, y, w, h = (panel["gridPos"][side] for side in "xywh")
        assert 0 <= x <= x + w <= 24
        cells = {(column, line) for column in range(x, x + w) for line in range(y, y + h)}
        assert not taken & cells, panel["title"]
        taken |= cells


def test_an_alert_says_what_to_do_and_has_a_test() -> None:
    tested = "".join((PROMETHEUS / f"{name}_test.yml").read_text() for name in ("rules", "drift"))
    alerts = [rule for rule in RULES if "alert" in rule]
    assert alerts
    for alert in alerts:
        assert alert["labels"]["severity"] in ("critical", "warning")
        assert set(alert["annotations"]) == {"summary", "description"}
        assert alert["alert"] in tested


@pytest.mark.parametrize("name", ["prometheus", "grafana"])
def test_what_watches_may_do_as_little_as_what_is_watched(name: str) -> None:
    service, web = SERVICES[name], SERVICES["web"]
    assert service["profiles"] == ["monitoring"]
    assert re.fullmatch(r"[\w./-]+:v?\d+\.\d+\.\d+", service["image"])
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    same = ("read_only", "tmpfs", "cap_drop", "security_opt", "mem_limit", "memswap_limit")
    assert [service[key] for key in same] == [web[key] for key in same]
    for volume in service["volumes"]:
        source, _, *mode = volume.split(":")
        if source.startswith("."):
            assert (DEPLOYMENT / source).is_dir()
            assert mode == ["ro"]


def test_the_files_name_each_other_as_they_are_mounted() -> None:
    provisioning = MONITORING / "grafana" / "provisioning"

    def read(name: str) -> dict[str, Any]:
        return yaml.safe_load((provisioning / name).read_text())

    (source,) = read("datasources/prometheus.yml")["datasources"]
    assert source["url"] == "http://prometheus:9090"
    (provider,) = read("dashboards/doctor-derma.yml")["providers"]
    mounts = dict(volume.split(":")[:2] for volume in SERVICES["grafana"]["volumes"])
    assert mounts["./monitoring/grafana/dashboards"] == provider["options"]["path"]
    assert mounts["./monitoring/grafana/provisioning"] == "/etc/grafana/provisioning"
    assert "./monitoring/prometheus:/etc/derma:ro" in SERVICES["prometheus"]["volumes"]
    assert SERVICES["prometheus"]["entrypoint"][-1] == "/etc/derma/start.sh"


def test_prometheus_learns_the_port_and_one_of_the_keys(tmp_path: Path) -> None:
    (program := tmp_path / "prometheus").write_text('#!/bin/sh\necho "$@"\n')
    program.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "TMPDIR": str(tmp_path), "PORT": "8000"}
    command = ["sh", PROMETHEUS / "start.sh", "--one", "two words"]
    for keys, key in (("first,second", "first"), ("", "")):
        environment["DERMA_API_KEYS"] = keys
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        assert done.stdout == "--one two words\n"
        assert json.loads((tmp_path / "derma.json").read_text()) == [{"targets": ["web:8000"]}]
        assert (tmp_path / "derma.key").read_text() == key
    (scraped,) = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())["scrape_configs"]
    assert scraped["file_sd_configs"] == [{"files": ["/tmp/derma.json"]}]
    assert scraped["authorization"] == {"credentials_file": "/tmp/derma.key"}


@promtool
@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "config", "--syntax-only", "prometheus.yml"),
        ("check", "rules", "rules.yml"),
        ("test", "rules", "rules_test.yml", "drift_test.yml"),
    ],
    ids=["config", "rules", "alerts"],
)
def test_promtool_has_nothing_against_it(arguments: tuple[str, ...]) -> None:
    done = subprocess.run(["promtool", *arguments], cwd=PROMETHEUS, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
