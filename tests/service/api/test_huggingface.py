"""The Hugging Face dialect: what its own client sends to a running service, and bodies as other programs write them."""

import asyncio
import json
import math
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest
from huggingface_hub import AsyncInferenceClient, InferenceClient
from huggingface_hub.errors import HfHubHTTPError
from starlette.testclient import TestClient

from service.api.json_body import JsonBody
from service.errors import InvalidParameter
from service.inference.engine import Engine
from tests.service.application import MAX_UPLOAD_MB, MP3, GatedBackend, application, gated, post, until_queued
from tests.support.audio_files import encode, sweep
from tests.support.serving import serving

KEY = "key-of-the-tests-0123456789"


@pytest.fixture(scope="module")
def url(model_folder: Path) -> Iterator[str]:
    with serving(application(model_folder, page=False, api_keys=KEY)) as url:
        yield url


@pytest.fixture(scope="module")
def scores(url: str) -> list[tuple[str, float]]:
    """What `/classify` answers about the same recording."""
    headers = {"Authorization": f"Bearer {KEY}"}
    answer = httpx2.post(f"{url}/classify", files={"file": MP3}, headers=headers).json()
    return [(score["label"], score["score"]) for score in answer["scores"]]


def _pairs(elements: list[Any]) -> list[tuple[str, float]]:
    return [(element.label, element.score) for element in elements]


@pytest.mark.parametrize("path", ["", "/", "/predict"])
def test_inference_client_gets_the_scores_of_classify(
    url: str, path: str, scores: list[tuple[str, float]], tmp_path: Path
) -> None:
    file = tmp_path / "song.mp3"
    file.write_bytes(MP3)
    client = InferenceClient(model=f"{url}{path}", token=KEY)
    assert _pairs(client.audio_classification(MP3)) == scores
    assert _pairs(client.audio_classification(str(file))) == scores
    assert _pairs(client.audio_classification(file)) == scores
    assert _pairs(client.audio_classification(file.read_bytes(), top_k=3)) == scores[:3]
    assert _pairs(client.audio_classification(file, top_k=3, function_to_apply="softmax")) == scores[:3]


def test_whole_number_may_be_written_with_a_point(client: TestClient) -> None:
    """JSON has one type of number, and JSON Schema calls 2.0 an integer (2020-12, validation, section 6.1.1)."""
    response = client.post("/", json={"inputs": b64encode(MP3).decode(), "parameters": {"top_k": 2.0}})
    assert len(response.json()) == 2


def test_functions_are_applied_to_the_logits(url: str, scores: list[tuple[str, float]]) -> None:
    client = InferenceClient(model=url, token=KEY)
    none = _pairs(client.audio_classification(MP3, function_to_apply="none"))
    sigmoid = _pairs(client.audio_classification(MP3, function_to_apply="sigmoid"))
    assert [label for label, _ in none] == [label for label, _ in sigmoid] == [label for label, _ in scores]
    assert [score for _, score in sigmoid] == pytest.approx([1 / (1 + math.exp(-score)) for _, score in none])
    powers = [math.exp(score) for _, score in none]
    assert [power / sum(powers) for power in powers] == pytest.approx([score for _, score in scores], rel=1e-3)


def test_async_inference_client_gets_the_scores_of_classify(url: str, scores: list[tuple[str, float]]) -> None:
    async def ask() -> list[Any]:
        async with AsyncInferenceClient(model=url, token=KEY) as client:
            return [await client.audio_classification(MP3), await client.audio_classification(MP3, top_k=2)]

    everything, top = asyncio.run(ask())
    assert _pairs(everything) == scores
    assert _pairs(top) == scores[:2]


def test_inference_client_reads_health_and_info(url: str) -> None:
    client = InferenceClient(model=url, token=KEY, provider="hf-inference")
    assert client.health_check()
    info = client.get_endpoint_info()
    assert info["model_id"] == "tiny-genre"
    assert info["model_pipeline_tag"] == "audio-classification"
    assert info["model_sha"].startswith("local-")


