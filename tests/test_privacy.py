"""Neither program speaks to anybody but the Hub: no library reports that it is used."""

import subprocess
import sys
from pathlib import Path

import httpx2
import pytest

from tests.support.audio_files import encode, sweep
from tests.support.processes import ROOT
from tests.support.service_process import Start, environment

# Read by every Python process that finds it on its path.
_NOTE = """
import sys

def note(event, arguments):
    if event == "socket.getaddrinfo":
        host = arguments[0]
    elif event in ("socket.connect", "socket.sendto") and isinstance(arguments[1], tuple):
        host = arguments[1][0]
    else:
        return
    if host not in (None, "", "127.0.0.1", "localhost", "::1", "0.0.0.0"):
        with open({calls!r}, "a") as file:
            file.write(str(host) + "\\n")

sys.addaudithook(note)
"""


@pytest.fixture
def calls(tmp_path: Path) -> Path:
    """Whom Python processes with `tmp_path` on their path have called."""
    (tmp_path / "sitecustomize.py").write_text(_NOTE.format(calls=str(tmp_path / "calls")))
    (tmp_path / "calls").touch()
    (tmp_path / "home").mkdir()
    return tmp_path / "calls"


def test_helper_records_a_dns_lookup(calls: Path, tmp_path: Path) -> None:
    """Or the tests below would prove nothing."""
    code = "import socket; socket.getaddrinfo('a.invalid', 443)"
    subprocess.run([sys.executable, "-c", code], env=environment(PYTHONPATH=str(tmp_path)), check=False)
    assert calls.read_text() == "a.invalid\n"


@pytest.mark.slow
def test_the_service_calls_nobody(calls: Path, tmp_path: Path, model_folder: Path, start: Start) -> None:
    """OpenVINO reported each import to Google Analytics."""
    home = {"HOME": str(tmp_path / "home"), "HF_HOME": str(tmp_path / "cache")}
    service = start(MODEL_ID=str(model_folder), PAGE="true", PYTHONPATH=str(tmp_path), **home)
    service.wait_for("/readyz")
    service.wait_for("/ui/")
    assert service.classify(encode(sweep(2.0), "mp3")).status_code == 200
    assert httpx2.get(f"{service.url}/model").json()["backend"].startswith("openvino")
    assert service.stop() == 0
    assert calls.read_text() == ""
    assert not (tmp_path / "home" / "intel").exists()


@pytest.mark.slow
def test_training_calls_nobody(calls: Path, tmp_path: Path) -> None:
    settings = environment(PYTHONPATH=str(tmp_path), HOME=str(tmp_path / "home"))
    code = "import training.finetuning.experiment, training.publishing.quantise, nncf, time; time.sleep(1)"
    subprocess.run([sys.executable, "-c", code], env=settings, cwd=ROOT, check=True)
    assert calls.read_text() == ""
    assert not (tmp_path / "home" / "intel").exists()
