"""The chart's manifests, as `helm template` renders them."""

import re
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from service.api.routes import open_router
from service.settings import Settings
from tests.support.helm import CHART, MISSING, Manifest, environment, helm, one, pod, render
from training import cli

pytestmark = [pytest.mark.thorough, pytest.mark.skipif(MISSING is not None, reason=str(MISSING))]

ROOT = Path(__file__).parents[2]
# With autoscaling by the CPU as well, and without a claim of ours.
VARIANTS: dict[str, tuple[str, ...]] = {
    "minimal": (),
    "full": (),
    "cpu": ("--set", "autoscaling.by=cpu,cache.existingClaim=models"),
    "openshift": ("--api-versions", "security.openshift.io/v1"),
    "training": ("--set", "serve=false,training.enabled=true"),
}
# Of custom resources: the fields that the operators' types know (keda/v1alpha1/scaledobject_types.go; monitoring/v1).
FIELDS = {
    "ScaledObject": {
        "scaleTargetRef", "pollingInterval", "initialCooldownPeriod", "cooldownPeriod", "idleReplicaCount",
        "minReplicaCount", "maxReplicaCount", "advanced", "triggers", "fallback",
    },
    "ServiceMonitor": {"jobLabel", "targetLabels", "podTargetLabels", "endpoints", "selector", "namespaceSelector"},
    "PrometheusRule": {"groups"},
}  # fmt: skip


def _is_claim(volume: dict[str, Any]) -> bool:
    return "persistentVolumeClaim" in volume


def rendered(variant: str) -> list[Manifest]:
    return render(*VARIANTS[variant], values="full" if variant == "full" else "minimal")


@pytest.mark.parametrize("values", ["minimal", "full"])
def test_lint_finds_nothing(values: str) -> None:
    helm("lint", "--strict", str(CHART), "--values", str(CHART / "ci" / f"{values}-values.yaml"))


@pytest.mark.parametrize("variant", VARIANTS)
def test_manifests_are_valid_from_the_oldest_kubernetes_to_the_newest(variant: str) -> None:
    oldest = re.search(r"\d+\.\d+", yaml.safe_load((CHART / "Chart.yaml").read_text())["kubeVersion"])
    assert oldest
    for manifest in rendered(variant):
        if fields := FIELDS.get(manifest["kind"]):
            assert manifest["spec"].keys() <= fields
            continue
        for version in (oldest[0], kubernetes_validate.latest_version()):
            kubernetes_validate.validate(manifest, version, strict=True)


@pytest.mark.parametrize("variant", VARIANTS)
def test_names_are_unique_and_mounted_volumes_exist(variant: str) -> None:
    manifests = rendered(variant)
    names = [(manifest["kind"], manifest["metadata"]["name"]) for manifest in manifests]
    assert len(names) == len(set(names))
    for manifest in manifests:
        if manifest["kind"] not in {"Deployment", "Job"}:
            continue
        volumes = {volume["name"]: volume for volume in pod(manifest)["volumes"]}
        (container,) = pod(manifest)["containers"]
        assert {mount["name"] for mount in container["volumeMounts"]} == volumes.keys()
        claims = {volume["persistentVolumeClaim"]["claimName"] for volume in volumes.values() if _is_claim(volume)}
        made = {name for kind, name in names if kind == "PersistentVolumeClaim"}
        assert claims - {"models"} <= made


