"""An application with a tiny model or a gated backend, requests to it, and what is expected of a problem."""

import asyncio
import re
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
from fastapi import FastAPI
from starlette.testclient import TestClient

from service.app import create_app
from service.audio import WindowSpec
from service.inference.backend import Outputs, Windows
from service.inference.engine import Engine
from service.model.artefact import read_artefact
from service.settings import Settings
from tests.support.audio_files import encode, sweep
from tests.support.service_process import START_S

MP3 = encode(sweep(3.0), "mp3")
MAX_UPLOAD_MB = 2.0


def application(model_id: Path | str, **settings: Any) -> FastAPI:
    def fail() -> None:
        raise AssertionError("the model did not load")

    # Tests send one clip again and again, which is to be classified each time.
    usual = {"max_upload_mb": MAX_UPLOAD_MB, "result_cache_mb": 0}
    return create_app(Settings(model_id=str(model_id), **(usual | settings)), on_startup_failure=fail)


def wait_until_ready(client: TestClient) -> None:
    deadline = time.monotonic() + START_S
    while client.get("/readyz").status_code != 200:
        assert time.monotonic() < deadline, client.get("/readyz").text
        # Seldom, as the model loads in this very process.
        time.sleep(0.1)


class GatedBackend:
    """Answers the same for everything, when its gate is open; fails when it is told to."""

    name = "gated"
    note: str | None = None
    max_batch = 1

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.error: Exception | None = None

    def infer(self, windows: Windows) -> Outputs:
        assert self.gate.wait(60)
        if self.error:
            raise self.error
        row = np.array([0.91] + [0.01] * 9, np.float32)
        return Outputs(np.tile(row, (len(windows), 1)))


class SteppedBackend(GatedBackend):
    """Computes a window for each permit of a test, after those with which an engine times it."""

    def __init__(self) -> None:
        super().__init__()
        self.permits = threading.Semaphore(100)

    def infer(self, windows: Windows) -> Outputs:
        assert self.permits.acquire(timeout=60)
        return super().infer(windows)

    def hold(self) -> None:
        """Take all permits back."""
        while self.permits.acquire(blocking=False):
            pass


def gated(model_folder: Path, backend: GatedBackend, **settings: Any) -> FastAPI:
    """An application of which the test holds the model. Its lifespan, which would load another, is not run."""
    app = application(model_folder, **settings)
    artefact = replace(
        read_artefact(model_folder, model_id="you/genre", revision="c" * 40), window=WindowSpec(16_000, 1.0)
    )
    engine = Engine(artefact, backend)
    # Fixed, as a busy machine may be so slow while the engine warms up that it would refuse requests.
    engine.throughput = 1_000.0
    app.state.classifier.load(engine)
    return app


async def until_queued(app: FastAPI, audio_s: float) -> None:
    """Wait until so many seconds of audio are admitted and not yet answered."""
    deadline = time.monotonic() + 60
    while _value(app.state.metrics.render().decode(), "genre_queue_audio_seconds") < audio_s:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


def post(client: TestClient, data: bytes = MP3, **query: Any) -> httpx2.Response:
    response: httpx2.Response = client.post("/classify", files={"file": ("song.mp3", data)}, params=query)
    return response


def expect_problem(response: httpx2.Response, status: int, type_: str, detail: str = "") -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = response.json()
    assert problem.keys() == {"type", "title", "status", "detail", "request_id"}
    assert problem["type"] == (f"urn:music-genre:{type_}" if type_ != "about:blank" else type_)
    assert problem["status"] == status
    assert problem["title"]
    assert re.search(detail, problem["detail"]), problem["detail"]
    assert re.fullmatch("[0-9a-f]{32}", problem["request_id"])
    assert problem["request_id"] == response.headers["x-request-id"]
    return problem


def _value(metrics: str, series: str) -> float:
    found = re.search(rf"^{re.escape(series)} (\S+)$", metrics, re.M)
    return float(found[1]) if found else 0.0
