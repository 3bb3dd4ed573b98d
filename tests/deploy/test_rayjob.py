"""The RayJob of a library: the fields that KubeRay's `ray.io/v1` knows, and a command that the program takes."""

import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from service.library import options
from service.settings import Settings

ROOT = Path(__file__).parents[2]
FILE = ROOT / "deploy" / "kubernetes" / "library-rayjob.yaml"

# ray-operator/apis/ray/v1 of KubeRay: rayjob_types.go and raycluster_types.go, as far as a job of ours may use them.
JOB = {
    "activeDeadlineSeconds", "backoffLimit", "rayClusterSpec", "submitterPodTemplate", "metadata", "clusterSelector",
    "submitterConfig", "managedBy", "entrypoint", "runtimeEnvYAML", "jobId", "submissionMode", "entrypointResources",
    "entrypointNumCpus", "entrypointNumGpus", "ttlSecondsAfterFinished", "shutdownAfterJobFinishes", "suspend",
}  # fmt: skip
CLUSTER = {"headGroupSpec", "workerGroupSpecs", "rayVersion", "enableInTreeAutoscaling", "autoscalerOptions", "suspend"}
HEAD = {"serviceType", "headService", "enableIngress", "rayStartParams", "template"}
WORKERS = {
    "groupName", "replicas", "minReplicas", "maxReplicas", "numOfHosts", "rayStartParams", "template", "scaleStrategy",
}  # fmt: skip


@pytest.fixture(scope="module")
def job() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return loaded


def pods(job: dict[str, Any]) -> list[dict[str, Any]]:
    cluster = job["spec"]["rayClusterSpec"]
    return [group["template"]["spec"] for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"])]


def test_rayjob_has_the_fields_that_kuberay_knows_and_needs(job: dict[str, Any]) -> None:
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    cluster = job["spec"]["rayClusterSpec"]
    head, workers = cluster["headGroupSpec"], cluster["workerGroupSpecs"]
    assert job["spec"].keys() <= JOB
    assert cluster.keys() <= CLUSTER
    assert {"rayStartParams", "template"} <= head.keys() <= HEAD
    for group in workers:
        assert {"groupName", "minReplicas", "maxReplicas", "rayStartParams", "template"} <= group.keys() <= WORKERS
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
    for group in (head, *workers):
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())


def test_entrypoint_is_a_command_that_the_program_takes(job: dict[str, Any]) -> None:
    python, flag, program, *arguments = shlex.split(job["spec"]["entrypoint"])
    assert (python, flag, program) == ("python", "-m", "service.library")
    parsed = options.parse(arguments)
    mounts = [{mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]} for pod in pods(job)]
    assert all(parsed.source in places for places in mounts)
    assert str(parsed.out) in mounts[0]
    for pod in pods(job)[1:]:
        assert int(pod["containers"][0]["resources"]["limits"]["cpu"]) % (parsed.num_cpus or 1) == 0


def test_ray_version_is_the_locked_one(job: dict[str, Any]) -> None:
    assert f"ray=={job['spec']['rayClusterSpec']['rayVersion']}" in (ROOT / "constraints.txt").read_text().splitlines()


def test_pods_have_least_privileges(job: dict[str, Any]) -> None:
    for pod in pods(job):
        assert pod["enableServiceLinks"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        volumes = {volume["name"] for volume in pod["volumes"]}
        for container in pod["containers"]:
            assert container["securityContext"]["allowPrivilegeEscalation"] is False
            assert {mount["name"] for mount in container["volumeMounts"]} <= volumes
            assert container["resources"]["limits"]["memory"]
            names = {variable["name"] for variable in container["env"]}
            assert names - {"HF_TOKEN", "RAY_USAGE_STATS_ENABLED"} <= {name.upper() for name in Settings.model_fields}
            assert "value" not in next(variable for variable in container["env"] if variable["name"] == "HF_TOKEN")
