"""Every route and every error over HTTP, with the application as it is deployed and a tiny model."""

import asyncio
import json
import logging
import re
import resource
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from service.app import create_app
from service.audio import WindowSpec
from service.classification.classifier import Classifier
from service.inference.backend import Outputs, Windows
from service.inference.engine import Engine
from service.model.artefact import read_artefact
from service.settings import Settings
from tests.conftest import GENRES
from tests.support.audio_files import FORMATS, encode, sweep

STAGES = ("decode_wait", "decode", "queue", "inference")
MP3 = encode(sweep(3.0), "mp3")
MAX_UPLOAD_MB = 2.0


def application(model_id: Path | str, **settings: Any) -> FastAPI:
    def fail() -> None:
        raise AssertionError("the model did not load")

    return create_app(
        Settings(model_id=str(model_id), max_upload_mb=MAX_UPLOAD_MB, **settings), on_startup_failure=fail
    )


def wait_until_ready(client: TestClient) -> None:
    deadline = time.monotonic() + 60
    while client.get("/readyz").status_code != 200:
        assert time.monotonic() < deadline, client.get("/readyz").text
        time.sleep(0.02)


@pytest.fixture(scope="module")
def client(model_folder: Path) -> Iterator[TestClient]:
    with TestClient(application(model_folder), follow_redirects=False) as client:
        wait_until_ready(client)
        yield client


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
        assert self.gate.wait(10)
        if self.error:
            raise self.error
        row = np.array([0.91] + [0.01] * 9, np.float32)
        return Outputs(np.tile(row, (len(windows), 1)))


@pytest.fixture
def backend() -> Iterator[GatedBackend]:
    backend = GatedBackend()
    yield backend
    backend.gate.set()


def gated(model_folder: Path, backend: GatedBackend, **settings: Any) -> FastAPI:
    """An application of which the test holds the model. Its lifespan, which would load another, is not run."""
    app = application(model_folder, **settings)
    artefact = replace(
        read_artefact(model_folder, model_id="you/genre", revision="c" * 40), window=WindowSpec(16_000, 1.0)
    )
    app.state.classifier.load(Engine(artefact, backend))
    return app


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


# Classification


@pytest.mark.parametrize("format", FORMATS)
def test_classify_answers_every_format(client: TestClient, format: str) -> None:
    response = post(client, encode(sweep(2.0), format))
    assert response.status_code == 200, response.text
    answer = response.json()
    assert [score["label"] for score in answer["scores"]] != list(GENRES)
    assert {score["label"] for score in answer["scores"]} == set(GENRES)
    scores = [score["score"] for score in answer["scores"]]
    assert scores == sorted(scores, reverse=True)
    assert sum(scores) == pytest.approx(1.0, abs=1e-5)
    assert (answer["genre"], answer["confidence"]) == (answer["scores"][0]["label"], scores[0])
    # Random weights know nothing, and one of ten is far under one half.
    assert answer["decision"] == "uncertain"
    assert answer["duration_s"] == pytest.approx(2.0, abs=0.05)
    assert answer["analysed_s"] == pytest.approx(2.0, abs=0.05)
    assert answer["request_id"] == response.headers["x-request-id"]


def test_classify_names_the_model_that_answered(client: TestClient) -> None:
    model = post(client).json()["model"]
    assert model["id"] == "tiny-genre"
    assert model["revision"].startswith("local-")
    assert model["backend"].startswith("openvino-")


def test_the_same_file_gets_the_same_answer(client: TestClient) -> None:
    first, second = post(client).json(), post(client).json()
    assert first.pop("request_id") != second.pop("request_id")
    assert first == second


def test_a_confident_answer_is_accepted(model_folder: Path, backend: GatedBackend) -> None:
    answer = post(TestClient(gated(model_folder, backend))).json()
    assert (answer["decision"], answer["genre"]) == ("accepted", "blues")
    assert answer["confidence"] == pytest.approx(0.91)


