"""The Helm chart of `deploy/`, rendered without a cluster."""

import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import yaml

CHART = Path(__file__).parents[2] / "deploy" / "helm" / "music-genre"

# `make helm` puts it beside Python.
_HELM = shutil.which("helm", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
MISSING = None if _HELM else "helm is missing: make helm"

Manifest = dict[str, Any]


@cache
def helm(*arguments: str) -> str:
    """What the command prints; each runs once. Raises CalledProcessError, whose `stderr` says why, when it fails."""
    assert _HELM is not None
    return subprocess.run([_HELM, *arguments], capture_output=True, text=True, check=True).stdout


def render(*arguments: str, values: str = "minimal", chart: Path = CHART) -> list[Manifest]:
    """The manifests of a release `genre` in the namespace `music`.

    values: a file of the chart's folder ci. arguments: further ones of `helm template`.
    """
    file = CHART / "ci" / f"{values}-values.yaml"
    text = helm("template", "genre", str(chart), "--namespace", "music", "--values", str(file), *arguments)
    return [manifest for manifest in yaml.safe_load_all(text) if manifest]


def one(manifests: list[Manifest], kind: str, component: str | None = None) -> Manifest:
    """The only manifest of a kind, and of a component where there are several."""
    (found,) = [
        manifest
        for manifest in manifests
        if manifest["kind"] == kind
        and component in (None, manifest["metadata"]["labels"]["app.kubernetes.io/component"])
    ]
    return found


def pod(manifest: Manifest) -> Manifest:
    """The pod of a Deployment or a Job."""
    spec: Manifest = manifest["spec"]["template"]["spec"]
    return spec


def environment(manifest: Manifest) -> dict[str, str | None]:
    """The variables of its container; None where a secret has the value."""
    return {variable["name"]: variable.get("value") for variable in pod(manifest)["containers"][0].get("env", [])}
