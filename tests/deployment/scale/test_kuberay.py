"""The manifests for KubeRay, against a schema of its kinds, the installed Ray and ``derma``."""

import copy
import re
from pathlib import Path, PurePosixPath
from typing import Any

import jsonschema
import pytest

from deployment.scale.kuberay_schema import SCHEMAS
from deployment.scale.manifests import (
    MANIFESTS,
    ROOT,
    SCALE,
    everything,
    name_of,
    parse_derma,
    pod_templates,
    read,
    shown_commands,
)

OURS = [path for path in MANIFESTS if read(path)["kind"] in SCHEMAS]
each_manifest = pytest.mark.parametrize("path", OURS, ids=name_of)
DOCKERFILE = (SCALE / "ray" / "Dockerfile").read_text()


def check(manifest: dict[str, Any]) -> None:
    jsonschema.validate(manifest, SCHEMAS[manifest["kind"]])


def clusters(path: Path) -> list[dict[str, Any]]:
    parts = (part for part in everything(read(path)) if isinstance(part, dict))
    return [part for part in parts if "headGroupSpec" in part]


def groups(path: Path) -> list[dict[str, Any]]:
    return [
        group
        for cluster in clusters(path)
        for group in [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    ]


def test_there_is_a_cluster_and_a_job_for_prediction_and_for_training() -> None:
    kinds = sorted((read(path)["kind"], read(path)["metadata"]["name"]) for path in OURS)
    expected = [("RayCluster", "derma"), ("RayJob", "derma-predict"), ("RayJob", "derma-train")]
    assert kinds == expected


@each_manifest
def test_kuberay_takes_it(path: Path) -> None:
    check(read(path))


@each_manifest
@pytest.mark.parametrize(
    ("field", "value"), [("rayversion", "2.0.0"), ("rayVersion", 2.6), ("workerGroupSpecs", [])]
)
def test_the_schema_finds_a_mistake(path: Path, field: str, value: object) -> None:
    manifest = copy.deepcopy(read(path))
    spec = manifest["spec"]
    spec.get("rayClusterSpec", spec)[field] = value
    with pytest.raises(jsonschema.ValidationError):
        check(manifest)


@each_manifest
def test_ray_starts_with_options_that_it_has(path: Path) -> None:
    start = pytest.importorskip("ray.scripts.scripts", reason="needs the extra scale").start
    options = {name.removeprefix("--") for option in start.params for name in option.opts}
    given = [params for group in groups(path) for params in group["rayStartParams"]]
    assert given
    assert set(given) <= options
    # A head without work can't be brought down by it.
    for cluster in clusters(path):
        assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"


@each_manifest
def test_the_bounds_of_a_group_are_in_their_order(path: Path) -> None:
    for cluster in clusters(path):
        for group in cluster["workerGroupSpecs"]:
            assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]


@each_manifest
def test_ray_is_the_image_s_own(path: Path) -> None:
    image = re.search(r"^ARG RAY=(.+)$", DOCKERFILE, re.MULTILINE)
    assert image
    assert {cluster["rayVersion"] for cluster in clusters(path)} == {image[1]}
    launcher = read("ray/cluster-aws.yaml")["docker"]["image"]
    assert launcher.startswith(f"rayproject/ray:{image[1]}-")


@each_manifest
def test_nobody_reaches_it_without_a_token(path: Path) -> None:
    for cluster in clusters(path):
        assert cluster["authOptions"] == {"mode": "token"}
    policy = read("kuberay/common/network-policy.yaml")["spec"]
    assert policy["podSelector"]["matchLabels"] == {"ray.io/is-ray-node": "yes"}
    assert "../common" in read(path.with_name("kustomization.yaml"))["resources"]


@each_manifest
def test_its_image_gets_a_registry_and_a_version(path: Path) -> None:
    names = {
        container["image"]
        for template in pod_templates(read(path))
        for container in template["spec"]["containers"]
    }
    replaced = {image["name"] for image in read(path.with_name("kustomization.yaml"))["images"]}
    assert names == replaced == {"doctor-derma-ray"}


