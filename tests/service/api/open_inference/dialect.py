"""Names of the Open Inference Protocol as the tests use them, and a request in its JSON."""

import json
from base64 import b64encode
from typing import Any

from tests.service.application import MP3
from tests.support.audio_files import encode, sweep

KEY = "key-of-the-tests-0123456789"
MODEL = "music-genre"
INFER = f"/v2/models/{MODEL}/infer"
RATE = 16_000
FLAC = encode(sweep(2.0), "flac")
OUTPUTS = {"genre", "confidence", "decision", "labels", "scores", "embedding"}


def bearer() -> dict[str, str]:
    """The headers of a request; Triton's client adds its own to them."""
    return {"Authorization": f"Bearer {KEY}"}


def document(**changes: Any) -> dict[str, Any]:
    """A request with one file in JSON; None leaves a field of its input out."""
    tensor = {"name": "audio", "shape": [1], "datatype": "BYTES", "data": [b64encode(MP3).decode()]} | changes
    return {"inputs": [{name: value for name, value in tensor.items() if value is not None}]}


def binary_request(tensor: dict[str, Any], data: bytes) -> tuple[bytes, int]:
    """A request with a tensor behind its JSON, and the length of the JSON."""
    tensor = tensor | {"parameters": {"sampling_rate": RATE, "binary_data_size": len(data)}}
    text = json.dumps({"inputs": [tensor]}).encode()
    return text + data, len(text)