def test_top_k_shortens_the_scores_only(client: TestClient) -> None:
    everything, top, more = post(client).json(), post(client, top_k=3).json(), post(client, top_k=99).json()
    assert top["scores"] == everything["scores"][:3]
    assert more["scores"] == everything["scores"]
    assert top["genre"] == everything["genre"]


def test_max_windows_limits_what_is_analysed(model_folder: Path, backend: GatedBackend) -> None:
    client = TestClient(gated(model_folder, backend, max_windows=2))
    long = encode(sweep(5.0), "flac")
    assert post(client, long, max_windows=1).json()["analysed_s"] == 1.0
    assert post(client, long).json()["analysed_s"] == 2.0
    # The service's own bound holds.
    assert post(client, long, max_windows=50).json()["analysed_s"] == 2.0


def test_a_request_id_of_the_caller_is_kept(client: TestClient) -> None:
    sent = "0123456789abcdef0123456789abcdef"[:12] + "4" + "0123456789abcdef0123456789abcdef"[13:16] + "8" + "0" * 15
    assert client.get("/livez", headers={"X-Request-ID": sent}).headers["x-request-id"] == sent
    assert client.get("/livez", headers={"X-Request-ID": "not an id"}).headers["x-request-id"] != "not an id"


# Audio that cannot be classified


@pytest.mark.parametrize(
    ("data", "status", "type_"),
    [
        (b"just text", 415, "unsupported-media"),
        (b"\x89PNG\r\n\x1a\n" + bytes(500), 415, "unsupported-media"),
        (b"#EXTM3U\n#EXTINF:9,\n/etc/passwd\n", 415, "unsupported-media"),
        (b"", 400, "undecodable-audio"),
        (encode(sweep(3.0), "m4a")[:9000], 400, "undecodable-audio"),
        (encode(sweep(0.01), "wav"), 422, "audio-too-short"),
        (encode(0 * sweep(3.0), "wav"), 422, "silent-audio"),
    ],
    ids=["text", "png", "playlist", "empty", "cut off", "10 ms", "silence"],
)
def test_audio_that_cannot_be_classified_is_a_problem(client: TestClient, data: bytes, status: int, type_: str) -> None:
    before = client.get("/metrics").text
    expect_problem(post(client, data), status, type_)
    series = f'genre_rejected_total{{reason="{type_}"}}'
    assert _value(client.get("/metrics").text, series) == _value(before, series) + 1


def test_every_refusal_is_counted_once_whoever_raised_it(client: TestClient) -> None:
    def counted() -> dict[str, float]:
        lines = client.get("/metrics").text.splitlines()
        series = [line.rsplit(" ", 1) for line in lines if line.startswith("genre_rejected_total{")]
        return {name.split('"')[1]: float(value) for name, value in series}

    latin = {"Content-Type": "multipart/form-data; boundary=x; charset=latin-1"}
    refusals: list[tuple[str, Callable[[], httpx2.Response]]] = [
        ("invalid-parameter", lambda: client.post("/classify")),
        ("invalid-parameter", lambda: client.post("/classify?top_k=0", files={"file": MP3})),
        ("invalid-parameter", lambda: client.post("/classify", content=b"--x--", headers=latin)),
        ("payload-too-large", lambda: client.post("/classify", files={"file": bytes(60_000_000)})),
        ("payload-too-large", lambda: client.post("/ui/gradio_api/queue/join", content=bytes(70_000))),
    ]
    for reason, send in refusals:
        before = counted()
        assert send().status_code >= 400
        expected = before | {reason: before.get(reason, 0) + 1}
        assert counted() == expected
    before = counted()
    assert client.get("/nothing").status_code == 404
    assert counted() == before


# Requests that are not valid


def test_a_missing_file_is_a_problem(client: TestClient) -> None:
    expect_problem(client.post("/classify"), 422, "invalid-parameter", "one field `file`")
    expect_problem(client.post("/classify", files={"audio": MP3}), 422, "invalid-parameter", "one field `file`")


