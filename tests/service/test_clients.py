"""The snippets of docs/clients.md, each run as it stands there."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import GENRES
from tests.service.application import MP3, application
from tests.support.serving import serving

pytestmark = pytest.mark.thorough

_DOCUMENT = Path(__file__).parents[2] / "docs" / "clients.md"
_SNIPPETS = re.findall(r"^## (.+?)$|^```(sh|python|javascript)\n(.*?)^```", _DOCUMENT.read_text(), re.M | re.S)
_NPM_PACKAGE = "@huggingface/inference"
_RUN_S = 120


def _cases() -> Iterator[object]:
    heading = ""
    for title, language, code in _SNIPPETS:
        heading = title or heading
        if code:
            marks = [pytest.mark.slow] if _NPM_PACKAGE in code else []
            yield pytest.param(language, code, id=f"{heading} {language}", marks=marks)


@pytest.fixture(scope="module")
def host(model_folder: Path) -> Iterator[str]:
    with serving(application(model_folder, decoders=1)) as url:
        yield url.removeprefix("http://")


@pytest.mark.parametrize(("language", "code"), list(_cases()))
def test_a_snippet_prints_a_genre(language: str, code: str, host: str, tmp_path: Path) -> None:
    (tmp_path / "song.mp3").write_bytes(MP3)
    code = code.replace("localhost:8000", host)
    commands = {
        "sh": ["bash", "-ec", code],
        "python": [sys.executable, "-c", code],
        "javascript": ["node", "--input-type=module", "--eval", code],
    }
    command = commands[language]
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is missing")
    if _NPM_PACKAGE in code:
        subprocess.run(["npm", "install", "--no-audit", _NPM_PACKAGE], cwd=tmp_path, check=True, capture_output=True)
    # The command of the package lies beside the interpreter.
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        command, cwd=tmp_path, env=os.environ | {"PATH": path}, capture_output=True, text=True, timeout=_RUN_S
    )
    assert done.returncode == 0, done.stderr
    assert any(genre in done.stdout for genre in GENRES)
