"""The service keeps what its OpenAPI document promises, whatever schemathesis makes of it."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from service.app import create_app
from service.settings import Settings
from tests.support.processes import ROOT
from tests.support.serving import serving

pytestmark = pytest.mark.thorough

KEY = "key-of-the-tests-0123456789"

# JSON Schema cannot say that the shape of a tensor fits its data. A request with several files takes several times as
# long as others.
OPERATIONS = """
[[operations]]
include-path = "/v2/models/{model_name}/infer"
checks.positive_data_acceptance.enabled = false

[[operations]]
include-path = "/classify/batch"
generation.max-examples = 3
"""


@pytest.fixture(scope="module", params=[KEY, pytest.param("", marks=pytest.mark.slow)], ids=["with keys", "open"])
def url(request: pytest.FixtureRequest, model_folder: Path) -> Iterator[str]:
    """A running service."""
    settings = Settings(model_id=str(model_folder), page=False, api_keys=request.param)
    with serving(create_app(settings, on_startup_failure=lambda: None)) as url:
        yield url


@pytest.mark.parametrize("examples", [10, pytest.param(100, marks=pytest.mark.slow)])
def test_every_operation_keeps_its_promises(url: str, tmp_path: Path, examples: int) -> None:
    """There is nothing stateful in it: no answer names anything that another request could ask for."""
    config = tmp_path / "schemathesis.toml"
    config.write_text(f'[auth.openapi.HTTPBearer]\nbearer = "{KEY}"\n{OPERATIONS}')
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(config), "run", f"{url}/openapi.json"]
    done = subprocess.run(
        [*command, "--max-examples", str(examples), "--seed", "1", "--no-color", "--suppress-health-check", "all"],
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "SCHEMATHESIS_HOOKS": "tests.support.schemathesis_hooks",
        },
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=1_000,
    )
    assert done.returncode == 0, re.sub("[A-Za-z0-9+/]{200,}", "<base64>", done.stdout)[-10_000:] + done.stderr
    operations = sum(map(len, httpx2.get(f"{url}/openapi.json").json()["paths"].values()))
    assert f"Tested: {operations}" in done.stdout
