"""`tritonclient`, as people use it for KServe and Triton, gets the answers of `/classify`."""

import asyncio
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
import soundfile
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio
from tritonclient.utils import InferenceServerException

from tests.conftest import GENRES
from tests.service.api.open_inference.dialect import FLAC, KEY, MODEL, OUTPUTS, RATE, bearer
from tests.service.application import MP3, application
from tests.support import open_inference_schema as schema
from tests.support.audio_files import sweep
from tests.support.serving import serving


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
