"""The answer to an inference request: one row a recording in each output tensor."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from starlette.responses import Response

from service.api.open_inference.body import HEADER_LENGTH
from service.api.open_inference.schemas import (
    Datatype,
    InferenceRequest,
    InferenceResponse,
    MetadataTensor,
    ResponseOutput,
)
from service.errors import InvalidParameter
from service.schemas import Classification

_EMBEDDING = "embedding"


def output_metadata(labels: Sequence[str], *, embedding: bool) -> list[MetadataTensor]:
    """The outputs of a model. embedding: whether it answers any."""
    shapes: list[tuple[str, Datatype, list[int]]] = [
        ("genre", "BYTES", [-1]),
        ("confidence", "FP32", [-1]),
        ("decision", "BYTES", [-1]),
        ("labels", "BYTES", [len(labels)]),
        ("scores", "FP32", [-1, len(labels)]),
        (_EMBEDDING, "FP32", [-1, -1]),
    ]
    return [
        MetadataTensor(name=name, datatype=datatype, shape=shape)
        for name, datatype, shape in shapes
        if embedding or name != _EMBEDDING
    ]


def asked_outputs(request: InferenceRequest, outputs: list[MetadataTensor]) -> dict[str, bool]:
    """The names of the outputs that a request asks for, and whether each is to follow the JSON as binary data.

    outputs: of the model. Raises InvalidParameter when there is no such output.
    """
    default = request.parameters.binary_data_output
    names = [output.name for output in outputs]
    if not request.outputs:
        return dict.fromkeys(names, default)
    for output in request.outputs:
        if output.name not in [*names, _EMBEDDING]:
            raise InvalidParameter(f"outputs: This model answers {', '.join(names)}.")
    return {
        output.name: default if output.parameters.binary_data is None else output.parameters.binary_data
        for output in request.outputs
    }


def wants_embedding(asked: dict[str, bool]) -> bool:
    """Whether the embedding is among the outputs that are asked for."""
    return _EMBEDDING in asked


def respond(
    response: InferenceResponse, asked: dict[str, bool], answers: list[Classification], labels: Sequence[str]
) -> Response:
    """The answer over HTTP: JSON, and behind it the tensors that are asked for as binary data.

    response: without outputs. answers: one a recording. labels: of the model, in the order of the scores.
    """
    binary = b""
    for name, is_binary in asked.items():
        values = _values(name, answers, labels)
        shape = [len(labels)] if name == "labels" else [len(answers)]
        if name in ("scores", _EMBEDDING):
            shape.append(len(values) // len(answers))
        output = ResponseOutput(name=name, datatype=_datatype(values), shape=shape)
        if is_binary:
            data = _encode(values)
            output.parameters = {"binary_data_size": len(data)}
            binary += data
        else:
            output.data = values
        response.outputs.append(output)
    text = json.dumps(response.model_dump(exclude_none=True), allow_nan=False).encode()
    if not any(asked.values()):
        return Response(text, media_type="application/json")
    return Response(text + binary, headers={HEADER_LENGTH: str(len(text))}, media_type="application/octet-stream")


def _values(name: str, answers: list[Classification], labels: Sequence[str]) -> Any:
    """The elements of an output, row by row."""
    if name == "labels":
        return list(labels)
    if name == "scores":
        rows = [{score.label: score.score for score in answer.scores} for answer in answers]
        return [row[label] for row in rows for label in labels]
    if name == _EMBEDDING:
        return [number for answer in answers for number in answer.embedding or []]
    return [getattr(answer, name) for answer in answers]


def _datatype(values: list[Any]) -> Datatype:
    return "BYTES" if isinstance(values[0], str) else "FP32"


def _encode(values: list[Any]) -> bytes:
    """A tensor as binary data: float32 in little endian, or texts, each behind its length in 4 bytes."""
    if _datatype(values) == "FP32":
        return np.array(values, "<f4").tobytes()
    return b"".join(len(text).to_bytes(4, "little") + text for text in (value.encode() for value in values))
