"""The audio-classification task as Hugging Face's Inference Endpoints speak it, for the clients that exist."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from importlib.metadata import version
from typing import Annotated, Any, BinaryIO, Literal

import numpy as np
from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict, Field

from service.api.classifying import REFUSALS, ClassifierDep, ReadyDep, cancel_on_disconnect
from service.api.json_body import JsonBody, validated
from service.api.json_values import WHOLE
from service.api.receiving import received
from service.api.recording import content_type, is_audio, spool
from service.decoding.upload import no_room
from service.errors import Draining, InvalidParameter, ModelLoading
from service.model.calibration import calibrated_probabilities
from service.problems import responses
from service.schemas import EndpointInfo, Health, LabelScore, schema_of

router = APIRouter(tags=["hugging face"])
"""Routes that need a key, once there are keys."""

open_router = APIRouter(tags=["hugging face"])
"""Routes that need no key: those of `authentication.PUBLIC_PATHS`."""

_JSON = "application/json"
# What curl declares for `--data-binary`, as the documentation of the Hub shows it.
_UNDECLARED = {"", "application/x-www-form-urlencoded"}

# Bytes of JSON besides the recording.
_MAX_JSON_BYTES = 64_000

_HOW = (
    "Send the audio file as the body, with a Content-Type such as audio/mpeg or none, or as JSON: "
    '{"inputs": "<base64>", "parameters": {"top_k": 5}}.'
)


class AudioClassificationParameters(BaseModel):
    """Parameters of the task."""

    model_config = ConfigDict(extra="forbid", strict=True)

    top_k: Annotated[int, Field(ge=1), WHOLE] | None = Field(
        None, description="How many scores to answer; all by default."
    )
    function_to_apply: Literal["softmax", "sigmoid", "none"] | None = Field(
        None,
        description="Left out, or the model's own (`sigmoid` if it tells several genres, else `softmax`): the scores "
        "of `/classify`. Any other, also `none` (plain logits), applies to the mean logits, which are not calibrated.",
    )


class AudioClassificationInput(BaseModel):
    """A recording and how to answer."""

    model_config = ConfigDict(extra="forbid", strict=True)

    inputs: str = Field(
        description="The audio file in base64.", json_schema_extra={"format": "byte", "contentEncoding": "base64"}
    )
    parameters: AudioClassificationParameters | None = None


@dataclass(frozen=True)
class _Task:
    file: BinaryIO
    parameters: AudioClassificationParameters


async def _task(request: Request) -> AsyncIterator[_Task]:
    kind = content_type(request)
    if kind == _JSON:
        body = JsonBody(_MAX_JSON_BYTES)
        async with received(request, body) as document:
            asked = validated(AudioClassificationInput, document)
            yield _Task(body.recording(asked.inputs), asked.parameters or AudioClassificationParameters())
    elif is_audio(kind) or kind in _UNDECLARED:
        try:
            file = await spool(request)
        except OSError as error:
            raise no_room(error) from error
        try:
            yield _Task(file.file, AudioClassificationParameters())
        finally:
            await file.close()
    else:
        raise InvalidParameter(f"This body is declared as {kind[:60]}. {_HOW}")


_RECORDING = {"type": "string", "format": "binary", "description": "The audio file."}
_REQUEST_BODY: dict[str, Any] = {
    "required": True,
    "content": {
        **{kind: {"schema": _RECORDING} for kind in ("audio/*", "video/*", "application/octet-stream")},
        _JSON: {"schema": schema_of(AudioClassificationInput, "validation")},
    },
}


async def _classify(
    request: Request, classifier: ClassifierDep, task: Annotated[_Task, Depends(_task)]
) -> list[LabelScore]:
    """Tell the genre of a recording, as the audio-classification task of Hugging Face: labels and scores, best first.

    The scores are those of `/classify`, unless another `function_to_apply` is asked for.
    """
    answer = await cancel_on_disconnect(request, classifier.classify(task.file))
    # By the answer, as another model may have been swapped in since.
    usual = "softmax" if answer.genres is None else "sigmoid"
    function = task.parameters.function_to_apply or usual
    scores = {score.label: score.score for score in answer.scores}
    if function != usual:
        scores = _apply(function, answer.logits)
    ranked = sorted(scores.items(), key=lambda pair: pair[1], reverse=True)
    return [LabelScore(label=label, score=score) for label, score in ranked[: task.parameters.top_k]]


for _path, _name in (("/", "audio_classification"), ("/predict", "predict")):
    router.add_api_route(
        _path,
        _classify,
        methods=["POST"],
        name=_name,
        operation_id=_name,
        summary="Audio classification, as Hugging Face's clients ask for it",
        openapi_extra={"requestBody": _REQUEST_BODY},
        responses=responses(*REFUSALS, in_dialect=True),
    )


@open_router.get("/health", responses=responses(ModelLoading, Draining, in_dialect=True))
async def health(_: ReadyDep) -> Health:
    """The model is loaded and warm: `/readyz` under the name that Inference Endpoints give it."""
    return Health(status="ready")


@router.get("/info", responses=responses(ModelLoading, Draining, in_dialect=True))
async def info(classifier: ClassifierDep) -> EndpointInfo:
    """The model and the task, as clients of Inference Endpoints read them."""
    artefact = classifier.engine.artefact
    return EndpointInfo(
        model_id=artefact.model_id,
        model_sha=artefact.revision,
        model_pipeline_tag="audio-classification",
        version=version("music-genre-service"),
    )


def _apply(function: str, logits: dict[str, float] | None) -> dict[str, float]:
    """The scores by label that a function makes of logits."""
    if logits is None:
        raise InvalidParameter("parameters.function_to_apply: this model answers no logits. Leave it out.")
    if function == "none":
        return logits
    values = np.array(list(logits.values()))
    probabilities = calibrated_probabilities(values, 1.0, is_multi_label=function == "sigmoid")
    return dict(zip(logits, probabilities.tolist(), strict=True))
