"""The README lists what the code has."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from service.errors import ServiceError
from service.metrics import Metrics
from service.settings import Settings

_README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def _leaves(error: type[ServiceError]) -> list[type[ServiceError]]:
    return [leaf for child in error.__subclasses__() for leaf in _leaves(child)] or [error]


@pytest.mark.parametrize("name", list(Settings.model_fields))
def test_every_setting_with_its_default(name: str) -> None:
    default = Settings.model_fields[name].default
    row = next(line for line in _README.splitlines() if line.startswith(f"| `{name.upper()}` |"))
    shown = "required" if name == "model_id" else "none" if default in (None, "", SecretStr("")) else f"{default}"
    assert shown in row.split("|")[2]


@pytest.mark.parametrize("error", _leaves(ServiceError), ids=lambda error: error.__name__)
def test_every_error_type_beside_its_status(error: type[ServiceError]) -> None:
    row = next(line for line in _README.splitlines() if f"`urn:music-genre:{error.type}`" in line)
    assert row.startswith(f"| {error.status} |")


@pytest.mark.parametrize("name", [metric.name for metric in Metrics().registry.collect()])
def test_every_metric_of_ours(name: str) -> None:
    assert not name.startswith("genre_") or f"`{name}" in _README