def test_a_text_field_instead_of_a_file_is_a_problem(client: TestClient) -> None:
    response = client.post("/classify", data={"file": "song.mp3"}, files={"other": b"x"})
    expect_problem(response, 422, "invalid-parameter", "one field `file`, with a file name")


def test_a_second_file_is_a_problem_rather_than_ignored(client: TestClient) -> None:
    response = client.post("/classify", files=[("file", ("a.mp3", MP3)), ("file", ("b.mp3", MP3))])
    expect_problem(response, 422, "invalid-parameter", "one field `file`")


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", b'{"file": "x"}'),
        ("multipart/form-data", MP3),
        ("multipart/form-data; boundary=x", b"no boundary anywhere"),
        ("multipart/form-data; boundary=x", b'--x\r\nContent-Disposition: form-data; name="file"; filename="a'),
    ],
)
def test_a_body_that_is_no_multipart_form_is_a_problem(client: TestClient, content_type: str, body: bytes) -> None:
    response = client.post("/classify", content=body, headers={"Content-Type": content_type})
    expect_problem(response, 422, "invalid-parameter", "multipart/form-data")


@pytest.mark.parametrize("query", ["top_k=0", "top_k=-1", "top_k=many", "max_windows=0", "max_windows=1.5"])
def test_a_wrong_parameter_is_named(client: TestClient, query: str) -> None:
    response = client.post(f"/classify?{query}", files={"file": MP3})
    expect_problem(response, 422, "invalid-parameter", query.split("=")[0])


def test_an_unknown_path_is_a_problem(client: TestClient) -> None:
    expect_problem(client.get("/nothing/here"), 404, "about:blank")


def test_a_wrong_method_is_a_problem_that_says_which_is_right(client: TestClient) -> None:
    response = client.get("/classify")
    expect_problem(response, 405, "about:blank")
    assert response.headers["allow"] == "OPTIONS, POST"


@pytest.mark.parametrize("path", ["/classify", "/livez", "/model"])
def test_a_declared_body_over_the_limit_is_refused(client: TestClient, path: str) -> None:
    body = bytes(round(MAX_UPLOAD_MB * 1e6) + 1)
    expect_problem(client.post(path, content=body), 413, "payload-too-large", "larger than 2 MB")


def test_a_declared_body_over_the_limit_is_refused_before_it_is_read(client: TestClient) -> None:
    read = 0

    def parts() -> Iterator[bytes]:
        nonlocal read
        for _ in range(100):
            read += 1
            yield bytes(100_000)

    declared = client.post("/classify", content=parts(), headers={"Content-Length": "1000000000"})
    expect_problem(declared, 413, "payload-too-large")


