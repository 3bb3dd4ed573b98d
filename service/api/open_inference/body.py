"""The body of an inference request: JSON, and behind it the tensor where the client sends it as binary data.

Source: "Binary Tensor Data Extension" of Triton's protocol, which KServe supports, too.
"""

import math
from dataclasses import dataclass
from typing import BinaryIO

from service.api.json_body import JsonBody, flat, validated
from service.api.open_inference.schemas import InferenceRequest, RequestInput
from service.api.open_inference.tensors import EncodedTensor, WaveformTensor, check_count, require_count
from service.errors import InvalidParameter

HEADER_LENGTH = "Inference-Header-Content-Length"
"""The header that says how many bytes of JSON stand before binary data."""

# Bytes of JSON besides the recordings.
_MAX_JSON_BYTES = 64_000

_DATATYPES = {"audio": "BYTES", "waveform": "FP32"}
# These change what a request means, and cannot be ignored.
_UNSUPPORTED = {"shared_memory_region", "classification"}


@dataclass(frozen=True)
class Inference:
    """An inference request, and one file for each of its recordings."""

    request: InferenceRequest
    files: list[BinaryIO]


class InferenceBody:
    """An inference request as it arrives.

    header_length: bytes of JSON, as `HEADER_LENGTH` says them; None where there is nothing else.
    """

    def __init__(self, header_length: int | None) -> None:
        self._json = JsonBody(_MAX_JSON_BYTES)
        self._header_left = header_length
        self._request: InferenceRequest | None = None
        self._tensor: EncodedTensor | WaveformTensor | None = None
        self._received = 0

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes. Raises InvalidParameter, and OSError when the recordings cannot be kept."""
        if self._request is None:
            head = chunk[: self._header_left]
            chunk = chunk[len(head) :]
            self._json.feed(head)
            if self._header_left is None:
                return
            self._header_left -= len(head)
            if self._header_left:
                return
            self._request = self._read_json()
        self._received += len(chunk)
        if chunk and self._tensor:
            self._tensor.write(chunk)

    def end(self) -> Inference:
        """The request, complete. Raises InvalidParameter, and OSError when the recordings cannot be kept."""
        request = self._request or self._read_json()
        tensor = request.inputs[0]
        size = tensor.parameters.binary_data_size
        if self._received != (size or 0):
            raise InvalidParameter(
                f"There are {self._received} bytes of binary data in the body, and binary_data_size is {size or 0}. "
                f"The header {HEADER_LENGTH} says where they begin."
            )
        if self._tensor is None:
            return Inference(request, self._files_in_json(tensor))
        if size is None:
            for piece in self._json.samples(tensor.data or []):
                self._tensor.write(piece)
        self._tensor.end()
        return Inference(request, self._tensor.files)

    def close(self) -> None:
        """Delete the files."""
        self._json.close()
        if self._tensor:
            self._tensor.close()

    def _read_json(self) -> InferenceRequest:
        request = validated(InferenceRequest, self._json.end())
        tensor = request.inputs[0]
        _check(request, tensor)
        if tensor.name == "waveform":
            rate = tensor.parameters.sampling_rate or request.parameters.sampling_rate
            if rate is None:
                raise InvalidParameter("inputs.0.parameters.sampling_rate: `waveform` needs it, in Hz.")
            self._tensor = WaveformTensor(tensor.shape, rate)
        elif tensor.parameters.binary_data_size is not None:
            self._tensor = EncodedTensor(math.prod(tensor.shape))
        return request

    def _files_in_json(self, tensor: RequestInput) -> list[BinaryIO]:
        count = math.prod(tensor.shape)
        check_count(count)
        texts = list(flat(tensor.data or []))
        require_count(len(texts), count)
        if not all(isinstance(text, str) for text in texts):
            raise InvalidParameter("inputs.0.data: The files of `audio` are strings, in base64.")
        return [self._json.recording(text) for text in texts]


def _check(request: InferenceRequest, tensor: RequestInput) -> None:
    if tensor.datatype != _DATATYPES[tensor.name]:
        raise InvalidParameter(f"inputs.0.datatype: That of `{tensor.name}` is {_DATATYPES[tensor.name]}.")
    if (tensor.data is None) == (tensor.parameters.binary_data_size is None):
        raise InvalidParameter("inputs.0: It needs either `data` or the parameter `binary_data_size`.")
    for parameters in (tensor.parameters, *(output.parameters for output in request.outputs or [])):
        for name in _UNSUPPORTED & (parameters.model_extra or {}).keys():
            raise InvalidParameter(f"parameters.{name}: This server has no such extension.")
