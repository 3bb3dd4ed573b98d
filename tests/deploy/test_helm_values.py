"""The values of the chart and the service's settings are one thing; none of this needs helm."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from service.settings import Settings
from tests.support.helm import CHART

ROOT = Path(__file__).parents[2]
SETTINGS = {name.upper() for name in Settings.model_fields}
# What the chart sets itself: ports, and the files of secrets. Keys in plain text have no place in a manifest.
OWN = {"PORT", "METRICS_PORT", "API_KEYS", "API_KEYS_FILE", "ADMIN_KEYS_FILE"}
# What a JSON schema says of a setting and the chart repeats.
BOUNDS = ("type", "minimum", "maximum", "exclusiveMinimum", "minLength", "pattern", "enum")
# No settings of ours: huggingface_hub reads it.
OTHERS = {"HF_TOKEN"}


def _schema() -> dict[str, Any]:
    schema: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    return schema


def _defaults() -> dict[str, Any]:
    values: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    return values


def _templates() -> str:
    return "\n".join(path.read_text(encoding="utf-8") for path in sorted((CHART / "templates").iterdir()))


def test_settings_of_the_chart_are_those_of_the_service_with_their_bounds() -> None:
    properties = Settings.model_json_schema()["properties"]
    wanted = {
        name.upper(): {key: found[key] for key in BOUNDS if key in found}
        for name, found in properties.items()
        if name.upper() not in OWN
    }
    assert _schema()["properties"]["settings"]["properties"] == wanted


def test_every_variable_in_the_templates_is_a_setting() -> None:
    named = set(re.findall(r"^ *- name: ([A-Z][A-Z_]+)$", _templates(), re.MULTILINE))
    assert named >= {"METRICS_PORT", "API_KEYS_FILE", "ADMIN_KEYS_FILE"}
    assert named <= OWN | OTHERS
    assert set(re.findall(r'dig "(\w+)"', _templates())) <= SETTINGS


def test_defaults_that_the_templates_repeat_are_those_of_the_service() -> None:
    repeated = dict(re.findall(r'dig "(\w+)" (\d+)', _templates()))
    assert repeated.keys() == {"DRAIN_TIMEOUT_S", "STARTUP_DEADLINE_S", "MAX_UPLOAD_MB", "REQUEST_DEADLINE_S"}
    assert {name: float(value) for name, value in repeated.items()} == {
        name: Settings.model_fields[name.lower()].default for name in repeated
    }


def _options(schema: dict[str, Any], values: dict[str, Any], place: str = "") -> Iterator[tuple[str, set[str], bool]]:
    """Each object of the values: its place, the options that only one of schema and file has, and its openness."""
    if "$ref" in schema:
        schema = _schema()["definitions"][schema["$ref"].rpartition("/")[2]]
    if "properties" not in schema:
        return
    yield place, schema["properties"].keys() ^ values.keys(), schema["additionalProperties"]
    for name, child in schema["properties"].items():
        if isinstance(values.get(name), dict):
            yield from _options(child, values[name], f"{place}.{name}")


def test_values_file_shows_every_option_and_the_schema_refuses_others() -> None:
    shown = {place: (differing, is_open) for place, differing, is_open in _options(_schema(), _defaults())}
    assert len(shown) >= 15
    assert {place for place, (_, is_open) in shown.items() if is_open is not False} == set()
    settings = shown.pop(".settings")[0]
    resources = {place for place in shown if place.endswith("resources")}
    assert settings == _schema()["properties"]["settings"]["properties"].keys()
    assert {place: differing for place, (differing, _) in shown.items() if differing and place not in resources} == {
        "": {"global"}
    }


@pytest.mark.parametrize("values", sorted((CHART / "ci").iterdir()), ids=lambda path: path.stem)
def test_examples_pass_the_schema(values: Path) -> None:
    jsonschema.validate(_defaults() | yaml.safe_load(values.read_text(encoding="utf-8")), _schema())


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"settings": {"MODEL_ID": ""}},
        {"settings": {"MODEL_ID": "you/genre", "PORT": 9000}},
        {"settings": {"MODEL_ID": "you/genre", "DRAIN_TIMEOUT_S": "30"}},
        {"settings": {"MODEL_ID": "you/genre", "LOG_LEVEL": "LOUD"}},
        {"settings": {"MODEL_ID": "you/genre"}, "replica": 3},
        {"settings": {"MODEL_ID": "you/genre"}, "metrics": {"port": 8000}},
        {"settings": {"MODEL_ID": "you/genre"}, "autoscaling": {"by": "memory"}},
        {"settings": {"MODEL_ID": "you/genre"}, "ingress": {"hosts": ["https://genre.example.com"]}},
        {"settings": {"MODEL_ID": "you/genre"}, "ingress": {"annotations": {"proxy-body-size": 50}}},
        {"settings": {"MODEL_ID": "you/genre"}, "cache": {"accessMode": "ReadOnlyMany"}},
        {"settings": {"MODEL_ID": "you/genre"}, "resources": {"limits": {"memory": "3 GB"}}},
    ],
    ids=str,
)
def test_wrong_values_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(_defaults() | values, _schema())


def test_release_that_only_trains_needs_no_model() -> None:
    jsonschema.validate(_defaults() | {"serve": False}, _schema())


def test_chart_and_project_have_one_version() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    assert f'\nversion = "{chart["appVersion"]}"\n' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "target"),
    [("alerts.yml", "prometheus/alerts.yml"), ("dashboard.json", "grafana/dashboards/music-genre.json")],
)
def test_alerts_and_dashboard_are_no_copies(name: str, target: str) -> None:
    assert (CHART / "files" / name).is_symlink()
    assert (CHART / "files" / name).resolve() == ROOT / "deploy" / target
