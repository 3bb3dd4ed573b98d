"""The same recording again: answered without the model, in all dialects alike, and with a fresh id."""

import base64
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from service.inference.backend import Outputs, Windows
from tests.service.application import MP3, GatedBackend, _value, expect_problem, gated, post


class CountingBackend(GatedBackend):
    """Counts the windows that it computes."""

    computed = 0

    def infer(self, windows: Windows) -> Outputs:
        self.computed += len(windows)
        return super().infer(windows)


@pytest.fixture
def counting() -> CountingBackend:
    return CountingBackend()


@pytest.fixture
def app(model_folder: Path, counting: CountingBackend) -> FastAPI:
    app = gated(model_folder, counting, result_cache_mb=1)
    counting.computed = 0
    return app


@pytest.fixture
def again(app: FastAPI) -> TestClient:
    return TestClient(app)


def _metric(client: TestClient, series: str) -> float:
    return _value(client.get("/metrics").text, series)


def _looked_up(client: TestClient, result: str) -> float:
    return _metric(client, f'genre_result_cache_total{{result="{result}"}}')


def test_a_retry_is_answered_without_the_model(again: TestClient, counting: CountingBackend) -> None:
    first, second = post(again, timeline=True), post(again, timeline=True)
    assert counting.computed == 3
    assert first.headers["etag"] == second.headers["etag"]
    assert first.headers["etag"].removeprefix("W/").strip('"').isalnum()
    assert first.headers["cache-control"] == second.headers["cache-control"] == "no-store"
    one, other = first.json(), second.json()
    assert one.pop("request_id") == first.headers["x-request-id"]
    assert other.pop("request_id") == second.headers["x-request-id"] != first.headers["x-request-id"]
    assert one == other
    assert (_looked_up(again, "hit"), _looked_up(again, "miss")) == (1, 1)
    # A retry is no recording more.
    assert _metric(again, "genre_audio_duration_seconds_count") == 1


@pytest.mark.parametrize("query", [{"top_k": 2}, {"max_windows": 1}, {"timeline": True}])
def test_other_parameters_are_answered_anew(again: TestClient, query: dict[str, Any]) -> None:
    plain, other = post(again), post(again, **query)
    assert plain.headers["etag"] != other.headers["etag"]
    assert _looked_up(again, "miss") == 2


def test_the_body_itself_and_a_form_are_the_same_recording(again: TestClient, counting: CountingBackend) -> None:
    form = post(again)
    body = again.post("/classify", content=MP3, headers={"Content-Type": "audio/mpeg"})
    assert body.headers["etag"] == form.headers["etag"]
    assert counting.computed == 3


def test_all_dialects_know_what_was_answered(again: TestClient, counting: CountingBackend) -> None:
    post(again)
    batch = again.post("/classify/batch", files={"file": ("song.mp3", MP3)})
    assert batch.json()["answer"]["genre"] == "blues"
    scores = again.post("/", content=MP3, headers={"Content-Type": "audio/mpeg"}).json()
    assert scores[0]["label"] == "blues"
    tensor = {"name": "audio", "shape": [1], "datatype": "BYTES", "data": [base64.b64encode(MP3).decode()]}
    outputs = again.post("/v2/models/music-genre/infer", json={"inputs": [tensor]}).json()["outputs"]
    assert next(output["data"] for output in outputs if output["name"] == "genre") == ["blues"]
    assert (counting.computed, _looked_up(again, "hit")) == (3, 3)


def test_lines_are_always_computed(again: TestClient, counting: CountingBackend) -> None:
    post(again)
    lines = again.post("/classify", files={"file": MP3}, headers={"Accept": "application/x-ndjson"})
    assert "etag" not in lines.headers
    assert counting.computed == 6


def test_a_condition_is_ignored_as_a_post_selects_no_representation(again: TestClient) -> None:
    etag = post(again).headers["etag"]
    for header in ("If-None-Match", "If-Match"):
        for condition in (etag, '"another"', "*"):
            response = again.post("/classify", files={"file": MP3}, headers={header: condition})
            assert (response.status_code, response.json()["genre"]) == (200, "blues")


def test_errors_are_found_out_again(again: TestClient, counting: CountingBackend) -> None:
    counting.error = RuntimeError("the device is gone")
    again = TestClient(again.app, raise_server_exceptions=False)
    response: httpx2.Response = post(again)
    assert response.status_code == 500
    assert "etag" not in response.headers
    counting.error = None
    assert post(again).status_code == 200


def test_a_closed_service_answers_nothing_from_memory(app: FastAPI, again: TestClient) -> None:
    post(again)
    app.state.classifier.close()
    expect_problem(post(again), 503, "draining")


def test_a_new_model_answers_anew(app: FastAPI, again: TestClient, counting: CountingBackend) -> None:
    post(again)
    app.state.classifier.load(app.state.classifier.engine)
    post(again)
    assert counting.computed == 6


def test_nothing_is_kept_when_it_is_switched_off(model_folder: Path, counting: CountingBackend) -> None:
    client = TestClient(gated(model_folder, counting, result_cache_mb=0))
    counting.computed = 0
    assert "etag" not in post(client).headers
    post(client)
    assert counting.computed == 6
    assert (_looked_up(client, "hit"), _looked_up(client, "miss")) == (0, 0)
