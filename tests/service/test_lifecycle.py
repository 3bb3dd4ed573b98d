"""`python -m service` from its start to its end: signals, the drain, limits, ports and decoders."""

import http.client
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest

from service.api.receiving import MAX_RECORDINGS
from tests.service.decoding.pools import state
from tests.support.audio_files import encode, sweep
from tests.support.hub_stand_in import HubStandIn
from tests.support.process_tree import tree
from tests.support.service_process import START_S, Service, Start, environment, free_port, publish

pytestmark = pytest.mark.thorough


def test_service_answers_before_its_large_libraries_are_imported() -> None:
    late = {"torch", "transformers", "gradio", "matplotlib", "huggingface_hub"}
    code = f"import sys, service.app; sys.exit(bool({late} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], env=environment(), timeout=START_S).returncode == 0


def test_service_is_alive_while_it_loads_and_ends_on_sigterm(hub: HubStandIn, model_folder: Path, start: Start) -> None:
    publish(hub, "owner/process-slow", model_folder)
    hub.stall("owner/process-slow", delay_s=60, times=None)
    service = start(MODEL_ID="owner/process-slow")
    service.wait_for("/livez")
    assert service.wait_for("/readyz", 503).json()["type"] == "urn:music-genre:model-loading"
    refused = service.classify(encode(sweep(1.0), "mp3"))
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
    started = time.monotonic()
    assert httpx2.get(f"{service.url}/livez").json() == {"status": "alive"}
    assert service.stop() == 0
    assert time.monotonic() - started < 50
    assert "Traceback" not in "".join(service.lines)


def test_a_signal_during_its_first_imports_ends_it(start: Start, model_folder: Path) -> None:
    """The first process of a container does not even get the signals that it has no handler for."""
    service = start(MODEL_ID=str(model_folder))
    status = Path(f"/proc/{service.process.pid}/status")
    deadline = time.monotonic() + START_S
    while not _has(status.read_text(), "SigCgt", signal.SIGTERM):
        assert time.monotonic() < deadline
        time.sleep(0.001)
    assert service.stop() == 0
    assert {entry["level"] for entry in service.log} <= {"INFO"}


def _wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _ignores_signals(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status").read_text()
    return _has(status, "SigIgn", signal.SIGINT) and _has(status, "SigIgn", signal.SIGTERM)


def _has(status: str, mask_name: str, number: signal.Signals) -> bool:
    """Whether a process handles (SigCgt) or ignores (SigIgn) a signal, by its /proc/PID/status."""
    mask = next(line.split()[1] for line in status.splitlines() if line.startswith(f"{mask_name}:"))
    return bool(int(mask, 16) >> (number - 1) & 1)


def test_with_the_hub_down_and_a_warm_cache_it_starts(hub: HubStandIn, model_folder: Path, start: Start) -> None:
    from huggingface_hub import snapshot_download

    publish(hub, "owner/process-warm", model_folder)
    snapshot_download("owner/process-warm")
    hub.stop()
    try:
        service = start(MODEL_ID="owner/process-warm")
        service.wait_for("/readyz")
        assert httpx2.get(f"{service.url}/model").json()["revision"] == hub.head("owner/process-warm")
        # Ctrl-C, for a change; a process each would take long.
        assert service.stop(signal.SIGINT) == 0
    finally:
        hub.start()
    assert "Traceback" not in "".join(service.lines)
    assert any("out of reach" in entry["message"] for entry in service.log)


class Upload:
    """A classification whose upload has begun and waits in its middle."""

    def __init__(self, service: Service) -> None:
        wav = encode(sweep(3.0), "wav")
        head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
        body = head + wav + b"\r\n--x--\r\n"
        self.connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=START_S)
        self.connection.putrequest("POST", "/classify")
        self.connection.putheader("Content-Type", "multipart/form-data; boundary=x")
        self.connection.putheader("Content-Length", str(len(body)))
        # Its beginning is read when the service says so.
        self.connection.putheader("Expect", "100-continue")
        self.connection.endheaders()
        assert self.connection.sock is not None
        assert self.connection.sock.recv(100).startswith(b"HTTP/1.1 100")
        self.connection.send(body[:1000])
        self.rest = body[1000:]

    def finish(self) -> tuple[int, dict[str, Any]]:
        self.connection.send(self.rest)
        with self.connection.getresponse() as response:
            answer = response.status, json.loads(response.read())
        self.connection.close()
        return answer


