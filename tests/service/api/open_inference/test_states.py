"""Swaps, full queues, missing embeddings, full disks and errors, in the protocol's shape."""

import asyncio
import resource
from base64 import b64encode
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.testclient import TestClient

from service.inference.engine import Engine
from tests.service.api.open_inference.dialect import INFER, MODEL, OUTPUTS, binary_request, document
from tests.service.application import MP3, GatedBackend, application, gated, until_queued
from tests.support import open_inference_schema as schema
from tests.support.audio_files import encode, sweep


def test_a_model_that_is_swapped_during_a_request_is_no_mixture(model_folder: Path, backend: GatedBackend) -> None:
    app = gated(model_folder, backend)
    other = Engine(replace(app.state.classifier.engine.artefact, revision="d" * 40), GatedBackend())

    async def ask() -> httpx2.Response:
        transport = httpx2.ASGITransport(app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://service") as client:
            backend.gate.clear()
            texts = [b64encode(MP3).decode()] * 4
            asking = asyncio.create_task(client.post(INFER, json=document(shape=[4], data=texts)))
            await until_queued(app, 1)
            app.state.classifier.load(other)
            backend.gate.set()
            return await asking

    response = asyncio.run(ask())
    assert response.status_code == 503, response.text
    assert "swapped" in response.json()["error"]


def test_a_full_queue_refuses_at_once_and_a_request_fits_into_what_is_left(
    model_folder: Path, backend: GatedBackend
) -> None:
    app = gated(model_folder, backend, max_queue_s=7.0)
    texts = [b64encode(MP3).decode()] * 5

    async def ask() -> list[httpx2.Response]:
        transport = httpx2.ASGITransport(app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://service") as client:
            backend.gate.clear()
            # 15 s of audio in a queue of 7 s: two recordings at a time.
            several = asyncio.create_task(client.post(INFER, json=document(shape=[5], data=texts)))
            await until_queued(app, 6)
            refused = await client.post("/classify", files={"file": MP3})
            backend.gate.set()
            return [await several, refused, await client.post(INFER, json=document())]

    several, refused, alone = asyncio.run(ask())
    assert (several.status_code, refused.status_code, alone.status_code) == (200, 429, 200)
    assert several.json()["outputs"][0]["shape"] == [5]


def test_a_model_without_embeddings_lists_none_and_says_so(model_folder: Path, backend: GatedBackend) -> None:
    client = TestClient(gated(model_folder, backend))
    outputs = client.get(f"/v2/models/{MODEL}").json()["outputs"]
    assert {output["name"] for output in outputs} == OUTPUTS - {"embedding"}
    response = client.post(INFER, json=document() | {"outputs": [{"name": "embedding"}]})
    assert response.status_code == 422
    assert "answers no embedding" in response.json()["error"]


@pytest.mark.parametrize("path", [INFER, "/classify/batch"])
def test_recordings_that_find_no_room_are_the_service_s_fault(client: TestClient, path: str) -> None:
    """A limit on the size of files stands for a full disk; files under 1 MB stay in memory."""
    wav = encode(sweep(15.0), "wav")
    data, length = binary_request(
        {"name": "audio", "shape": [1], "datatype": "BYTES"}, len(wav).to_bytes(4, "little") + wav
    )
    form: dict[str, Any] = {"files": {"file": wav}}
    tensor: dict[str, Any] = {"content": data, "headers": {"Inference-Header-Content-Length": f"{length}"}}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
    try:
        response = client.post(path, **(tensor if path == INFER else form))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (response.status_code, response.json()["type"]) == (507, "urn:music-genre:storage-full")


def test_an_unforeseen_error_tells_nothing_of_itself(
    model_folder: Path, backend: GatedBackend, caplog: pytest.LogCaptureFixture
) -> None:
    client = TestClient(gated(model_folder, backend))
    backend.error = RuntimeError("the secret of the house")
    response = client.post(INFER, json=document())
    assert (response.status_code, response.json()["type"]) == (500, "urn:music-genre:internal-error")
    assert "secret" not in response.text
    assert "secret of the house" in caplog.text


def test_health_is_that_of_readyz(model_folder: Path, backend: GatedBackend) -> None:
    loading = TestClient(application(model_folder))
    for path in ("/v2/health/ready", f"/v2/models/{MODEL}/ready", f"/v2/models/{MODEL}"):
        response = loading.get(path)
        assert (response.status_code, response.headers["retry-after"]) == (503, "5")
        schema.expect("metadata_model_error_response", response.json())
    assert loading.get("/v2/health/live").json() == {"live": True}
    app = gated(model_folder, backend)
    app.state.drain.begin()
    client = TestClient(app)
    for path in ("/v2/health/ready", f"/v2/models/{MODEL}/ready"):
        assert client.get(path).json()["type"] == "urn:music-genre:draining"
