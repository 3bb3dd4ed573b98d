"""The HTTP routes."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Annotated, BinaryIO

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import RedirectResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST

from service.api.classifying import REFUSALS, ClassifierDep, cancel_on_disconnect, request_id
from service.api.lines import MEDIA_TYPE, accepts_lines, answer_in_lines
from service.api.recording import REQUEST_BODY, recording
from service.audio.formats import FORMATS
from service.classification.classifier import Classifier
from service.classification.reload import Reloader
from service.classification.streaming import stream_windows
from service.errors import Draining, ModelLoading
from service.metrics import Metrics
from service.problems import responses
from service.schemas import (
    AnswerLine,
    Classification,
    ClassifyOptions,
    Health,
    ModelCard,
    ProblemLine,
    WindowLine,
    schema_of,
)

router = APIRouter()
"""Routes that need a key, once there are keys."""

open_router = APIRouter()
"""Routes that need no key: those of `authentication.PUBLIC_PATHS`."""


def _metrics(request: Request) -> Metrics:
    metrics: Metrics = request.app.state.metrics
    return metrics


def _reloader(request: Request) -> Reloader:
    reloader: Reloader = request.app.state.reloader
    return reloader


ReloaderDep = Annotated[Reloader, Depends(_reloader)]
RecordingDep = Annotated[BinaryIO, Depends(recording)]
MetricsDep = Annotated[Metrics, Depends(_metrics)]


_LINES_SCHEMA = schema_of(WindowLine | AnswerLine | ProblemLine)
_ETAG = {
    "description": "Not of lines. The same for the same bytes, model and parameters: all but `request_id` is the same.",
    "schema": {"type": "string"},
}


@router.post(
    "/classify",
    description=f"Tell the genre of a recording: {FORMATS}; mono or stereo, any rate.",
    response_model=Classification,
    response_model_exclude_none=True,
    tags=["classify"],
    openapi_extra={"requestBody": REQUEST_BODY},
    responses={
        200: {"content": {MEDIA_TYPE: {"schema": _LINES_SCHEMA}}, "headers": {"ETag": _ETAG}},
        **responses(*REFUSALS),
    },
)
async def classify(
    request: Request,
    response: Response,
    classifier: ClassifierDep,
    file: RecordingDep,
    options: Annotated[ClassifyOptions, Query()],
) -> Classification | Response:
    """Tell the genre of a recording; a client that accepts lines gets one a window as it is heard, the answer last."""
    if accepts_lines(request):
        return await answer_in_lines(request, _lines(classifier, file, options))
    work = classifier.classify(file, **options.model_dump())
    answer = await cancel_on_disconnect(request, work)
    if answer.etag:
        # Weak, as `request_id` differs from answer to answer.
        response.headers["ETag"] = f'W/"{answer.etag}"'
    return answer.model_copy(update={"request_id": request_id()})


async def _lines(
    classifier: Classifier, file: BinaryIO, options: ClassifyOptions
) -> AsyncGenerator[WindowLine | AnswerLine, None]:
    async with aclosing(stream_windows(classifier, file, options)) as lines:
        async for line in lines:
            if isinstance(line, Classification):
                yield AnswerLine(answer=line.model_copy(update={"request_id": request_id()}))
            else:
                yield line


@router.get("/model", tags=["operate"], responses=responses(ModelLoading, Draining))
async def model(classifier: ClassifierDep, reloader: ReloaderDep) -> ModelCard:
    """The loaded model, and everything that serving took from its repo."""
    engine = classifier.engine
    artefact = engine.artefact
    return ModelCard(
        id=artefact.model_id,
        revision=artefact.revision,
        backend=engine.backend.name,
        backend_note=engine.note,
        embedding=engine.answers_embeddings,
        familiarity=artefact.familiarity is not None,
        labels=list(artefact.labels),
        sampling_rate=artefact.window.sampling_rate,
        window_s=artefact.window.length_s,
        temperature=artefact.temperature,
        uncertain_below=artefact.confidence_threshold,
        thresholds=dict(zip(artefact.labels, artefact.thresholds, strict=True)) if artefact.thresholds else None,
        trained_on=artefact.trained_on,
        stale_since=reloader.stale_since and datetime.fromtimestamp(reloader.stale_since, UTC),
        defaulted=list(artefact.defaulted_fields),
    )


@open_router.get("/livez", tags=["operate"])
async def livez() -> Health:
    """The process is alive."""
    return Health(status="alive")


@open_router.get("/readyz", tags=["operate"], responses=responses(ModelLoading, Draining))
async def readyz(classifier: ClassifierDep) -> Health:
    """The model is loaded and warm."""
    _ = classifier.engine
    return Health(status="ready")


@open_router.get("/metrics", tags=["operate"], response_class=Response)
async def metrics(metrics: MetricsDep) -> Response:
    """The metrics in Prometheus' text format."""
    return Response(metrics.render(), media_type=CONTENT_TYPE_LATEST)


@open_router.get("/", tags=["operate"], response_class=RedirectResponse)
async def index(request: Request) -> Response:
    """Lead a browser to the page, or to the documentation where there is none."""
    return RedirectResponse(f"{request.scope.get('root_path', '')}{request.app.state.index}")