def test_service_drains_before_it_ends(start: Start, model_folder: Path) -> None:
    """A second client keeps its connection open throughout, as those of load balancers and open pages do."""
    service = start(MODEL_ID=str(model_folder))
    service.wait_for("/readyz")
    upload = Upload(service)
    service.process.send_signal(signal.SIGTERM)
    assert service.wait_for("/readyz", 503).json()["type"] == "urn:music-genre:draining"
    with httpx2.Client(base_url=service.url) as client:
        for path in ("/classify", "/ui/gradio_api/upload"):
            refused = client.post(path, files={"file": b"x"})
            assert (refused.status_code, refused.json()["type"]) == (503, "urn:music-genre:draining")
        assert client.get("/livez").status_code == 200
        assert service.process.poll() is None
        status, answer = upload.finish()
        assert (status, answer["duration_s"]) == (200, 3.0)
        assert service.wait() == 0
    assert [entry for entry in service.log if entry["level"] in {"ERROR", "CRITICAL"}] == []


@pytest.mark.slow
def test_request_that_outlasts_the_drain_is_answered_503(start: Start, model_folder: Path) -> None:
    service = start(MODEL_ID=str(model_folder), DRAIN_TIMEOUT_S="2")
    service.wait_for("/readyz")
    upload = Upload(service)
    assert service.stop() == 0
    with upload.connection.getresponse() as response:
        assert (response.status, json.loads(response.read())["type"]) == (503, "urn:music-genre:draining")
    upload.connection.close()


@pytest.mark.slow
def test_a_second_signal_ends_it_at_once_and_leaves_nothing(start: Start, model_folder: Path, tmp_path: Path) -> None:
    service = start(MODEL_ID=str(model_folder), TMPDIR=str(tmp_path), DRAIN_TIMEOUT_S="3600")
    service.wait_for("/readyz")
    upload = Upload(service)
    service.process.send_signal(signal.SIGTERM)
    service.wait_for("/readyz", 503)
    assert list(tmp_path.iterdir())
    assert service.stop() == 128 + signal.SIGTERM
    assert not list(tmp_path.glob("music-genre-*"))
    upload.connection.close()


def test_limit_of_open_files_fits_max_connections(start: Start, model_folder: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (300, hard))
    try:
        service = start(MODEL_ID=str(model_folder), MAX_CONNECTIONS="20")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    service.wait_for("/livez")
    assert resource.prlimit(service.process.pid, resource.RLIMIT_NOFILE)[0] == (MAX_RECORDINGS + 2) * 20 + 256
    assert service.stop() == 0


@pytest.mark.slow
def test_metrics_move_to_their_own_port(start: Start, model_folder: Path) -> None:
    port = free_port()
    service = start(MODEL_ID=str(model_folder), METRICS_PORT=str(port))
    service.wait_for("/readyz")
    assert httpx2.get(f"{service.url}/metrics").status_code == 404
    assert "genre_model_info{" in httpx2.get(f"http://127.0.0.1:{port}/metrics").text
    assert httpx2.get(f"http://127.0.0.1:{port}/readyz").status_code == 200
    assert httpx2.get(f"http://127.0.0.1:{port}/model").status_code == 404
    assert service.stop() == 0


def test_decoders_answer_until_the_service_ends_and_end_with_it(start: Start, model_folder: Path) -> None:
    service = start(MODEL_ID=str(model_folder), DECODERS="3")
    service.wait_for("/readyz")
    decoders = tree(service.process.pid)[1:]
    assert len(decoders) == 3
    for pid in decoders:
        # Not before their imports.
        _wait_for(partial(_ignores_signals, pid))
        # As a terminal or a supervisor does, which signals the whole group.
        os.kill(pid, signal.SIGINT)
        os.kill(pid, signal.SIGTERM)
    assert service.classify(encode(sweep(1.0), "mp3")).status_code == 200
    assert tree(service.process.pid)[1:] == decoders
    assert service.stop() == 0
    # Whoever adopted them may reap them late, or never.
    _wait_for(lambda: {state(pid) for pid in decoders} <= {"", "Z"})
    assert "decoder" not in "".join(service.lines)