@each_manifest
def test_no_pod_is_root_or_may_become_it(path: Path) -> None:
    user = re.search(r"--uid (\d+)", DOCKERFILE)
    assert user
    for template in pod_templates(read(path)):
        pod = template["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] == int(user[1])
        for container in pod["containers"]:
            assert container["securityContext"]["allowPrivilegeEscalation"] is False
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            # Ray counts processors and memory by the limits.
            assert container["resources"]["limits"] == container["resources"]["requests"]


@each_manifest
def test_its_volumes_are_there(path: Path) -> None:
    claims = {read(other)["metadata"]["name"] for other in MANIFESTS
              if read(other)["kind"] == "PersistentVolumeClaim"}  # fmt: skip
    for template in pod_templates(read(path)):
        pod = template["spec"]
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        for container in pod["containers"]:
            assert {mount["name"] for mount in container["volumeMounts"]} == set(volumes)
        wanted = {v["persistentVolumeClaim"]["claimName"] for v in volumes.values()
                  if "persistentVolumeClaim" in v}  # fmt: skip
        assert wanted <= claims


def test_kustomize_takes_every_manifest() -> None:
    for path in sorted((SCALE / "kuberay").rglob("kustomization.yaml")):
        there = {other.name for other in path.parent.glob("*.yaml")} - {path.name}
        assert set(read(path)["resources"]) - {"../common"} == there


def test_accounts_that_pods_run_as_are_there() -> None:
    accounts = {read(path)["metadata"]["name"] for path in MANIFESTS
                if read(path)["kind"] == "ServiceAccount"}  # fmt: skip
    pods = [template["spec"] for path in OURS for template in pod_templates(read(path))]
    named = {pod["serviceAccountName"] for pod in pods if "serviceAccountName" in pod}
    assert named == accounts


@each_manifest
def test_the_commands_it_shows_are_derma_s(path: Path) -> None:
    entrypoint = read(path)["spec"].get("entrypoint")
    commands = [entrypoint] if entrypoint else shown_commands(path)
    assert commands
    for command in commands:
        parse_derma(command)
    assert entrypoint is None or "--engine ray" in entrypoint


@pytest.mark.parametrize("name", ["predict", "train"])
def test_a_job_is_deleted_before_it_is_applied_again(name: str) -> None:
    path = SCALE / "kuberay" / name / "rayjob.yaml"
    delete = f"kubectl delete -n doctor-derma rayjob {read(path)['metadata']['name']}"
    assert f"#   {delete}\n" in path.read_text()
    apply = f"kubectl apply -k {path.parent.relative_to(ROOT)}"
    assert f"{delete} && {apply}\n" in (SCALE / "README.md").read_text()


def test_a_training_goes_on_with_the_command_that_it_shows() -> None:
    path = SCALE / "kuberay" / "train" / "rayjob.yaml"
    entrypoint = read(path)["spec"]["entrypoint"]
    name = re.search(r"--name (\S+)", entrypoint)
    assert name
    for shown in (path, SCALE / "README.md"):
        assert f"--resume {name[1]}" in shown.read_text()
    parse_derma(re.sub(r"--config .*", f"--resume {name[1]}", entrypoint))


def test_training_has_a_node_for_each_worker() -> None:
    spec = read("kuberay/train/rayjob.yaml")["spec"]
    workers = re.search(r"--workers (\d+)", spec["entrypoint"])
    group = spec["rayClusterSpec"]["workerGroupSpecs"][0]
    assert workers
    assert group["minReplicas"] == group["maxReplicas"] == int(workers[1])


def is_sent_to_docker(path: str) -> bool:
    """Say whether a file is in the context of a build: the last line that names it decides.

    A line of ``.dockerignore`` names all that is in a folder, too.
    """
    file = PurePosixPath("/", path)
    sent = True
    for line in filter(None, (ROOT / ".dockerignore").read_text().splitlines()):
        pattern = f"/{line.removeprefix('!')}"
        if not line.startswith("#") and any(part.match(pattern) for part in (file, *file.parents)):
            sent = line.startswith("!")
    return sent


@pytest.mark.parametrize("path", ["kuberay/train/rayjob.yaml", "kuberay/cluster/raycluster.yaml"])
def test_the_recipe_that_it_names_is_in_the_image(path: str) -> None:
    shown = (SCALE / path).read_text()
    recipe = re.search(r"--config (?:/home/ray/doctor-derma/)?(code/\S+)", shown)
    assert recipe
    assert (ROOT / recipe[1]).is_file()
    assert is_sent_to_docker(recipe[1])
    assert not is_sent_to_docker("code/notebooks/start.py")
    assert "WORKDIR /home/ray/doctor-derma" in DOCKERFILE
    assert "COPY code code" in DOCKERFILE
