"""Refusals under load, past the deadline, before and after the model is there, and after a failure."""

import asyncio
import logging
import resource
from pathlib import Path

import httpx2
import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from service.classification.classifier import Classifier
from tests.service.application import MP3, GatedBackend, _value, application, expect_problem, gated, post
from tests.support.audio_files import encode, sweep


def at_once(app: FastAPI, requests: int, backend: GatedBackend, *, all_heard: bool = False) -> list[httpx2.Response]:
    """Responses in the order of their requests, which are sent one after another while the model is held: until one of
    them is answered without it, unless all are to be heard."""

    async def send_all() -> list[httpx2.Response]:
        transport = httpx2.ASGITransport(app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://service") as client:
            backend.gate.clear()
            tasks = []
            for _ in range(requests):
                tasks.append(asyncio.create_task(client.post("/classify", files={"file": ("a.mp3", MP3)})))
                await asyncio.sleep(0.1)
            if not all_heard:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            backend.gate.set()
            return await asyncio.gather(*tasks)

    return asyncio.run(send_all())


def test_beyond_its_queue_the_service_refuses_and_says_when_to_come_back(
    model_folder: Path, backend: GatedBackend
) -> None:
    app = gated(model_folder, backend, max_queue_s=7.0)
    # A request counts as one window until its file is open, and the first ones wait for their decoders to start.
    assert [response.status_code for response in at_once(app, 2, backend, all_heard=True)] == [200, 200]
    answers = sorted(at_once(app, 3, backend), key=lambda answer: answer.status_code)
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    # The refused one may have counted as one window when it was refused.
    expect_problem(answers[2], 429, "overloaded", "[56] s of audio are waiting")
    assert int(answers[2].headers["retry-after"]) >= 1
    assert post(TestClient(app)).status_code == 200


def test_a_request_past_its_deadline_is_answered(model_folder: Path, backend: GatedBackend) -> None:
    app = gated(model_folder, backend, request_deadline_s=0.3)
    (response,) = at_once(app, 1, backend)
    expect_problem(response, 504, "deadline-exceeded", r"within 0\.3 s")
    classifier: Classifier = app.state.classifier
    assert _value(app.state.metrics.render().decode(), "genre_queue_audio_seconds") == 0
    assert classifier.engine.backend is backend


def test_an_upload_that_finds_no_room_is_the_service_s_fault(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    """A limit on the size of files stands for a full disk; uploads under 1 MB stay in memory."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
    try:
        response = post(client, encode(sweep(15.0), "wav"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    expect_problem(response, 507, "storage-full", "no room for the upload")
    assert "could not be stored" in caplog.text


def test_while_the_model_loads_requests_are_told_to_come_back(model_folder: Path) -> None:
    client = TestClient(application(model_folder))
    for response in (post(client), client.get("/readyz"), client.get("/model")):
        expect_problem(response, 503, "model-loading", "still loading")
        assert response.headers["retry-after"] == "5"
    assert client.get("/livez").json() == {"status": "alive"}


def test_a_service_that_shuts_down_refuses(model_folder: Path, backend: GatedBackend) -> None:
    app = gated(model_folder, backend)
    client = TestClient(app)
    app.state.classifier.close()
    for response in (post(client), client.get("/readyz"), client.get("/model")):
        expect_problem(response, 503, "draining", "shutting down")
    assert client.get("/livez").status_code == 200


def test_an_unforeseen_error_tells_nothing_of_itself(
    model_folder: Path, backend: GatedBackend, caplog: pytest.LogCaptureFixture
) -> None:
    app = gated(model_folder, backend)
    backend.error = RuntimeError("the secret of the house")
    response = post(TestClient(app))
    expect_problem(response, 500, "internal-error", "logged under the request id")
    assert "secret" not in response.text
    (record,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert record.exc_info
    assert "secret of the house" in str(record.exc_info[1])
    metrics = app.state.metrics.render().decode()
    assert _value(metrics, 'genre_http_requests_total{method="POST",route="/classify",status="500"}') == 1
    assert _value(metrics, "genre_queue_audio_seconds") == 0
    backend.error = None
    assert post(TestClient(app)).status_code == 200
