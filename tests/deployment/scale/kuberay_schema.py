"""The fields of KubeRay's kinds that the manifests use, as a JSON schema.

Names, types and values are those of KubeRay's API reference for ``ray.io/v1``,
https://ray-project.github.io/kuberay/reference/api/ (read in November 2026). Pods are left open
here: they are Kubernetes' own kind.
"""

from typing import Any

Schema = dict[str, Any]
NAME = {"type": "string", "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "maxLength": 50}
WORDS: Schema = {"type": "object", "additionalProperties": {"type": "string"}}
COUNT: Schema = {"type": "integer", "minimum": 0}
YES_OR_NO: Schema = {"type": "boolean"}
POD: Schema = {"type": "object", "required": ["spec"]}


def closed(required: str, **properties: Schema) -> Schema:
    """Return an object with these fields and no others; ``required`` has names between spaces."""
    return {
        "type": "object",
        "additionalProperties": False,
        "required": required.split(),
        "properties": properties,
    }


HEAD = closed(
    "rayStartParams template",
    serviceType={"enum": ["ClusterIP", "NodePort", "LoadBalancer"]},
    enableIngress=YES_OR_NO,
    rayStartParams=WORDS,
    template=POD,
)
WORKERS = closed(
    "groupName rayStartParams template",
    groupName=NAME,
    replicas=COUNT,
    minReplicas=COUNT,
    maxReplicas=COUNT,
    numOfHosts={"type": "integer", "minimum": 1},
    idleTimeoutSeconds=COUNT,
    rayStartParams=WORDS,
    template=POD,
)
CLUSTER = closed(
    "rayVersion headGroupSpec workerGroupSpecs",
    rayVersion={"type": "string", "pattern": r"^\d+\.\d+\.\d+$"},
    authOptions=closed("mode", mode={"enum": ["disabled", "token"]}),
    enableInTreeAutoscaling=YES_OR_NO,
    autoscalerOptions=closed(
        "",
        idleTimeoutSeconds=COUNT,
        upscalingMode={"enum": ["Default", "Aggressive", "Conservative"]},
        version={"enum": ["v1", "v2"]},
    ),
    headGroupSpec=HEAD,
    workerGroupSpecs={"type": "array", "minItems": 1, "items": WORKERS},
    suspend=YES_OR_NO,
)
JOB = closed(
    "entrypoint rayClusterSpec",
    entrypoint={"type": "string", "minLength": 1},
    runtimeEnvYAML={"type": "string"},
    backoffLimit=COUNT,
    activeDeadlineSeconds={"type": "integer", "minimum": 1},
    shutdownAfterJobFinishes=YES_OR_NO,
    ttlSecondsAfterFinished=COUNT,
    submissionMode={"enum": ["K8sJobMode", "HTTPMode", "InteractiveMode"]},
    rayClusterSpec=CLUSTER,
    suspend=YES_OR_NO,
)


def manifest(kind: str, spec: Schema) -> Schema:
    return closed(
        "apiVersion kind metadata spec",
        apiVersion={"const": "ray.io/v1"},
        kind={"const": kind},
        metadata=closed("name", name=NAME, labels=WORDS, annotations=WORDS),
        spec=spec,
    )


SCHEMAS = {"RayCluster": manifest("RayCluster", CLUSTER), "RayJob": manifest("RayJob", JOB)}
