"""The recordings in the body of a request: fields `file` of a multipart form, or one that is the body itself."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from tempfile import SpooledTemporaryFile
from typing import Any, BinaryIO

from python_multipart.multipart import parse_options_header
from starlette.datastructures import FormData, Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from service.api.receiving import MAX_RECORDINGS
from service.decoding.upload import no_room
from service.errors import InvalidParameter

_FIELD = "file"
_FORM = "multipart/form-data"
_BODY_KINDS = ("audio/", "video/")
_BODY_TYPES = {"application/octet-stream", "binary/octet-stream", "application/ogg"}

# Fields that are no file are kept in memory.
_FORM_LIMITS = {"max_fields": 10, "max_part_size": 10_000}
# Files that a form may hold before it is refused for that; `recording` takes one.
_MAX_FILES = 10

# Enough to tell text from a recording, whose header has a NUL or bytes that are no UTF-8.
_HEAD_BYTES = 512

_BYTES_AS_THEY_ARE = {b"", b"binary", b"8bit", b"7bit"}
_HOW = (
    "Send the audio as multipart/form-data in one field `file`, with a file name, or as the body itself, with a "
    "Content-Type such as audio/mpeg or application/octet-stream."
)

_HOW_SEVERAL = (
    f"Send 1 to {MAX_RECORDINGS} audio files as multipart/form-data, each in a field `file` with a file name."
)

_FILE_SCHEMA = {"type": "string", "format": "binary", "description": "The recording."}
REQUEST_BODY: dict[str, Any] = {
    "required": True,
    "content": {
        _FORM: {"schema": {"type": "object", "required": [_FIELD], "properties": {_FIELD: _FILE_SCHEMA}}},
        **{kind: {"schema": _FILE_SCHEMA} for kind in ("audio/*", "video/*", "application/octet-stream")},
    },
}
"""The OpenAPI entry of a route that takes a recording."""

_FILES_SCHEMA = {"type": "array", "items": _FILE_SCHEMA, "minItems": 1, "maxItems": MAX_RECORDINGS}
SEVERAL_REQUEST_BODY: dict[str, Any] = {
    "required": True,
    "content": {_FORM: {"schema": {"type": "object", "required": [_FIELD], "properties": {_FIELD: _FILES_SCHEMA}}}},
}
"""The OpenAPI entry of a route that takes several."""


async def recording(request: Request) -> AsyncIterator[BinaryIO]:
    """The recording of a request, as a file that is closed after the request.

    Raises InvalidParameter when there is none, or more than one, and StorageFull or Overloaded when it cannot be kept.
    """
    try:
        form = await _read(request)
    except OSError as error:
        raise no_room(error) from error
    try:
        yield await _only_file(form)
    finally:
        await form.close()


async def recordings(request: Request) -> AsyncGenerator[list[UploadFile], None]:
    """The recordings of a request, as files that are closed after the request.

    Raises InvalidParameter when there are none, or too many, and StorageFull or Overloaded when they cannot be kept.
    """
    if content_type(request) != _FORM:
        raise InvalidParameter(_HOW_SEVERAL)
    try:
        form = await _read_form(request, MAX_RECORDINGS)
    except OSError as error:
        raise no_room(error) from error
    try:
        files = [file for file in form.getlist(_FIELD) if isinstance(file, UploadFile)]
        if not files or any([await _is_text_field(file) for file in files]):
            raise InvalidParameter(_HOW_SEVERAL)
        yield files
    finally:
        await form.close()


async def _read(request: Request) -> FormData:
    kind = content_type(request)
    if kind == _FORM:
        return await _read_form(request, _MAX_FILES)
    if is_audio(kind):
        return FormData([(_FIELD, await spool(request))])
    found = f"This body is declared as {kind[:60]}." if kind else "This request has no Content-Type."
    raise InvalidParameter(f"{found} {_HOW}")


def content_type(request: Request) -> str:
    """The declared type of a body in small letters, without its parameters; empty when none is declared."""
    return parse_options_header(request.headers.get("content-type"))[0].decode("latin-1")


def is_audio(kind: str) -> bool:
    """Whether a body of this type may be a recording as it is."""
    return kind.startswith(_BODY_KINDS) or kind in _BODY_TYPES


async def _read_form(request: Request, max_files: int) -> FormData:
    try:
        async with aclosing(request.stream()) as chunks:
            return await _RecordingForm(request.headers, chunks, max_files).parse()
    except MultiPartException as error:
        raise InvalidParameter(f"The body is not valid multipart/form-data. {error.message}") from error


async def spool(request: Request) -> UploadFile:
    """The body of a request as a file, which the caller closes. Raises OSError when it cannot be kept."""
    spooled: Any = SpooledTemporaryFile(max_size=MultiPartParser.spool_max_size)  # noqa: SIM115
    file = UploadFile(spooled, size=0, headers=request.headers)
    try:
        async with aclosing(request.stream()) as chunks:
            async for chunk in chunks:
                await file.write(chunk)
        await file.seek(0)
    except BaseException:
        spooled.close()
        raise
    return file


async def _only_file(form: FormData) -> BinaryIO:
    files = [file for file in form.getlist(_FIELD) if isinstance(file, UploadFile)]
    if len(files) > 1:
        raise InvalidParameter("Send the audio as multipart/form-data in one field `file`, one recording a request.")
    if not files or await _is_text_field(files[0]):
        raise InvalidParameter(_HOW)
    return files[0].file


class _RecordingForm(MultiPartParser):
    """starlette's form parser, which by itself takes a part for a text field unless it has a plain `filename`.

    Here the field `file` is always a file. Clients name it by `filename*` alone, or not at all.
    """

    def __init__(self, headers: Headers, chunks: AsyncGenerator[bytes, None], max_files: int) -> None:
        super().__init__(headers, self._whole(chunks), max_files=max_files, **_FORM_LIMITS)
        # A form has so much memory, not each of its files.
        self.spool_max_size = MultiPartParser.spool_max_size // max_files
        self._has_ended = False

    async def _whole(self, chunks: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
        async for chunk in chunks:
            yield chunk
        if not self._has_ended:
            raise MultiPartException("Its last boundary is missing.")

    def on_end(self) -> None:
        """Note that the last boundary has come."""
        self._has_ended = True

    def on_headers_finished(self) -> None:
        """Begin a part."""
        part = self._current_part
        disposition = part.content_disposition or b""
        _, options = parse_options_header(disposition)
        if options.get(b"name") == _FIELD.encode():
            encoding = dict(part.item_headers).get(b"content-transfer-encoding", b"")
            if encoding.strip().lower() not in _BYTES_AS_THEY_ARE:
                raise InvalidParameter("The field `file` has a Content-Transfer-Encoding. Send its bytes as they are.")
            if b"filename" not in options:
                part.content_disposition = disposition + b'; filename=""'
        super().on_headers_finished()


async def _is_text_field(file: UploadFile) -> bool:
    """Whether the field `file` is a text, such as the name that `curl -F file=song.mp3` sends in place of the file."""
    is_named = "filename" in file.headers.get("content-disposition", "").lower()
    if is_named or not (file.content_type or "text/plain").lower().startswith("text/"):
        return False
    head = await file.read(_HEAD_BYTES)
    await file.seek(0)
    try:
        head.decode()
    except UnicodeDecodeError as error:
        # The last letter may be cut.
        return error.start > _HEAD_BYTES - 4
    return b"\0" not in head
