"""Requests in JSON keep to the protocol's schema, and what is wrong with one is told in words."""

import json
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from tests.conftest import GENRES
from tests.service.api.open_inference.dialect import INFER, MODEL, RATE, document
from tests.service.application import post
from tests.support import open_inference_schema as schema
from tests.support.audio_files import sweep


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
