"""Answers line by line: the windows of one recording as they are heard, and several recordings as they are done."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from tests.conftest import GENRES
from tests.service.application import (
    MP3,
    GatedBackend,
    SteppedBackend,
    _value,
    application,
    expect_problem,
    gated,
    post,
    until_queued,
)
from tests.support.audio_files import encode, sweep
from tests.support.raw_asgi import Exchange

LINES = {"Accept": "application/x-ndjson"}
SONG = encode(sweep(4.0, 8_000), "wav", 8_000)
"""Four windows of a gated application."""


def stepping(model_folder: Path, backend: SteppedBackend, **settings: Any) -> FastAPI:
    """An application whose decoders have started, and whose model waits for permits."""
    app = gated(model_folder, backend, **settings)
    assert post(TestClient(app)).status_code == 200
    backend.hold()
    return app


@pytest.fixture
def stepped() -> Iterator[SteppedBackend]:
    backend = SteppedBackend()
    yield backend
    backend.permits.release(100)


def lines_of(response: httpx2.Response) -> list[dict[str, Any]]:
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/x-ndjson"
    assert response.headers["x-accel-buffering"] == "no"
    return [json.loads(line) for line in response.text.splitlines()]


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("application/json, application/x-ndjson;q=0", "application/json"),
        ("application/x-ndjson; q=0.000", "application/json"),
        ("text/html, Application/X-NDJSON; q=0.5", "application/x-ndjson"),
    ],
)
def test_lines_are_for_those_who_accept_them(accept: str, kind: str, model_folder: Path, backend: GatedBackend) -> None:
    client = TestClient(gated(model_folder, backend))
    response = client.post("/classify", files={"file": SONG}, headers={"Accept": accept})
    assert (response.status_code, response.headers["content-type"]) == (200, kind)


def test_windows_come_one_by_one_and_the_usual_answer_last(model_folder: Path, backend: GatedBackend) -> None:
    client = TestClient(gated(model_folder, backend))
    usual = post(client, SONG, timeline=True, top_k=2).json()
    response = client.post("/classify?timeline=true&top_k=2", files={"file": SONG}, headers=LINES)
    *windows, last = lines_of(response)
    assert [line["window"] for line in windows] == usual["timeline"]
    assert [(line["done"], line["total"]) for line in windows] == [(done, 4) for done in (1, 2, 3, 4)]
    assert last["answer"].pop("request_id") == response.headers["x-request-id"]
    usual.pop("request_id")
    assert last == {"answer": usual}


def test_silent_windows_are_lines_without_a_window(model_folder: Path, backend: GatedBackend) -> None:
    samples = sweep(3.0, 8_000)
    samples[8_000:16_000] = 0
    client = TestClient(gated(model_folder, backend))
    body, headers = encode(samples, "wav", 8_000), LINES | {"Content-Type": "audio/wav"}
    *windows, last = lines_of(client.post("/classify?timeline=true", content=body, headers=headers))
    assert ["window" in line for line in windows] == [True, False, True]
    assert len(last["answer"]["timeline"]) == 2


def test_an_error_before_the_first_line_has_its_status(model_folder: Path, backend: GatedBackend) -> None:
    client = TestClient(gated(model_folder, backend))
    response = client.post("/classify?timeline=true", files={"file": b"just text"}, headers=LINES)
    expect_problem(response, 415, "unsupported-media")
    loading = TestClient(application(model_folder))
    expect_problem(loading.post("/classify", files={"file": MP3}, headers=LINES), 503, "model-loading")
    expect_problem(loading.post("/classify/batch", files={"file": MP3}), 503, "model-loading")


@asynccontextmanager
async def asking(app: FastAPI, query: str, *, files: int = 0) -> AsyncIterator[Exchange]:
    """A request for lines that the test reads one by one, and can leave."""
    upload = [("file", ("song.wav", SONG))] * max(files, 1)
    request = httpx2.Request("POST", f"http://service/classify{query}", files=upload, headers=LINES)
    exchange = Exchange(app, request.method, request.url, request.headers.raw, request.read())
    async with exchange:
        yield exchange


def test_a_line_is_sent_when_its_window_is_heard(model_folder: Path, stepped: SteppedBackend) -> None:
    app = stepping(model_folder, stepped)

    async def ask() -> None:
        async with asking(app, "?timeline=true") as exchange:
            for done in range(1, 5):
                stepped.permits.release()
                # There is no permit for another window until this line is here.
                line = json.loads(await exchange.read())
                assert (line["done"], line["window"]["genre"]) == (done, GENRES[0])
            assert json.loads(await exchange.read())["answer"]["genre"] == GENRES[0]

    asyncio.run(ask())


@pytest.mark.parametrize(
    ("query", "files", "line"), [("?timeline=true", 1, "window"), ("/batch?max_windows=1", 3, "answer")]
)
def test_a_client_that_hangs_up_ends_the_work(
    model_folder: Path, stepped: SteppedBackend, query: str, files: int, line: str
) -> None:
    app = stepping(model_folder, stepped)

    async def ask() -> None:
        async with asking(app, query, files=files) as exchange:
            stepped.permits.release()
            assert line in json.loads(await exchange.read())
            exchange.hang_up()
        assert not app.state.classifier.is_busy

    asyncio.run(ask())
    assert _value(app.state.metrics.render().decode(), 'genre_rejected_total{reason="client-gone"}') == 1


def test_an_error_after_the_first_line_is_the_last_line(
    model_folder: Path, stepped: SteppedBackend, caplog: pytest.LogCaptureFixture
) -> None:
    app = stepping(model_folder, stepped)

    async def ask() -> dict[str, Any]:
        async with asking(app, "?timeline=true") as exchange:
            stepped.permits.release()
            assert json.loads(await exchange.read())["done"] == 1
            stepped.error = RuntimeError("the secret of the house")
            stepped.permits.release(10)
            last: dict[str, Any] = json.loads(await exchange.read())
            assert await exchange.read() == b""
            return last

    problem = asyncio.run(ask())["problem"]
    assert (problem["type"], problem["status"]) == ("urn:music-genre:internal-error", 500)
    assert "secret" not in problem["detail"]
    assert "secret of the house" in caplog.text


@pytest.mark.thorough
def test_a_deadline_after_the_first_line_is_the_last_line(model_folder: Path, stepped: SteppedBackend) -> None:
    app = stepping(model_folder, stepped)
    # Not before its decoders have started, which it would cover as well.
    app.state.classifier._bounds = replace(app.state.classifier._bounds, deadline_s=3.0)

    async def ask() -> dict[str, Any]:
        async with asking(app, "?timeline=true") as exchange:
            stepped.permits.release()
            assert json.loads(await exchange.read())["done"] == 1
            last: dict[str, Any] = json.loads(await exchange.read())
            return last

    assert asyncio.run(ask())["problem"]["type"] == "urn:music-genre:deadline-exceeded"
    assert _value(app.state.metrics.render().decode(), 'genre_rejected_total{reason="deadline-exceeded"}') == 1


def test_a_batch_answers_a_line_a_file_and_a_problem_about_a_bad_one(client: TestClient) -> None:
    sent = {"good.mp3": MP3, "text.mp3": b"just text", "silent.wav": encode(0 * sweep(3.0), "wav"), "song.wav": SONG}
    files = [("file", (name, data)) for name, data in sent.items()]
    before = client.get("/metrics").text
    response = client.post("/classify/batch?top_k=3", files=files)
    lines = sorted(lines_of(response), key=lambda line: int(line["index"]))
    assert [(line["index"], line["file"]) for line in lines] == list(enumerate(sent))
    for line in (lines[0], lines[3]):
        usual = post(client, sent[line["file"]], top_k=3).json()
        assert line["answer"].pop("request_id") == response.headers["x-request-id"]
        assert line["answer"] == {name: value for name, value in usual.items() if name != "request_id"}
    assert [line["problem"]["type"] for line in lines[1:3]] == [
        "urn:music-genre:unsupported-media",
        "urn:music-genre:silent-audio",
    ]
    after = client.get("/metrics").text
    series = 'genre_rejected_total{reason="silent-audio"}'
    assert _value(after, series) == _value(before, series) + 1


def test_a_batch_holds_two_places_in_the_queue_and_waits_for_them(model_folder: Path, stepped: SteppedBackend) -> None:
    app = stepping(model_folder, stepped, max_queue_s=8.5, max_windows=4, result_cache_mb=1)

    async def ask() -> list[int]:
        transport = httpx2.ASGITransport(app)
        async with (
            asking(app, "/batch", files=5) as exchange,
            httpx2.AsyncClient(transport=transport, base_url="http://service") as client,
        ):
            # 20 s of audio for a queue of 8.5 s, of which two files hold 8.
            await until_queued(app, 8)
            expect_problem(await client.post("/classify", files={"file": SONG}), 429, "overloaded")
            expect_problem(await client.post("/classify/batch", files={"file": SONG}), 429, "overloaded")
            stepped.permits.release(100)
            lines = [json.loads(await exchange.read()) for _ in range(5)]
        assert all("answer" in line for line in lines)
        metrics = app.state.metrics.render().decode()
        looked_up = [_value(metrics, f'genre_result_cache_total{{result="{result}"}}') for result in ("hit", "miss")]
        assert sum(looked_up) == 1 + 5, "once for each recording, however long it waited, and that of `stepping`"
        return [line["index"] for line in lines]

    assert sorted(asyncio.run(ask())) == [0, 1, 2, 3, 4]


def test_a_slow_spell_while_a_file_waits_ends_no_batch(model_folder: Path, stepped: SteppedBackend) -> None:
    """It looks again within the sleep, and is too long by then; the others are answered all the same."""
    app = stepping(model_folder, stepped, max_queue_s=4.5, max_windows=4)

    async def ask() -> list[dict[str, Any]]:
        async with asking(app, "/batch", files=3) as exchange:
            await until_queued(app, 4)
            engine = app.state.classifier.engine
            usual, engine.throughput = engine.throughput, 0.001
            await asyncio.sleep(0.6)
            engine.throughput = usual
            stepped.permits.release(100)
            return [json.loads(await exchange.read()) for _ in range(3)]

    lines = asyncio.run(ask())
    assert sorted(line["index"] for line in lines) == [0, 1, 2]
    assert any("answer" in line for line in lines)


@pytest.mark.parametrize(
    "sent",
    [
        {},
        {"content": MP3, "headers": {"Content-Type": "audio/mpeg"}},
        {"data": {"file": "song.mp3"}, "files": {"other": b"x"}},
        {"files": {"audio": MP3}},
    ],
)
def test_a_batch_without_files_is_told_how_to_send_them(client: TestClient, sent: dict[str, Any]) -> None:
    response = client.post("/classify/batch", **sent)
    expect_problem(response, 422, "invalid-parameter", "1 to 64 audio files as multipart/form-data")


def test_a_batch_of_too_many_files_is_refused(client: TestClient) -> None:
    response = client.post("/classify/batch", files=[("file", ("a.mp3", b"x"))] * 65)
    expect_problem(response, 422, "invalid-parameter", "(?i)too many files.*64")
