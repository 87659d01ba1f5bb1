"""The pipeline: GitHub's workflows, and what Heroku reads in the root."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from doctor_derma.server.settings import PREFIX, Settings

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
# An action of a full commit, with its version behind it for the reader.
PINNED = re.compile(r"uses: [\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+")
each_workflow = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)


def read(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text())


def steps(path: Path) -> list[dict[str, Any]]:
    return [step for job in read(path)["jobs"].values() for step in job["steps"]]


def test_one_checks_one_deploys_and_one_publishes_the_site():
    assert [path.stem for path in WORKFLOWS] == ["ci", "deploy", "docs"]


def test_workflows_are_what_github_takes():
    command = [sys.executable, "-m", "check_jsonschema"]
    schema = ["--builtin-schema", "vendor.github-workflows"]
    done = subprocess.run([*command, *schema, *WORKFLOWS], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_schema_finds_a_mistake(tmp_path: Path):
    wrong = tmp_path / "wrong.yml"
    wrong.write_text(WORKFLOWS[0].read_text().replace("timeout-minutes: 20", "time-out: 20", 1))
    command = [sys.executable, "-m", "check_jsonschema"]
    schema = ["--builtin-schema", "vendor.github-workflows"]
    assert subprocess.run([*command, *schema, wrong], capture_output=True).returncode == 1


@each_workflow
def test_every_action_is_pinned_to_a_commit(path: Path):
    uses = [line.strip(" -") for line in path.read_text().splitlines() if "uses:" in line]
    assert uses
    assert [line for line in uses if not PINNED.fullmatch(line)] == []


@each_workflow
def test_a_workflow_may_read_and_no_more_but_to_publish_the_site(path: Path):
    workflow = read(path)
    assert workflow["permissions"] == {"contents": "read"}
    more = [job["permissions"] for job in workflow["jobs"].values() if "permissions" in job]
    assert more == ([{"contents": "write"}] if path.stem == "docs" else [])
    checkouts = [step for step in steps(path) if "actions/checkout" in step.get("uses", "")]
    keeps = [step.get("with", {}).get("persist-credentials", True) for step in checkouts]
    assert keeps == [path.stem == "docs"] * len(checkouts)


@each_workflow
def test_every_job_ends(path: Path):
    for job in read(path)["jobs"].values():
        assert 0 < job["timeout-minutes"] <= 60


def test_ci_measures_the_coverage_of_the_fast_tests_and_runs_the_others_once():
    runs = [step.get("run", "") for step in read(WORKFLOWS[0])["jobs"]["test"]["steps"]]
    assert [run for run in runs if "pytest" in run or "coverage" in run] == [
        "make coverage",
        ".venv/bin/python -m pytest -m 'slow or browser' --ignore tests/notebooks",
    ]
    # All others, that is, but for the siege.
    fast = re.search(r"^FAST := -m '(.+)'$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert fast
    assert fast[1] == "not slow and not browser and not siege"


@each_workflow
def test_no_command_is_put_together_from_secrets_or_events(path: Path):
    assert [step["run"] for step in steps(path) if "${{" in step.get("run", "")] == []


def test_secrets_are_known_to_the_release_alone():
    holders = [
        step.get("run")
        for path in WORKFLOWS
        for step in steps(path)
        if "secrets." in json.dumps(step)
    ]
    # In the place of the shell, which tells its children nothing of a cancelled job.
    assert holders == ["exec python deployment/release doctor-derma"]


def test_one_deployment_runs_at_a_time_and_only_what_ci_has_passed():
    deploy = read(ROOT / ".github" / "workflows" / "deploy.yml")
    assert deploy["jobs"]["heroku"]["concurrency"]["group"] == "deploy"
    # YAML reads the key 'on' as true.
    assert deploy[True]["workflow_run"]["workflows"] == [read(WORKFLOWS[0])["name"]]
    assert deploy[True]["workflow_run"]["branches"] == ["main"]
    job = deploy["jobs"]["heroku"]
    assert job["environment"] == "production"
    assert "workflow_run.conclusion == 'success'" in job["if"]
    assert "workflow_run.event == 'push'" in job["if"]


@pytest.mark.parametrize("path", WORKFLOWS[1:], ids=lambda path: path.stem)
def test_a_run_that_does_nothing_takes_no_other_s_place(path: Path):
    workflow = read(path)
    # It is skipped by its job's condition, and so never in the queue of that job.
    assert "concurrency" not in workflow
    for job in workflow["jobs"].values():
        assert "workflow_run.event == 'push'" in job["if"]
        assert job["concurrency"]["cancel-in-progress"] is False


def test_monday_s_run_takes_no_push_s_place():
    assert "${{ github.event_name }}" in read(WORKFLOWS[0])["concurrency"]["group"]


def test_the_app_has_settings_that_the_server_knows_and_takes(monkeypatch: pytest.MonkeyPatch):
    given = json.loads((ROOT / "app.json").read_text())["env"]
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    assert set(given) <= known
    for name in given:
        monkeypatch.setenv(name, given[name].get("value", ""))
    settings = Settings.from_environment()
    assert settings.log_format == "json"
    # Heroku's router closes a request after 30 seconds.
    assert settings.deadline_seconds < 30
    # What anybody may not know is asked for, not written down.
    assert "value" not in given["DERMA_API_KEYS"]


def test_heroku_builds_the_image_of_the_deployment_in_the_root():
    app = json.loads((ROOT / "app.json").read_text())
    assert app["stack"] == "container"
    assert app["formation"]["web"]["size"] == "basic"
    web = ROOT / read(ROOT / "heroku.yml")["build"]["docker"]["web"]
    assert web.parent == ROOT
    assert web.resolve() == ROOT / "deployment" / "Dockerfile"
