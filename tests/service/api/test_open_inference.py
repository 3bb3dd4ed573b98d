"""The Open Inference Protocol: what Triton's own client sends to a running service, and the protocol's schema."""

import asyncio
import io
import json
import resource
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
import soundfile
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio
from starlette.testclient import TestClient
from tritonclient.utils import InferenceServerException

from service.api.open_inference.body import Inference, InferenceBody
from service.errors import InvalidParameter
from service.inference.engine import Engine
from tests.conftest import GENRES
from tests.service.application import MP3, GatedBackend, application, gated, post, until_queued
from tests.support import open_inference_schema as schema
from tests.support.audio_files import encode, sweep
from tests.support.serving import serving

KEY = "key-of-the-tests-0123456789"
MODEL = "music-genre"
INFER = f"/v2/models/{MODEL}/infer"
RATE = 16_000
FLAC = encode(sweep(2.0), "flac")
OUTPUTS = {"genre", "confidence", "decision", "labels", "scores", "embedding"}


def bearer() -> dict[str, str]:
    """The headers of a request; Triton's client adds its own to them."""
    return {"Authorization": f"Bearer {KEY}"}


@pytest.fixture(scope="module")
def url(model_folder: Path) -> Iterator[str]:
    with serving(application(model_folder, page=False, api_keys=KEY)) as url:
        yield url


@pytest.fixture(scope="module")
def server(url: str) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(url.removeprefix("http://")) as server:
        yield server


def classify(url: str, data: bytes) -> dict[str, Any]:
    query = {"embedding": True}
    answer = httpx2.post(f"{url}/classify", files={"file": data}, params=query, headers=bearer())
    result: dict[str, Any] = answer.raise_for_status().json()
    return result


def audio(*files: bytes, column: bool = False) -> Any:
    array = np.array([*files, None], object)[:-1]
    array = array[:, None] if column else array
    tensor = triton.InferInput("audio", list(array.shape), "BYTES")
    return tensor.set_data_from_numpy(array)


def waveform(samples: Any, *, binary: bool = True) -> Any:
    tensor = triton.InferInput("waveform", list(samples.shape), "FP32")
    return tensor.set_data_from_numpy(samples, binary_data=binary)


def expect_row(result: Any, row: int, answer: dict[str, Any]) -> None:
    """Expect that a row of the outputs is what `/classify` answers."""
    labels = [label.decode() for label in result.as_numpy("labels")]
    assert labels == list(GENRES)
    scores = {score["label"]: score["score"] for score in answer["scores"]}
    assert result.as_numpy("scores")[row] == pytest.approx([scores[label] for label in labels], rel=1e-5)
    assert result.as_numpy("genre")[row].decode() == answer["genre"]
    assert result.as_numpy("decision")[row].decode() == answer["decision"]
    assert result.as_numpy("confidence")[row] == pytest.approx(answer["confidence"], rel=1e-5)
    assert result.as_numpy("embedding")[row] == pytest.approx(answer["embedding"], rel=1e-4, abs=1e-6)


def test_triton_client_reads_health_and_metadata(url: str, server: triton.InferenceServerClient) -> None:
    assert server.is_server_live()
    assert server.is_server_ready()
    assert server.is_model_ready(MODEL, headers=bearer())
    about = server.get_server_metadata(headers=bearer())
    schema.expect("metadata_server_response", about)
    assert about["extensions"] == ["binary_tensor_data"]
    model = server.get_model_metadata(MODEL, headers=bearer())
    schema.expect("metadata_model_response", model)
    assert [tensor["name"] for tensor in model["inputs"]] == ["audio", "waveform"]
    assert {tensor["name"] for tensor in model["outputs"]} == OUTPUTS
    (version,) = model["versions"]
    assert version == httpx2.get(f"{url}/model", headers=bearer()).json()["revision"]
    assert server.get_model_metadata(MODEL, version, headers=bearer()) == model
    assert server.is_model_ready(MODEL, version, headers=bearer())