def test_a_chunked_body_over_the_limit_is_refused_as_it_arrives(model_folder: Path, backend: GatedBackend) -> None:
    app = gated(model_folder, backend)
    sent = 0

    async def parts() -> Any:
        nonlocal sent
        yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
        for _ in range(100):
            sent += 100_000
            yield bytes(100_000)

    async def send() -> httpx2.Response:
        transport = httpx2.ASGITransport(app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://service") as client:
            return await client.post(
                "/classify", content=parts(), headers={"Content-Type": "multipart/form-data; boundary=x"}
            )

    expect_problem(asyncio.run(send()), 413, "payload-too-large", "larger than 2 MB")
    assert sent < 2.5e6


def test_a_body_at_the_limit_is_read(client: TestClient) -> None:
    wav = encode(sweep(19.0), "wav")
    assert 0.9 * MAX_UPLOAD_MB * 1e6 < len(wav) < MAX_UPLOAD_MB * 1e6
    assert post(client, wav).status_code == 200


# Load and trouble


def at_once(app: FastAPI, requests: int, backend: GatedBackend, *, hold_s: float) -> list[httpx2.Response]:
    """Responses in the order of their requests, which are sent one after another while the model is held."""

    async def send_all() -> list[httpx2.Response]:
        transport = httpx2.ASGITransport(app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://service") as client:
            backend.gate.clear()
            tasks = []
            for _ in range(requests):
                tasks.append(asyncio.create_task(client.post("/classify", files={"file": ("a.mp3", MP3)})))
                await asyncio.sleep(0.1)
            await asyncio.sleep(hold_s)
            backend.gate.set()
            return await asyncio.gather(*tasks)

    return asyncio.run(send_all())


def test_beyond_its_queue_the_service_refuses_and_says_when_to_come_back(
    model_folder: Path, backend: GatedBackend
) -> None:
    app = gated(model_folder, backend, max_queue_s=7.0)
    # A request counts as one window until its file is open, and the first ones wait for their decoders to start.
    assert [response.status_code for response in at_once(app, 2, backend, hold_s=0)] == [200, 200]
    first, second, third = at_once(app, 3, backend, hold_s=0)
    assert (first.status_code, second.status_code) == (200, 200)
    expect_problem(third, 429, "overloaded", "6 s of audio are waiting")
    assert int(third.headers["retry-after"]) >= 1
    assert post(TestClient(app)).status_code == 200


def test_a_request_past_its_deadline_is_answered(model_folder: Path, backend: GatedBackend) -> None:
    app = gated(model_folder, backend, request_deadline_s=0.3)
    (response,) = at_once(app, 1, backend, hold_s=0.5)
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


# To operate it


def test_the_model_card_tells_what_serving_took_from_the_repo(client: TestClient) -> None:
    card = client.get("/model").json()
    assert card["id"] == "tiny-genre"
    assert card["labels"] == list(GENRES)
    assert (card["sampling_rate"], card["window_s"]) == (16_000, 30.0)
    assert (card["temperature"], card["uncertain_below"]) == (1.0, 0.5)
    assert card["defaulted"] == ["window_s", "temperature", "uncertain_below"]


def test_readiness_and_liveness(client: TestClient) -> None:
    assert client.get("/readyz").json() == {"status": "ready"}
    assert client.get("/livez").json() == {"status": "alive"}


def test_the_start_page_leads_to_the_ui(client: TestClient) -> None:
    response = client.get("/")
    assert (response.status_code, response.headers["location"]) == (307, "/ui/")


def test_the_docs_describe_every_route_and_error(client: TestClient) -> None:
    assert "swagger" in client.get("/docs").text.lower()
    api = client.get("/openapi.json").json()
    assert set(api["paths"]) == {"/classify", "/model", "/livez", "/readyz", "/metrics"}
    responses = api["paths"]["/classify"]["post"]["responses"]
    assert {"200", "400", "413", "415", "422", "429", "503", "504"} <= responses.keys()
    for status in ("400", "422", "503"):
        assert list(responses[status]["content"]) == ["application/problem+json"]


def test_metrics_count_requests_stages_and_answers(client: TestClient) -> None:
    before = client.get("/metrics").text
    genre = post(client).json()["genre"]
    response = client.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=")
    after = response.text
    for series in (
        'genre_http_requests_total{method="POST",route="/classify",status="200"}',
        'genre_http_request_duration_seconds_count{route="/classify"}',
        *(f'genre_stage_duration_seconds_count{{stage="{stage}"}}' for stage in STAGES),
        "genre_audio_duration_seconds_count",
        f'genre_predictions_total{{decision="uncertain",genre="{genre}"}}',
        "genre_confidence_count",
    ):
        assert _value(after, series) == _value(before, series) + 1, series
    assert _value(after, "genre_audio_duration_seconds_sum") - _value(
        before, "genre_audio_duration_seconds_sum"
    ) == pytest.approx(3.0, abs=0.05)
    assert _value(after, "genre_queue_audio_seconds") == 0
    assert re.search(
        r'^genre_model_info\{backend="openvino-[^"]+",id="tiny-genre",revision="local-[^"]+"\} 1\.0$', after, re.M
    )


def test_every_metric_explains_itself(client: TestClient) -> None:
    post(client)
    text = client.get("/metrics").text
    helped = set(re.findall(r"^# HELP (\S+) \S+", text, re.M))
    named = set(re.findall(r"^# TYPE (\S+) ", text, re.M))
    assert named == helped
    assert {"process_resident_memory_bytes", "python_gc_collections_total", "python_info"} <= named
    for sample in re.findall(r"^([a-z_]+)", text, re.M):
        assert any(
            sample == name or sample.removeprefix(name) in {"_sum", "_count", "_bucket", "_created"} for name in named
        )


def test_no_label_takes_what_a_client_chooses(client: TestClient) -> None:
    for number in range(20):
        client.get(f"/random/{number}")
        client.get(f"/ui{number}")
        client.get(f"/ui/random/{number}")
        client.get(f"/livez/{number}")
        client.get("/ui/config")
        client.request(f"METHOD{number}", "/livez")
    text = client.get("/metrics").text
    labels = dict.fromkeys(("route", "method"), set[str]())
    labels = {name: set(re.findall(rf'[{{,]{name}="([^"]*)"', text)) for name in labels}
    routes = {"/classify", "/model", "/livez", "/readyz", "/metrics", "/", "/docs", "/openapi.json", "/ui", "unmatched"}
    assert labels["route"] <= routes
    assert labels["method"] <= {"GET", "POST", "other"}
    assert _value(text, 'genre_http_requests_total{method="GET",route="unmatched",status="404"}') >= 60
    assert _value(text, 'genre_http_requests_total{method="other",route="/livez",status="405"}') >= 20


@pytest.mark.parametrize("charset", ["punycode", "idna", "undefined", "utf-16"])
@pytest.mark.parametrize("path", ["/classify", "/ui/gradio_api/upload"])
def test_a_form_in_another_charset_is_refused(client: TestClient, path: str, charset: str) -> None:
    """Punycode takes quadratic time to decode: a field of a megabyte stopped everything for minutes."""
    headers = {"Content-Type": f"multipart/form-data; boundary=x; charset={charset}"}
    body = b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\nx\r\n--x--\r\n'
    expect_problem(client.post(path, content=body, headers=headers), 422, "invalid-parameter", "UTF-8")


def test_the_charset_of_what_is_no_form_with_files_is_of_no_matter(client: TestClient) -> None:
    assert client.get("/livez", headers={"Content-Type": "text/plain; charset=iso-8859-1"}).status_code == 200


@pytest.mark.parametrize("fields", [{"title": "x" * 20_000}, {f"field{number}": "x" for number in range(20)}])
def test_fields_beside_the_file_are_few_and_small(client: TestClient, fields: dict[str, str]) -> None:
    """They are kept in memory."""
    response = client.post("/classify", files={"file": encode(sweep(1.0), "mp3")}, data=fields)
    expect_problem(response, 422, "invalid-parameter", "not valid multipart")


def test_some_fields_beside_the_file_are_left_out(client: TestClient) -> None:
    response = client.post("/classify", files={"file": encode(sweep(1.0), "mp3")}, data={"title": "x" * 1_000})
    assert response.status_code == 200


def test_a_request_id_is_a_uuid_or_none_of_ours(client: TestClient) -> None:
    good = "3f2b8c4e-7d6a-4b1f-9c0d-5e8a7b6c4d3f"
    assert client.get("/livez", headers={"X-Request-ID": good}).headers["x-request-id"] == good
    for bad in ("-" * 3_000 + good.replace("-", ""), "forged"):
        assert client.get("/livez", headers={"X-Request-ID": bad}).headers["x-request-id"] != bad


def test_a_request_leaves_one_log_line_without_its_file_name(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    post(client, top_k=1)
    (record,) = [record for record in caplog.records if record.name == "service.middleware.request_log"]
    fields = record.__dict__
    assert (fields["method"], fields["route"], fields["status"]) == ("POST", "/classify", 200)
    assert fields["duration_ms"] > 0
    assert "song.mp3" not in json.dumps([str(value) for entry in caplog.records for value in entry.__dict__.values()])


def _value(metrics: str, series: str) -> float:
    found = re.search(rf"^{re.escape(series)} (\S+)$", metrics, re.M)
    return float(found[1]) if found else 0.0
