"""The cluster that ``ray up`` starts, against the schema and the commands of the installed Ray."""

import copy
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from deployment.scale.manifests import ROOT, parse_derma, read, shown_commands

pytest.importorskip("ray", reason="needs the extra scale")
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.scripts.scripts import start

CLUSTER = "ray/cluster-aws.yaml"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
IMAGE = re.compile(r"rayproject/ray:(?P<ray>\d+\.\d+\.\d+)-py(?P<python>\d+)-cpu")


@pytest.fixture(autouse=True)
def _at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    # Where `ray up` is called: what is mounted is named from there.
    monkeypatch.chdir(ROOT)


@pytest.fixture
def cluster() -> dict[str, Any]:
    return read(CLUSTER)


def check(config: dict[str, Any]) -> None:
    validate_config(prepare_config(copy.deepcopy(config)))


def test_ray_takes_it(cluster: dict[str, Any]) -> None:
    check(cluster)
    prepared = prepare_config(copy.deepcopy(cluster))
    # What is said here has not been filled up with Ray's own defaults.
    assert set(prepared["available_node_types"]) == {"head", "worker"}
    assert prepared["available_node_types"]["head"]["max_workers"] == 0


@pytest.mark.parametrize(
    ("key", "value"),
    [("max_nodes", 3), ("max_workers", "eight"), ("idle_timeout_minutes", -1)],
)
def test_ray_refuses_a_mistake(cluster: dict[str, Any], key: str, value: object) -> None:
    with pytest.raises(jsonschema.ValidationError):
        check(cluster | {key: value})


def test_ray_refuses_a_head_that_is_no_node_type(cluster: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="head_node_type"):
        check(cluster | {"head_node_type": "boss"})


def test_the_spot_option_is_one_that_ray_takes(cluster: dict[str, Any]) -> None:
    text = (ROOT / "deployment/scale" / CLUSTER).read_text()
    assert "# InstanceMarketOptions:\n      #   MarketType: spot" in text
    worker = cluster["available_node_types"]["worker"]["node_config"]
    worker["InstanceMarketOptions"] = {"MarketType": "spot"}
    check(cluster)


def test_the_commands_that_start_ray_are_ray_s(cluster: dict[str, Any]) -> None:
    commands = cluster["head_start_ray_commands"] + cluster["worker_start_ray_commands"]
    starts = [line.partition("ray start ")[2] for line in commands if "ray start " in line]
    assert len(starts) == 2
    for line in starts:
        start.make_context("start", shlex.split(line))
    assert "--head" in starts[0]
    # Whoever reaches a port can run code on the cluster.
    assert all("RAY_AUTH_MODE=token ray start" in line for line in commands if "start" in line)
    assert "--dashboard-host=127.0.0.1" in starts[0]


def test_the_image_has_a_ray_and_a_python_that_the_package_takes(cluster: dict[str, Any]) -> None:
    image = IMAGE.fullmatch(cluster["docker"]["image"])
    assert image, "the image names no release"
    scale = map(Requirement, PROJECT["optional-dependencies"]["scale"])
    wanted = next(requirement for requirement in scale if requirement.name == "ray")
    assert wanted.specifier.contains(image["ray"])
    python = f"{image['python'][0]}.{image['python'][1:]}"
    assert SpecifierSet(PROJECT["requires-python"]).contains(python)


def test_what_pip_needs_is_mounted_and_no_data(cluster: dict[str, Any]) -> None:
    mounts = {remote: Path(local) for remote, local in cluster["file_mounts"].items()}
    assert mounts.pop("/home/ray/.ray/auth_token") == Path("~/.ray/auth_token")
    for local in mounts.values():
        assert (ROOT / local).exists(), local
    home = "/home/ray/doctor-derma/"
    assert {remote.removeprefix(home) for remote in mounts} >= {
        "code",
        "pyproject.toml",
        PROJECT["readme"],
    }
    assert not {"data", "mlflow"} & {local.parts[0] for local in mounts.values()}
    install = next(line for line in cluster["setup_commands"] if "pip install" in line)
    extras = re.search(r"doctor-derma\[([\w,]+)\]", install)
    assert extras
    assert set(extras[1].split(",")) <= set(PROJECT["optional-dependencies"])


def test_the_workers_are_no_more_than_the_cluster_may_have(cluster: dict[str, Any]) -> None:
    workers = [kind["max_workers"] for kind in cluster["available_node_types"].values()]
    assert sum(workers) == cluster["max_workers"]


def test_the_commands_it_shows_are_derma_s() -> None:
    commands = shown_commands(CLUSTER)
    assert commands
    for command in commands:
        parse_derma(command)