@pytest.mark.parametrize("variant", ["minimal", "full"])
def test_selectors_and_ports_match_the_pods(variant: str) -> None:
    manifests = rendered(variant)
    deployment = one(manifests, "Deployment")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    ports = {port["name"]: port["containerPort"] for port in pod(deployment)["containers"][0]["ports"]}
    selectors = [deployment["spec"]["selector"]["matchLabels"]]
    selectors += [one(manifests, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"]]
    selectors += [one(manifests, "NetworkPolicy", "service")["spec"]["podSelector"]["matchLabels"]]
    for component in ("service", "metrics"):
        service = one(manifests, "Service", component)
        selectors.append(service["spec"]["selector"])
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports.keys()
    assert all(selector.items() <= labels.items() for selector in selectors)
    probes = [pod(deployment)["containers"][0][f"{kind}Probe"] for kind in ("startup", "liveness", "readiness")]
    assert {probe["httpGet"]["port"] for probe in probes} == {"metrics"}
    routes = {getattr(route, "path", "") for route in open_router.routes}
    assert {probe["httpGet"]["path"] for probe in probes} <= routes
    assert f"PORT={ports['http']}" in (ROOT / "Dockerfile.serve").read_text()
    assert environment(deployment)["METRICS_PORT"] == str(ports["metrics"])


@pytest.mark.parametrize("values", ["minimal", "full"])
def test_service_reads_the_settings_that_were_given(values: str, monkeypatch: pytest.MonkeyPatch) -> None:
    variables = environment(one(render(values=values), "Deployment"))
    given = yaml.safe_load((CHART / "ci" / f"{values}-values.yaml").read_text())["settings"]
    for name, value in variables.items():
        monkeypatch.setenv(name, value or "")
    settings = Settings()
    assert {name: getattr(settings, name.lower()) for name in given} == given
    assert settings.metrics_port


@pytest.mark.parametrize("drain_s", [0, 30, 600])
def test_pod_has_time_to_leave_the_service_and_to_drain(drain_s: int) -> None:
    manifests = render("--set", f"settings.DRAIN_TIMEOUT_S={drain_s},preStopSeconds=7")
    spec = pod(one(manifests, "Deployment"))
    assert spec["containers"][0]["lifecycle"]["preStop"]["exec"]["command"] == ["sleep", "7"]
    assert spec["terminationGracePeriodSeconds"] > drain_s + 7


def test_roll_out_is_given_longer_than_a_pod_waits_for_the_hub() -> None:
    deployment = one(render("--set", "settings.STARTUP_DEADLINE_S=5000"), "Deployment")
    assert deployment["spec"]["progressDeadlineSeconds"] > 5000
    assert one(render(), "Deployment")["spec"]["progressDeadlineSeconds"] > 600


@pytest.mark.parametrize("kind", ["Deployment", "Job"])
def test_pods_have_least_privileges_and_a_memory_limit(kind: str) -> None:
    spec = pod(one(render(values="full"), kind))
    (container,) = spec["containers"]
    assert spec["enableServiceLinks"] is False
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 10001,
        "runAsGroup": 0,
        "fsGroup": 10001,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {"/tmp", "/cache"} <= {mount["mountPath"] for mount in container["volumeMounts"]}
    assert container["resources"]["limits"]["memory"]
    assert environment(one(render(values="full"), kind))["HF_TOKEN"] is None


@pytest.mark.parametrize("arguments", [("--api-versions", "security.openshift.io/v1"), ("--set", "openshift=true")])
def test_openshift_sets_no_user_id_and_allows_its_dns_port(arguments: tuple[str, ...]) -> None:
    manifests = render(*arguments, values="full")
    for kind in ("Deployment", "Job"):
        context = pod(one(manifests, kind))["securityContext"]
        assert context == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    ports = one(manifests, "NetworkPolicy", "service")["spec"]["egress"][0]["ports"]
    assert {port["port"] for port in ports} == {53, 5353}


def test_keys_are_files_of_secrets() -> None:
    deployment = one(render(values="full"), "Deployment")
    variables = environment(deployment)
    mounts = {mount["mountPath"]: mount for mount in pod(deployment)["containers"][0]["volumeMounts"]}
    for name in ("API_KEYS_FILE", "ADMIN_KEYS_FILE"):
        folder = str(Path(variables[name] or "").parent)
        assert mounts[folder]["readOnly"] is True
        # A file mounted by subPath would never change.
        assert "subPath" not in mounts[folder]


def test_notes_ask_with_a_key_where_there_are_keys() -> None:
    notes = [
        helm("install", "genre", str(CHART), "--dry-run=client", "--set", f"settings.MODEL_ID=you/genre{more}")
        for more in ("", ",secrets.apiKeys.name=genre-keys")
    ]
    assert ["Authorization: Bearer" in note.partition("NOTES:")[2] for note in notes] == [False, True]


def test_cache_of_one_pod_is_never_shared_by_two() -> None:
    alone = "cache.persistent=true,cache.accessMode=ReadWriteOnce"
    deployment = one(render("--set", f"{alone},replicas=1"), "Deployment")
    assert deployment["spec"]["strategy"] == {"type": "Recreate"}
    for more in ("replicas=2", "replicas=1,autoscaling.by=cpu"):
        with pytest.raises(subprocess.CalledProcessError) as error:
            render("--set", f"{alone},{more}")
        assert "ReadWriteOnce serves one replica only" in error.value.stderr


def test_training_s_output_on_one_node_is_never_served_by_two_pods() -> None:
    alone = "settings.MODEL_ID=/runs/gtzan/model,runs.accessMode=ReadWriteOnce"
    deployment = one(render("--set", f"{alone},replicas=1"), "Deployment")
    assert deployment["spec"]["strategy"] == {"type": "Recreate"}
    with pytest.raises(subprocess.CalledProcessError) as error:
        render("--set", f"{alone},replicas=2")
    assert "ReadWriteOnce serves one replica only" in error.value.stderr
    # A model of the Hub leaves the claim to training.
    render("--set", "training.enabled=true,runs.accessMode=ReadWriteOnce,replicas=2")


def test_scaler_alone_says_how_many_replicas_there_are() -> None:
    assert one(render("--set", "replicas=3"), "Deployment")["spec"]["replicas"] == 3
    manifests = render("--set", "autoscaling.by=cpu")
    deployment, scaler = one(manifests, "Deployment"), one(manifests, "HorizontalPodAutoscaler")
    assert "replicas" not in deployment["spec"]
    assert scaler["spec"]["scaleTargetRef"]["name"] == deployment["metadata"]["name"]


def test_training_takes_its_options_and_keeps_what_it_writes() -> None:
    manifests = render(values="full")
    job = one(manifests, "Job")
    (container,) = pod(job)["containers"]
    _, _, training = cli.parse("python -m training", container["args"])
    mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    # The images' working folder is the root.
    assert f"/{training.output_dir}".startswith("/runs/")
    assert mounts["/runs"] == "runs"
    assert training.hub_model_id == "you/genre"
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert environment(one(manifests, "Deployment"))["MODEL_ID"] == f"/{training.output_dir}/model"
    without = one(render("--set", "training.resources.limits.nvidia\\.com/gpu=null", values="full"), "Job")
    assert pod(without)["containers"][0]["resources"]["limits"] == {"memory": "16Gi"}


def test_job_name_changes_only_with_the_training_values() -> None:
    def name(*arguments: str) -> Any:
        return one(render(*arguments, values="full"), "Job")["metadata"]["name"]

    assert name() == name() == name("--set", "replicas=5")
    assert len({name(), name("--set", "training.backoffLimit=1"), name("--set", "training.image.tag=v2")}) == 3


def test_packed_chart_includes_linked_files_and_renders_the_same(tmp_path: Path) -> None:
    helm("package", str(CHART), "--destination", str(tmp_path))
    (package,) = tmp_path.iterdir()
    assert render(values="full", chart=package) == render(values="full")


def test_missing_model_is_named() -> None:
    with pytest.raises(subprocess.CalledProcessError) as error:
        helm("template", "genre", str(CHART))
    assert "missing property 'MODEL_ID'" in error.value.stderr
