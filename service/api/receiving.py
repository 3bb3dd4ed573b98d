"""Bodies that are read as they arrive, into files that are deleted after the request."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from tempfile import SpooledTemporaryFile
from typing import Any, BinaryIO, Protocol, TypeVar, cast

from starlette.formparsers import MultiPartParser
from starlette.requests import Request

from service.decoding.upload import no_room

Document = TypeVar("Document", covariant=True)


MAX_RECORDINGS = 64
"""How many recordings a request holds."""


def spooled_file() -> BinaryIO:
    """An empty file that the caller closes, in memory until it is large: all of a request take a megabyte at most."""
    file: Any = SpooledTemporaryFile(max_size=MultiPartParser.spool_max_size // MAX_RECORDINGS)  # noqa: SIM115
    return cast(BinaryIO, file)


class Body(Protocol[Document]):
    """The body of a request as it arrives."""

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes. Raises InvalidParameter, and OSError when a file cannot be written."""

    def end(self) -> Document:
        """What has arrived. Raises what `feed` raises."""

    def close(self) -> None:
        """Delete the files."""


@asynccontextmanager
async def received(request: Request, body: Body[Document]) -> AsyncIterator[Document]:
    """What a body holds once it has arrived; its files are open while the block runs.

    Raises InvalidParameter, and StorageFull or Overloaded when the files cannot be kept.
    """
    try:
        try:
            async with aclosing(request.stream()) as chunks:
                async for chunk in chunks:
                    await asyncio.to_thread(body.feed, chunk)
            document = await asyncio.to_thread(body.end)
        except OSError as error:
            raise no_room(error) from error
        yield document
    finally:
        body.close()
