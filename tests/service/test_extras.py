"""The service with the extra `api` alone: without torch and without the page."""

from pathlib import Path

import pytest

from tests.support.audio_files import encode, sweep
from tests.support.service_process import Start

pytestmark = pytest.mark.thorough

_OTHER_EXTRAS = ("torch", "transformers", "gradio", "gradio_client", "matplotlib", "pandas")


@pytest.fixture
def api_alone(tmp_path: Path) -> str:
    """A PYTHONPATH that hides what the other extras install."""
    hidden = "".join(f"sys.modules[{name!r}] = None\n" for name in _OTHER_EXTRAS)
    (tmp_path / "sitecustomize.py").write_text(f"import sys\n{hidden}")
    return str(tmp_path)


def test_repo_with_graphs_is_served(start: Start, golden_folder: Path, api_alone: str) -> None:
    service = start(MODEL_ID=str(golden_folder), PYTHONPATH=api_alone)
    service.wait_for("/readyz")
    assert service.classify(encode(sweep(1.0), "mp3")).status_code == 200
    assert service.stop() == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "ships no OpenVINO graphs, and torch, which makes them, is not installed"),
        ({"BACKEND": "torch"}, "BACKEND=torch needs torch, which is not installed"),
    ],
    ids=["graphs", "backend"],
)
def test_model_that_needs_torch_is_one_error_line(
    settings: dict[str, str], message: str, start: Start, model_folder: Path, api_alone: str
) -> None:
    service = start(MODEL_ID=str(model_folder), PYTHONPATH=api_alone, **settings)
    assert service.wait() == 1
    (error,) = [entry for entry in service.log if entry["level"] == "ERROR"]
    assert message in error["message"]
    assert "music-genre-service[torch]" in error["message"]


def test_page_without_gradio_is_one_error_line(start: Start, golden_folder: Path, api_alone: str) -> None:
    service = start(MODEL_ID=str(golden_folder), PYTHONPATH=api_alone, PAGE="true")
    assert service.wait() == 2
    (line,) = service.lines
    assert line == (
        "PAGE=true needs Gradio, which is not installed. Install music-genre-service[page], or set PAGE=false.\n"
    )