def test_triton_client_gets_the_answers_of_classify_for_several_files(
    url: str, server: triton.InferenceServerClient
) -> None:
    for column in (False, True):
        result = server.infer(MODEL, [audio(MP3, FLAC, column=column)], request_id="42", headers=bearer())
        assert result.get_response()["id"] == "42"
        assert {output["name"] for output in result.get_response()["outputs"]} == OUTPUTS
        assert result.as_numpy("scores").shape == (2, len(GENRES))
        for row, file in enumerate((MP3, FLAC)):
            expect_row(result, row, classify(url, file))


def test_async_triton_client_gets_the_same(url: str) -> None:
    async def ask() -> Any:
        async with triton_aio.InferenceServerClient(url.removeprefix("http://")) as server:
            return await server.infer(MODEL, [audio(MP3)], headers=bearer())

    expect_row(asyncio.run(ask()), 0, classify(url, MP3))


@pytest.mark.parametrize("binary", [True, False])
def test_a_waveform_is_heard_as_a_file_of_the_same_samples(
    url: str, server: triton.InferenceServerClient, binary: bool
) -> None:
    samples = sweep(1.5, RATE)
    file = io.BytesIO()
    soundfile.write(file, samples, RATE, "FLOAT", format="WAV")
    answer = classify(url, file.getvalue())
    rate = {"sampling_rate": RATE}
    result = server.infer(MODEL, [waveform(samples, binary=binary)], parameters=rate, headers=bearer())
    expect_row(result, 0, answer)
    rows = np.stack([0.1 * samples[::-1], samples])
    result = server.infer(MODEL, [waveform(rows, binary=binary)], parameters=rate, headers=bearer())
    expect_row(result, 1, answer)


@pytest.mark.parametrize("binary", [True, False])
def test_only_what_is_asked_for_is_answered(server: triton.InferenceServerClient, binary: bool) -> None:
    asked = [triton.InferRequestedOutput(name, binary_data=binary) for name in ("embedding", "genre")]
    result = server.infer(MODEL, [audio(MP3)], outputs=asked, headers=bearer())
    assert [output["name"] for output in result.get_response()["outputs"]] == ["embedding", "genre"]
    assert all(("data" in output) != binary for output in result.get_response()["outputs"])
    assert result.as_numpy("embedding").ndim == 2
    assert result.as_numpy("genre")[0] in ([genre.encode() for genre in GENRES] if binary else GENRES)


def test_triton_client_shows_what_to_do(server: triton.InferenceServerClient) -> None:
    with pytest.raises(InferenceServerException, match="415.*Recording 2 of 2: The file is not audio"):
        server.infer(MODEL, [audio(MP3, MP3[:40])], headers=bearer())
    with pytest.raises(InferenceServerException, match="Send an API key"):
        server.infer(MODEL, [audio(MP3)])
    with pytest.raises(InferenceServerException, match="404.*The name of the model is music-genre"):
        server.infer("resnet50", [audio(MP3)], headers=bearer())
    with pytest.raises(InferenceServerException, match="404.*There is no such version"):
        server.get_model_metadata(MODEL, "2", headers=bearer())
    with pytest.raises(InferenceServerException, match="sampling_rate"):
        server.infer(MODEL, [waveform(sweep(1.0, RATE))], headers=bearer())
    classes = triton.InferRequestedOutput("scores", class_count=3)
    with pytest.raises(InferenceServerException, match="classification: This server has no such extension"):
        server.infer(MODEL, [audio(MP3)], outputs=[classes], headers=bearer())


def document(**changes: Any) -> dict[str, Any]:
    """A request with one file in JSON; None leaves a field of its input out."""
    tensor = {"name": "audio", "shape": [1], "datatype": "BYTES", "data": [b64encode(MP3).decode()]} | changes
    return {"inputs": [{name: value for name, value in tensor.items() if value is not None}]}


