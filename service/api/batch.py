"""The route for several recordings in one request."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from starlette.datastructures import UploadFile
from starlette.responses import Response

from service.api.classifying import REFUSALS, ReadyDep, request_id
from service.api.lines import MEDIA_TYPE, answer_in_lines
from service.api.receiving import MAX_RECORDINGS
from service.api.recording import SEVERAL_REQUEST_BODY, recordings
from service.classification.classifier import Classifier
from service.classification.several import classify_several
from service.errors import ServiceError
from service.problems import describe, responses
from service.schemas import ClassifyOptions, FileLine, schema_of

router = APIRouter(tags=["classify"])
"""Routes that need a key, once there are keys."""


@router.post(
    "/classify/batch",
    description=f"Tell the genre of up to {MAX_RECORDINGS} recordings: a line a file, as results come.",
    response_class=Response,
    openapi_extra={"requestBody": SEVERAL_REQUEST_BODY},
    responses={
        200: {"description": "Lines of JSON.", "content": {MEDIA_TYPE: {"schema": schema_of(FileLine)}}},
        **responses(*REFUSALS),
    },
)
async def classify_batch(
    request: Request,
    classifier: ReadyDep,
    files: Annotated[list[UploadFile], Depends(recordings)],
    options: Annotated[ClassifyOptions, Query()],
) -> Response:
    """Tell the genre of several recordings; one that cannot be classified has a problem in place of its answer."""
    return await answer_in_lines(request, _file_lines(classifier, files, options))


async def _file_lines(
    classifier: Classifier, files: list[UploadFile], options: ClassifyOptions
) -> AsyncGenerator[FileLine, None]:
    async with aclosing(classify_several(classifier, [file.file for file in files], options)) as results:
        async for index, result in results:
            line = FileLine(index=index, file=files[index].filename or "")
            if isinstance(result, ServiceError):
                classifier.record_refusal(result)
                line.problem = describe(result)
            else:
                line.answer = result.model_copy(update={"request_id": request_id()})
            yield line
