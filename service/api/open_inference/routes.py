"""The routes of the protocol. The service has one model, under one name, and its commit is the version."""

import re
from collections.abc import AsyncIterator
from contextlib import aclosing
from importlib.metadata import version
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request
from starlette.responses import Response

from service.api.classifying import REFUSALS, ClassifierDep, ReadyDep, cancel_on_disconnect
from service.api.open_inference.answer import asked_outputs, output_metadata, respond, wants_embedding
from service.api.open_inference.body import HEADER_LENGTH, Inference, InferenceBody
from service.api.open_inference.schemas import (
    InferenceRequest,
    InferenceResponse,
    MetadataTensor,
    ModelMetadata,
    ModelReady,
    ServerLive,
    ServerMetadata,
    ServerReady,
)
from service.api.receiving import received
from service.classification.classifier import Classifier
from service.classification.several import classify_several
from service.errors import Draining, InvalidParameter, ModelLoading, ModelNotFound, ServiceError
from service.problems import responses
from service.schemas import Classification, ClassifyOptions, schema_of

router = APIRouter(prefix="/v2", tags=["open inference protocol"])
"""Routes that need a key, once there are keys."""

open_router = APIRouter(prefix="/v2/health", tags=["open inference protocol"])
"""Routes that need no key: those of `authentication.PUBLIC_PATHS`."""

MODEL_NAME = "music-genre"

_NOT_READY = (ModelLoading, Draining)
_RETRY_SWAPPED_S = 1

_LENGTH = re.compile("[0-9]{1,18}")

_INPUTS = [
    MetadataTensor(name="audio", datatype="BYTES", shape=[-1]),
    MetadataTensor(name="waveform", datatype="FP32", shape=[-1, -1]),
]


def _require_model(model_name: Annotated[str, Path(json_schema_extra={"enum": [MODEL_NAME]})]) -> None:
    if model_name != MODEL_NAME:
        raise ModelNotFound(f"There is no such model. The name of the model is {MODEL_NAME}.")


def _require_version(
    model_version: Annotated[str, Path(description="Commit of the model repo that answers.")], classifier: ClassifierDep
) -> None:
    revision = classifier.engine.artefact.revision
    if model_version != revision:
        raise ModelNotFound(f"There is no such version. That of the model is {revision}.")


@open_router.get("/live")
async def live() -> ServerLive:
    """The process is alive: `/livez` under the name that the protocol gives it."""
    return ServerLive(live=True)


@open_router.get("/ready", responses=responses(*_NOT_READY, in_dialect=True))
async def ready(_: ReadyDep) -> ServerReady:
    """The model is loaded and warm: `/readyz` under the name that the protocol gives it."""
    return ServerReady(ready=True)


@router.get("")
async def server_metadata() -> ServerMetadata:
    """The service, as a server of the protocol."""
    name = "music-genre-service"
    return ServerMetadata(name=name, version=version(name), extensions=["binary_tensor_data"])


async def _model_metadata(classifier: ClassifierDep) -> ModelMetadata:
    """The model's inputs and outputs; a request holds one of the inputs."""
    engine = classifier.engine
    return ModelMetadata(
        name=MODEL_NAME,
        versions=[engine.artefact.revision],
        platform=engine.backend.name,
        inputs=_INPUTS,
        outputs=output_metadata(engine.artefact.labels, embedding=engine.answers_embeddings),
    )


async def _model_ready(_: ReadyDep) -> ModelReady:
    """The model is loaded and warm."""
    return ModelReady(name=MODEL_NAME, ready=True)


async def _inference(request: Request) -> AsyncIterator[Inference]:
    length = request.headers.get(HEADER_LENGTH)
    if length is not None and not _LENGTH.fullmatch(length):
        raise InvalidParameter(f"The header {HEADER_LENGTH} is the number of bytes of JSON before the binary data.")
    async with received(request, InferenceBody(None if length is None else int(length))) as inference:
        yield inference


async def _infer(
    request: Request, classifier: ReadyDep, inference: Annotated[Inference, Depends(_inference)]
) -> Response:
    """Tell the genre of one or several recordings, each of which is one row in the outputs.

    `audio` holds encoded files, in base64 where they are in the JSON; `waveform` holds mono samples, with the parameter
    `sampling_rate`. Tensors may follow the JSON as binary data, in requests and answers.
    """
    engine = classifier.engine
    labels = engine.artefact.labels
    asked = asked_outputs(inference.request, output_metadata(labels, embedding=engine.answers_embeddings))
    work = _classify(classifier, inference, embedding=wants_embedding(asked))
    answers = await cancel_on_disconnect(request, work)
    if any(answer.model != engine.reference for answer in answers):
        raise ModelLoading("The model was swapped meanwhile. Send it again.", retry_after_s=_RETRY_SWAPPED_S)
    response = InferenceResponse(
        model_name=MODEL_NAME, model_version=engine.artefact.revision, id=inference.request.id, outputs=[]
    )
    return respond(response, asked, answers, labels)


async def _classify(classifier: Classifier, inference: Inference, *, embedding: bool) -> list[Classification]:
    """The answers about all recordings, in their order. Raises the first error of any, which names the recording."""
    answers: dict[int, Classification] = {}
    count = len(inference.files)
    async with aclosing(classify_several(classifier, inference.files, ClassifyOptions(embedding=embedding))) as results:
        async for index, result in results:
            if isinstance(result, ServiceError):
                if count > 1:
                    result.detail = f"Recording {index + 1} of {count}: {result.detail}"
                raise result
            answers[index] = result
    return [answers[index] for index in range(count)]


_BINARY: dict[str, Any] = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
_REQUEST_BODY = {
    "required": True,
    "content": {"application/json": {"schema": schema_of(InferenceRequest, "validation")}, **_BINARY},
}

_NAMED = [Depends(_require_model)]
for _path, _suffix, _requirements in (
    ("/models/{model_name}", "", _NAMED),
    ("/models/{model_name}/versions/{model_version}", "_of_version", [*_NAMED, Depends(_require_version)]),
):
    router.add_api_route(
        _path,
        _model_metadata,
        operation_id=f"model_metadata{_suffix}",
        name=f"model_metadata{_suffix}",
        dependencies=_requirements,
        responses=responses(ModelNotFound, *_NOT_READY, in_dialect=True),
    )
    router.add_api_route(
        f"{_path}/ready",
        _model_ready,
        operation_id=f"model_ready{_suffix}",
        name=f"model_ready{_suffix}",
        dependencies=_requirements,
        responses=responses(ModelNotFound, *_NOT_READY, in_dialect=True),
    )
    router.add_api_route(
        f"{_path}/infer",
        _infer,
        methods=["POST"],
        operation_id=f"infer{_suffix}",
        name=f"infer{_suffix}",
        dependencies=_requirements,
        response_class=Response,
        openapi_extra={"requestBody": _REQUEST_BODY},
        responses={
            200: {"model": InferenceResponse, "description": "The output tensors.", "content": _BINARY},
            **responses(ModelNotFound, *REFUSALS, in_dialect=True),
        },
    )