def test_json_keeps_to_the_schema_of_the_protocol(client: TestClient) -> None:
    assert client.post(INFER, content=json.dumps({"id": "\ud800"} | document())).json()["id"] == "\ud800"
    request = {"id": "7", "parameters": {"priority": 1, "content_type": "base64"}} | document()
    schema.expect("inference_request", request)
    response = client.post(INFER, json=request)
    assert response.headers["content-type"] == "application/json"
    answer = response.json()
    schema.expect("inference_response", answer)
    assert (answer["model_name"], answer["id"]) == (MODEL, "7")
    outputs = {output["name"]: output for output in answer["outputs"]}
    assert outputs["scores"]["shape"] == [1, len(GENRES)]
    assert outputs["genre"]["data"] == [post(client).json()["genre"]]
    for name in ("live", "ready"):
        assert client.get(f"/v2/health/{name}").json() == {name: True}
    schema.expect("metadata_server_response", client.get("/v2/", follow_redirects=True).json())


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        ([], "body: "),
        ({"inputs": []}, "inputs: "),
        ({"inputs": document()["inputs"] * 2}, "inputs: "),
        (document(name="image"), "inputs.0.name: "),
        (document(datatype="FP32"), "inputs.0.datatype: That of `audio` is BYTES."),
        (document(shape=[2]), "another number of files than its shape says, 2"),
        (document(shape=[-1]), "inputs.0.shape.0: "),
        (document(shape=[0], data=[]), "1 to 64 recordings"),
        (document(shape=[10_000, 10_000]), "1 to 64 recordings"),
        (document(data=None), "either `data` or the parameter `binary_data_size`"),
        (document(data=None, parameters={"binary_data_size": 4}), "0 bytes of binary data in the body"),
        (document(data=None, parameters={"shared_memory_region": "x"}), "either `data`"),
        (document(parameters={"shared_memory_region": "x"}), "shared_memory_region: This server has no such extension"),
        (document(shape=[10**900]), "inputs.0.shape"),
        (document(data=[3]), "strings, in base64"),
        (document(data=["https://example.org/song.mp3"]), "fetches nothing"),
        (document() | {"outputs": [{"name": "mood"}]}, "This model answers genre, confidence, "),
        (document() | {"parameters": {"binary_data_output": "yes"}}, "parameters.binary_data_output: "),
    ],
)
def test_a_request_that_is_not_right_is_refused_in_words(client: TestClient, request_: Any, error: str) -> None:
    response = client.post(INFER, content=json.dumps(request_))
    assert response.status_code == 422, response.text
    schema.expect("inference_error_response", response.json())
    assert error in response.json()["error"]
    assert response.json()["type"] == "urn:music-genre:invalid-parameter"


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"shape": [3]}, "more samples than its shape says"),
        ({"shape": [2, 3]}, "fewer samples than its shape says"),
        ({"shape": [1, 2, 2]}, r"[samples] or [recordings, samples]"),
        ({"shape": [65, 1]}, "1 to 64 recordings"),
        ({"shape": [1 << 40]}, "longer than a request can be"),
        ({"data": [0.1, "x", 0.3, 0.4]}, "holds something else"),
        ({"data": [0.1, True, 0.3, 0.4]}, "holds something else"),
        ({"data": [0.1, 1e39, 0.3, 0.4]}, "do not fit into float32"),
        ({"data": [0.1] * 2_000 + [10**400]}, "do not fit into float32"),
        ({"data": [0.1] * 2_000 + ["x"]}, "holds something else"),
        ({"data": [0.1] * 2_000 + [None]}, "holds something else"),
        ({"data": [[[0.1]]] * 20_000}, "more than 0.064 MB besides audio"),
        ({"parameters": {"sampling_rate": 0}}, "sampling_rate: "),
        ({"parameters": None}, "sampling_rate: `waveform` needs it, in Hz."),
    ],
)
def test_a_waveform_that_is_not_right_is_refused_in_words(
    client: TestClient, changes: dict[str, Any], error: str
) -> None:
    sent = {"name": "waveform", "shape": [4], "datatype": "FP32", "data": [0.1, 0.2, 0.3, 0.4]}
    request = document(**sent | {"parameters": {"sampling_rate": RATE}} | changes)
    response = client.post(INFER, json=request)
    assert response.status_code == 422, response.text
    assert error in response.json()["error"]


