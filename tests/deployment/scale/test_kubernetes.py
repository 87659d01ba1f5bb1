"""Every manifest of Kubernetes' own kinds, and every pod, against Kubernetes' own schemas.

The package ``kubernetes-validate`` brings them, made from Kubernetes' OpenAPI description; strict
means that a field that a kind does not have is a mistake.
"""

import copy
from pathlib import Path
from typing import Any

import pytest

from deployment.scale.kuberay_schema import SCHEMAS
from deployment.scale.manifests import MANIFESTS, name_of, pod_templates, read

kubernetes_validate: Any = pytest.importorskip(
    "kubernetes_validate", reason="needs the package kubernetes-validate, in the extra dev"
)
VERSION = "1.34"
OWN = [path for path in MANIFESTS if read(path)["kind"] not in SCHEMAS]
FOREIGN = [path for path in MANIFESTS if read(path)["kind"] in SCHEMAS]


def check(manifest: dict[str, Any]) -> None:
    kubernetes_validate.validate(manifest, VERSION, strict=True)


@pytest.mark.parametrize("path", OWN, ids=name_of)
def test_kubernetes_takes_it(path: Path) -> None:
    check(read(path))


@pytest.mark.parametrize("path", FOREIGN, ids=name_of)
def test_kubernetes_takes_the_pods_of_kuberay(path: Path) -> None:
    templates = pod_templates(read(path))
    assert len(templates) == 2
    for template in templates:
        pod = {"apiVersion": "v1", "kind": "PodTemplate", "template": template}
        check({**pod, "metadata": {"name": "pod"}})


@pytest.mark.parametrize(
    "change",
    [
        {"readynessProbe": {"httpGet": {"path": "/readyz", "port": 5555}}},
        {"ports": [{"containerPort": "5555"}]},
        {"command": "derma serve"},
        {"env": [{"value": "1"}]},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_mistake_is_found(change: dict[str, Any]) -> None:
    manifest = copy.deepcopy(read("serving/deployment.yaml"))
    manifest["spec"]["template"]["spec"]["containers"][0].update(change)
    with pytest.raises(kubernetes_validate.ValidationError):
        check(manifest)