def test_inference_client_shows_what_to_do(url: str) -> None:
    client = InferenceClient(model=url, token=KEY)
    with pytest.raises(HfHubHTTPError, match="not a supported audio file|supported"):
        client.audio_classification(b"just text")
    with pytest.raises(HfHubHTTPError, match="Send an API key"):
        InferenceClient(model=url, token="wrong-key-0123456789").audio_classification(MP3)


@pytest.mark.parametrize(
    "type_", [None, "audio/mpeg", "video/mp4", "application/octet-stream", "application/x-www-form-urlencoded"]
)
def test_raw_bytes_are_a_recording_under_any_type_of_one(client: TestClient, type_: str | None) -> None:
    response = client.post("/", content=MP3, headers={"Content-Type": type_} if type_ else {})
    assert response.json() == post(client).json()["scores"]


@pytest.mark.parametrize(
    "written",
    [
        lambda text: f'{{"inputs": "{text}"}}',
        lambda text: f'{{"parameters": null, "inputs": "{text}"}}'.replace("/", "\\/"),
        lambda text: f'{{"inputs": "{text}", "parameters": {{}}}}'.replace("+", "\\u002B"),
        lambda text: '{"inputs": "' + "\\r\\n".join(text[at : at + 76] for at in range(0, len(text), 76)) + '"}',
    ],
    ids=["plain", "escaped slashes", "escaped plus", "lines"],
)
def test_base64_as_other_programs_write_it_is_read(client: TestClient, written: Any) -> None:
    body = written(b64encode(MP3).decode())
    response = client.post("/", content=body, headers={"Content-Type": "application/json; charset=utf-8"})
    assert response.json() == post(client).json()["scores"]


def expect_error(response: httpx2.Response, status: int, type_: str, error: str) -> None:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    body = response.json()
    assert body.keys() == {"error", "type", "request_id"}
    assert body["type"] == f"urn:music-genre:{type_}"
    assert error in body["error"]
    assert body["request_id"] == response.headers["x-request-id"]


@pytest.mark.parametrize(
    ("document", "error"),
    [
        ("", "not valid JSON"),
        ("[" * 30_000, "not valid JSON"),
        ("{}", "inputs: Field required"),
        ([], "body: "),
        ({"inputs": 3}, "inputs: "),
        ({"inputs": "https://example.org/song.mp3"}, "fetches nothing"),
        ({"inputs": "data:audio/mpeg;base64," + "AAAA" * 1_000}, "not base64"),
        ({"inputs": "AAAA" * 1_000 + "A"}, "not base64"),
        ({"inputs": "AAA=" * 1_000}, "not base64"),
        ({"inputs": "é" * 2_000}, "not base64"),
        ({"inputs": "AAAA", "options": {}}, "options: There is no such parameter."),
        ({"inputs": "AAAA", "parameters": {"top_k": 0}}, "parameters.top_k: "),
        ({"inputs": "AAAA", "parameters": {"top_k": "3"}}, "parameters.top_k: "),
        ({"inputs": "AAAA", "parameters": {"top_k": 2.5}}, "parameters.top_k: "),
        ({"inputs": "AAAA", "parameters": {"temperature": 1}}, "parameters.temperature: There is no such parameter."),
        ({"inputs": "AAAA", "parameters": {"function_to_apply": "relu"}}, "parameters.function_to_apply: "),
        ({"inputs": "AAAA", "parameters": {"a": [[0]] * 30_000}}, "more than 0.064 MB besides"),
        ({"inputs": ["A" * 2_000] * 65}, "more than 64 recordings"),
    ],
)
def test_a_document_that_is_not_right_is_refused_in_words(client: TestClient, document: Any, error: str) -> None:
    body = document if isinstance(document, str) else json.dumps(document)
    response = client.post("/", content=body, headers={"Content-Type": "application/json"})
    expect_error(response, 422, "invalid-parameter", error)