@pytest.mark.parametrize("nan", [np.nan, np.inf])
def test_samples_that_are_no_numbers_are_refused(client: TestClient, nan: float) -> None:
    samples = sweep(1.0, RATE)
    samples[RATE // 2] = nan
    sent = {"name": "waveform", "shape": [RATE], "datatype": "FP32", "data": samples.tolist()}
    text = json.dumps(document(**sent, parameters={"sampling_rate": RATE}))
    response = client.post(INFER, content=text)
    assert (response.status_code, response.json()["type"]) == (400, "urn:music-genre:undecodable-audio")


def binary_request(tensor: dict[str, Any], data: bytes) -> tuple[bytes, int]:
    tensor = tensor | {"parameters": {"sampling_rate": RATE, "binary_data_size": len(data)}}
    text = json.dumps({"inputs": [tensor]}).encode()
    return text + data, len(text)


def read(data: bytes, header_length: int | None, size: int) -> list[bytes]:
    """The files of a request that arrives in chunks of some size."""
    body = InferenceBody(header_length)
    try:
        for at in range(0, len(data), size):
            body.feed(data[at : at + size])
        inference: Inference = body.end()
        return [file.read() for file in inference.files]
    finally:
        body.close()


@pytest.mark.parametrize("size", [1, 3, 64, 100_000])
def test_a_request_is_the_same_however_it_arrives(size: int) -> None:
    files = [MP3[:301], b"", FLAC[:1_000]]
    tensor = b"".join(len(file).to_bytes(4, "little") + file for file in files)
    sent = binary_request({"name": "audio", "shape": [3], "datatype": "BYTES"}, tensor)
    assert read(*sent, size) == files
    rows = np.stack([sweep(0.02, RATE), -sweep(0.02, RATE)])
    about = {"name": "waveform", "shape": list(rows.shape), "datatype": "FP32"}
    in_json = {"inputs": [about | {"data": rows.tolist(), "parameters": {"sampling_rate": RATE}}]}
    for data, header_length in (binary_request(about, rows.tobytes()), (json.dumps(in_json, indent=1).encode(), None)):
        found = [soundfile.read(io.BytesIO(file), dtype="float32") for file in read(data, header_length, size)]
        assert [rate for _, rate in found] == [RATE, RATE]
        assert np.array_equal([samples for samples, _ in found], rows)


@pytest.mark.parametrize(
    ("tensor", "error"),
    [
        (b"\x05\0\0\0abc", "shorter than its length"),
        (b"\x03\0\0\0abc\x03", "shorter than its length"),
        (b"\x03\0\0\0abc" * 2, "another number of files"),
        (b"", "another number of files"),
    ],
)
def test_binary_data_that_is_not_right_is_refused(tensor: bytes, error: str) -> None:
    sent = binary_request({"name": "audio", "shape": [1], "datatype": "BYTES"}, tensor)
    with pytest.raises(InvalidParameter, match=error):
        read(*sent, 1_000)


@pytest.mark.parametrize("length", ["x", "-1", "0", "9" * 18, "9" * 5_000])
def test_a_length_of_the_json_that_is_not_right_is_refused(client: TestClient, length: str) -> None:
    data, _ = binary_request({"name": "audio", "shape": [1], "datatype": "BYTES"}, b"\x01\0\0\0x")
    response = client.post(INFER, content=data, headers={"Inference-Header-Content-Length": length})
    assert response.status_code == 422, response.text


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
