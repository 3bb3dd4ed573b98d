"""The documents list what the code has, and their links lead somewhere."""

import re
import subprocess
from dataclasses import fields
from pathlib import Path

import pytest
from pydantic import SecretStr

from service.errors import ServiceError
from service.library.options import Options
from service.library.schema import SCHEMA
from service.metrics import Metrics
from service.settings import Settings

_ROOT = Path(__file__).parents[1]
_DOCUMENTS = sorted([*_ROOT.glob("*.md"), *(_ROOT / "docs").rglob("*.md")])
_LINK = re.compile(r"\[[^\]]*\]\((?!https?://)([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)


def _text(name: str) -> str:
    return (_ROOT / name).read_text(encoding="utf-8")


def _leaves(error: type[ServiceError]) -> list[type[ServiceError]]:
    return [leaf for child in error.__subclasses__() for leaf in _leaves(child)] or [error]


@pytest.mark.parametrize("name", list(Settings.model_fields))
def test_every_setting_is_documented_with_its_default(name: str) -> None:
    default = Settings.model_fields[name].default
    lines = _text("docs/configuration.md").splitlines()
    row = next(line for line in lines if line.startswith(f"| `{name.upper()}` |"))
    shown = "required" if name == "model_id" else "none" if default in (None, "", SecretStr("")) else f"{default}"
    assert shown.lower() in row.split("|")[2].lower()


@pytest.mark.parametrize("error", _leaves(ServiceError), ids=lambda error: error.__name__)
def test_every_error_type_is_documented_beside_its_status(error: type[ServiceError]) -> None:
    lines = _text("docs/api.md").splitlines()
    row = next(line for line in lines if f"`urn:music-genre:{error.type}`" in line)
    assert row.startswith(f"| {error.status} |")


@pytest.mark.parametrize("name", [metric.name for metric in Metrics().registry.collect()])
def test_every_metric_of_ours_is_documented(name: str) -> None:
    assert not name.startswith("genre_") or f"| `{name}" in _text("docs/deployment.md")


@pytest.mark.parametrize("column", SCHEMA.names)
def test_every_column_of_a_library_is_documented(column: str) -> None:
    assert f"`{column}`" in _text("docs/library.md").partition("## What it writes")[2]


@pytest.mark.parametrize("option", [field.name for field in fields(Options) if field.name != "source"])
def test_every_option_of_a_library_is_documented(option: str) -> None:
    assert f"--{option}" in _text("docs/library.md")


@pytest.mark.parametrize("document", _DOCUMENTS, ids=lambda path: str(path.relative_to(_ROOT)))
def test_every_link_leads_to_a_file_and_a_heading(document: Path) -> None:
    for target in _LINK.findall(document.read_text(encoding="utf-8")):
        path, _, anchor = target.partition("#")
        file = (document.parent / path).resolve() if path else document
        assert file.exists(), target
        assert not anchor or anchor in _anchors(file), target


@pytest.mark.parametrize("document", _DOCUMENTS, ids=lambda path: str(path.relative_to(_ROOT)))
def test_every_make_command_exists(document: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", _text("Makefile"), re.MULTILINE))
    assert set(re.findall(r"`make ([a-z-]+)`", document.read_text(encoding="utf-8"))) <= targets


def test_make_help_lists_every_command() -> None:
    listed = subprocess.run(["make", "help"], cwd=_ROOT, capture_output=True, text=True, check=True).stdout
    (phony,) = re.findall(r"^\.PHONY: (.*)$", _text("Makefile"), re.MULTILINE)
    assert re.findall(r"^make (\S+)", listed, re.MULTILINE) == phony.split()


def test_places_to_change_things_exist() -> None:
    table = _text("CONTRIBUTING.md").partition("## Where do I change X")[2].partition("##")[0]
    places = re.findall(r"`((?:service|training|docs)/[\w/.]+)`", table)
    assert len(places) >= 8
    assert [place for place in places if not (_ROOT / place).exists()] == []


def test_capacity_is_worked_out_from_what_was_measured() -> None:
    """Two cores did so many clips/s, or took so many seconds a clip: clips/s and core, core-hours a million, price."""
    rows = [line.split("|")[1:-1] for line in _text("docs/capacity.md").splitlines() if " USD |" in line]
    assert len(rows) >= 4
    for _, measured, rate, core_hours, price in rows:
        figure = float(re.findall(r"[\d.]+", measured)[0])
        assert f"{figure:.2f}" in _text("docs/benchmarks.md") or f"{figure:.3f}" in _text("docs/benchmarks.md")
        clips_per_s = (figure if "clips/s" in measured else 1 / figure) / 2
        hours = 1e6 / 3_600 / clips_per_s
        assert float(rate) == pytest.approx(clips_per_s, abs=0.006)
        assert float(core_hours.replace(",", "")) == pytest.approx(hours, abs=1)
        assert float(price.split()[0]) == pytest.approx(hours * 0.04, abs=0.6)


def test_readme_is_short() -> None:
    assert len(_text("README.md").splitlines()) <= 150


def _anchors(file: Path) -> set[str]:
    headings = _HEADING.findall(file.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
