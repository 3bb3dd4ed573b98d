"""The binary extension: tensors behind the JSON, however they arrive."""

import io
import json

import numpy as np
import pytest
import soundfile
from starlette.testclient import TestClient

from service.api.open_inference.body import Inference, InferenceBody
from service.errors import InvalidParameter
from tests.service.api.open_inference.dialect import FLAC, INFER, RATE, binary_request
from tests.service.application import MP3
from tests.support.audio_files import sweep


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
