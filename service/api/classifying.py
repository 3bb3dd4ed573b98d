"""Shared by all ways to classify: the parts of the application that a route needs, and the end of work for a client
that disconnects."""

import asyncio
from collections.abc import Coroutine
from typing import Annotated, Any, TypeVar

from asgi_correlation_id import correlation_id
from fastapi import Depends, Request

from service.classification.classifier import Classifier
from service.errors import (
    AudioTooLong,
    AudioTooShort,
    ClientGone,
    DeadlineExceeded,
    Draining,
    InternalError,
    InvalidParameter,
    ModelLoading,
    NonFiniteScores,
    Overloaded,
    PayloadTooLarge,
    ServiceError,
    SilentAudio,
    StorageFull,
    UndecodableAudio,
    UnsupportedMedia,
    UploadTimeout,
)

T = TypeVar("T")

REFUSALS: tuple[type[ServiceError], ...] = (
    UndecodableAudio,
    PayloadTooLarge,
    AudioTooLong,
    UnsupportedMedia,
    AudioTooShort,
    SilentAudio,
    InvalidParameter,
    Overloaded,
    ModelLoading,
    Draining,
    DeadlineExceeded,
    StorageFull,
    UploadTimeout,
    NonFiniteScores,
    InternalError,
)
"""What a request to classify a recording may be refused with."""


def _classifier(request: Request) -> Classifier:
    classifier: Classifier = request.app.state.classifier
    return classifier


def _ready_classifier(request: Request) -> Classifier:
    if request.app.state.drain.begun:
        raise Draining()
    classifier = _classifier(request)
    _ = classifier.engine
    return classifier


ClassifierDep = Annotated[Classifier, Depends(_classifier)]

ReadyDep = Annotated[Classifier, Depends(_ready_classifier)]
"""The classifier, once it answers and as long as it takes new work. Raises ModelLoading or Draining otherwise."""


def request_id() -> str:
    """The id of the request that is answered."""
    return correlation_id.get() or ""


async def cancel_on_disconnect(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, which is cancelled when the client hangs up; ClientGone is raised then.

    The request's body must have been read.
    """
    working = asyncio.create_task(work)
    listening = asyncio.create_task(_hang_up(request))
    try:
        await asyncio.wait({working, listening}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientGone("The client hung up before the answer.")
        return working.result()
    finally:
        listening.cancel()
        working.cancel()
        # The work reads files that are closed after the request.
        await asyncio.wait({working})


async def _hang_up(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
