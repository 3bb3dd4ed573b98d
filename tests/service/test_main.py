"""`python -m service` as an operator meets it: its exit codes and its log."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from service.__main__ import _where_to_look
from service.settings import Settings
from tests.support.audio_files import encode, sweep
from tests.support.hub_stand_in import HubStandIn
from tests.support.service_process import START_S, Service, Start, environment, publish

pytestmark = pytest.mark.thorough


@pytest.fixture(scope="module")
def running(model_folder: Path) -> Iterator[Service]:
    """One service for the tests that only ask it something."""
    service = Service(MODEL_ID=str(model_folder))
    service.wait_for("/readyz")
    yield service
    assert service.stop() == 0


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({}, "MODEL_ID"),
        ({"MODEL_ID": ""}, "MODEL_ID"),
        ({"MODEL_ID": "you/x", "PORT": "http"}, "PORT"),
        ({"MODEL_ID": "you/x", "MAX_UPLOAD_MB": "-1"}, "MAX_UPLOAD_MB"),
        ({"MODEL_ID": "you/x", "LOG_LEVEL": "LOUD"}, "LOG_LEVEL"),
        ({"MODEL_ID": "you/x", "METRICS_PORT": "8000", "PORT": "8000"}, "METRICS_PORT"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_a_wrong_setting_is_named_and_exits_with_2(settings: dict[str, str], name: str) -> None:
    command = [sys.executable, "-m", "service"]
    done = subprocess.run(command, env=environment(**settings), capture_output=True, text=True, timeout=START_S)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"{name}: ")
    assert f"Set the environment variable {name}" in line
    assert done.stdout == ""


def test_keys_that_cannot_be_used_are_one_line_and_exit_with_2() -> None:
    command = [sys.executable, "-m", "service"]
    settings = environment(MODEL_ID="you/x", API_KEYS="private")
    done = subprocess.run(command, env=settings, capture_output=True, text=True, timeout=START_S)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("A key in API_KEYS is too weak")
    assert "private" not in line


@pytest.mark.parametrize("trouble", ["missing", "private", "gated", "bad token"])
def test_a_repo_that_cannot_be_read_is_one_error_line_and_exits_with_1(
    hub: HubStandIn, model_folder: Path, start: Start, trouble: str
) -> None:
    repo_id = f"owner/process-{trouble.replace(' ', '-')}"
    if trouble != "missing":
        publish(hub, repo_id, model_folder, private=trouble == "private", gated="auto" if trouble == "gated" else False)
    token = {"gated": "hf_read", "bad token": "hf_no_such_token"}.get(trouble)
    service = start(MODEL_ID=repo_id, **({"HF_TOKEN": token} if token else {}))
    assert service.wait() == 1
    errors = [entry for entry in service.log if entry["level"] in {"ERROR", "CRITICAL"}]
    assert len(errors) == 1
    expected = {
        "missing": "does not exist on the Hub, or is private",
        "private": "does not exist on the Hub, or is private",
        "gated": "is gated",
        "bad token": "does not accept the token",
    }
    assert expected[trouble] in errors[0]["message"]
    assert "exc_info" not in errors[0]
    everything = "".join(service.lines)
    assert "Traceback" not in everything
    assert token is None or token not in everything


def test_a_model_that_cannot_be_served_is_one_error_line_and_exits_with_1(start: Start, tmp_path: Path) -> None:
    service = start(MODEL_ID=str(tmp_path))
    assert service.wait() == 1
    (error,) = [entry for entry in service.log if entry["level"] == "ERROR"]
    assert "holds no config.json" in error["message"]
    assert "Traceback" not in "".join(service.lines)


def test_the_log_is_json_with_request_ids_and_without_what_clients_send(running: Service) -> None:
    answers = [
        running.classify(encode(sweep(1.0), "mp3"), "private-name.mp3"),
        running.classify(encode(sweep(1.0), "m4a")[:5_000], "private-name.m4a"),
        running.classify(b"private words", "private-name.txt"),
        httpx2.get(f"{running.url}/private-path?token=hf_private", headers={"Authorization": "Bearer hf_private"}),
    ]
    assert [answer.status_code for answer in answers] == [200, 400, 415, 404]
    wanted = {answer.headers["x-request-id"] for answer in answers}
    deadline = time.monotonic() + 60
    while not wanted <= {entry["request_id"] for entry in running.log}:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    for entry in running.log:
        assert {"level", "logger", "message", "timestamp", "request_id"} <= entry.keys()
        assert entry["level"] in {"INFO", "WARNING"}
    assert "private" not in "".join(running.lines)


def test_the_log_says_which_model_is_ready(running: Service) -> None:
    (ready,) = [entry for entry in running.log if entry["message"] == "model ready"]
    assert ready["model_id"] == "tiny-genre"
    assert ready["load_s"] >= 0
    assert ready["defaulted"] == ["window_s", "temperature", "uncertain_below"]


def test_a_text_log_says_where_to_look(model_folder: Path, start: Start) -> None:
    service = start(MODEL_ID=str(model_folder), PAGE="true", LOG_FORMAT="text")
    service.wait_for("/readyz")
    assert service.stop() == 0
    (line,) = [line for line in service.lines if line.startswith("Ready. ")]
    assert f"http://localhost:{service.port}/ui" in line
    assert f"curl -F file=@song.mp3 http://localhost:{service.port}/classify" in line
    assert "Ctrl-C" in line


def test_an_address_of_ip_6_stands_in_brackets() -> None:
    assert "http://[::1]:8000/classify" in _where_to_look(Settings(model_id="you/genre", host="::1"))


def test_without_a_page_gradio_is_not_imported(running: Service) -> None:
    mapped = Path(f"/proc/{running.process.pid}/maps").read_text()
    assert "/openvino/" in mapped
    # Gradio itself is Python alone, which leaves no map; it brings pandas.
    assert "/pandas/" not in mapped