def test_bad_audio_has_the_same_problem_types_in_the_shape_of_the_dialect(client: TestClient) -> None:
    expect_error(client.post("/", content=b"just text"), 415, "unsupported-media", "")
    expect_error(client.post("/", content=b""), 400, "undecodable-audio", "")
    expect_error(client.post("/predict", content=encode(0 * sweep(3.0), "wav")), 422, "silent-audio", "")
    form = client.post("/", files={"file": MP3})
    expect_error(form, 422, "invalid-parameter", "declared as multipart/form-data")
    large = client.post("/", content=bytes(round(MAX_UPLOAD_MB * 1e6) + 1))
    expect_error(large, 413, "payload-too-large", "larger than 2 MB")


def test_a_model_without_logits_says_so(model_folder: Path, backend: GatedBackend) -> None:
    document = {"inputs": b64encode(MP3).decode(), "parameters": {"function_to_apply": "none"}}
    response = TestClient(gated(model_folder, backend)).post("/", json=document)
    expect_error(response, 422, "invalid-parameter", "no logits")


def test_a_wrong_method_names_those_of_all_routes(client: TestClient) -> None:
    response = client.put("/")
    assert response.status_code == 405
    assert response.headers["allow"] == "GET, HEAD, OPTIONS, POST"
    assert response.json()["error"] == "This path takes GET, HEAD, OPTIONS, POST."


def test_health_is_that_of_readyz(model_folder: Path, backend: GatedBackend) -> None:
    expect_error(TestClient(application(model_folder)).get("/health"), 503, "model-loading", "still loading")
    app = gated(model_folder, backend)
    client = TestClient(app)
    assert client.get("/health").json() == {"status": "ready"}
    app.state.drain.begin()
    expect_error(client.get("/health"), 503, "draining", "shutting down")
    expect_error(client.post("/", content=MP3), 503, "draining", "shutting down")


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 5_000])
def test_a_document_is_the_same_however_it_arrives(size: int) -> None:
    text = b64encode(MP3[:3_001]).decode().replace("+", "\\u002b").replace("/", "\\/")
    data = f'{{"a\\"b": "\\\\", "x": [1, "{text}", "QUJD"], "y": "{text}"}}'.encode()
    body = JsonBody(1_000)
    try:
        for at in range(0, len(data), size):
            body.feed(data[at : at + size])
        document = body.end()
        assert document.keys() == {'a"b', "x", "y"}
        assert document['a"b'] == "\\"
        found = [body.recording(text).read() for text in (*document["x"][1:], document["y"])]
        assert found == [MP3[:3_001], b"ABC", MP3[:3_001]]
    finally:
        body.close()


@pytest.mark.parametrize("data", [b'{"inputs": "AAAA', b'{}"AAAA', b'{}"' + b"A" * 2_000, b'{}"\\'])
def test_a_document_that_ends_within_a_string_is_refused(data: bytes) -> None:
    body = JsonBody(1_000)
    body.feed(data)
    with pytest.raises(InvalidParameter, match="not valid JSON"):
        body.end()
    body.close()


def test_a_model_that_is_swapped_during_a_request_changes_no_function(
    model_folder: Path, backend: GatedBackend
) -> None:
    """Softmax is what the old model answers with, sigmoid what the new one would."""
    app = gated(model_folder, backend)
    artefact = app.state.classifier.engine.artefact
    other = Engine(replace(artefact, thresholds=(0.5,) * len(artefact.labels)), GatedBackend())
    body = {"inputs": b64encode(MP3).decode(), "parameters": {"function_to_apply": "softmax", "top_k": 1}}

    async def ask() -> httpx2.Response:
        transport = httpx2.ASGITransport(app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://service") as client:
            backend.gate.clear()
            asking = asyncio.create_task(client.post("/predict", json=body))
            await until_queued(app, 1)
            app.state.classifier.load(other)
            backend.gate.set()
            return await asking

    (best,) = asyncio.run(ask()).json()
    assert best["score"] == pytest.approx(0.91)
