"""The walls of the house, checked by reading the imports."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

_ROOT = Path(__file__).parent.parent
_SERVICE = sorted((_ROOT / "service").rglob("*.py"))
_TRAINING = sorted((_ROOT / "training").rglob("*.py"))


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _ours(path: Path, package: str) -> set[str]:
    return {name for name in _imports(path) if name.split(".")[0] == package}


@pytest.mark.parametrize("path", _SERVICE, ids=str)
def test_service_imports_no_training(path: Path) -> None:
    assert _ours(path, "training") == set()


@pytest.mark.parametrize("path", _TRAINING, ids=str)
def test_training_imports_only_the_audio_front_end_of_service(path: Path) -> None:
    assert {name for name in _ours(path, "service") if not name.startswith("service.audio")} == set()


@pytest.mark.parametrize("path", [*_SERVICE, *_TRAINING], ids=str)
def test_the_product_knows_no_tests(path: Path) -> None:
    assert _ours(path, "tests") == set()


def test_settings_are_read_in_the_wiring_only() -> None:
    readers = {path.name for path in _SERVICE if "service.settings" in set(_imports(path))}
    assert readers == {"__main__.py", "app.py", "loading.py"}


def test_the_front_end_needs_neither_torch_nor_a_web_framework() -> None:
    """Training and, later, decode workers import it alone."""
    heavy = {"torch", "transformers", "fastapi", "gradio", "pydantic"}
    for name in ("audio/files.py", "audio/windows.py", "audio/formats.py", "errors.py"):
        assert {module.split(".")[0] for module in _imports(_ROOT / "service" / name)} & heavy == set()
