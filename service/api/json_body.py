"""JSON bodies that hold recordings in base64: read in bounded memory, each recording into a file of its own."""

import asyncio
import binascii
import io
import json
import re
import secrets
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from tempfile import SpooledTemporaryFile
from typing import Any, BinaryIO, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.formparsers import MultiPartParser
from starlette.requests import Request

from service.decoding.upload import no_room
from service.errors import InvalidParameter

Model = TypeVar("Model", bound=BaseModel)

# Longer strings can only be recordings.
_LONG = 1_024

_MAX_RECORDINGS = 64

# What a string holds up to its end, the end of a chunk, or an escape that the chunk cuts.
_CONTENT = re.compile(rb'(?:[^"\\]++|\\[^u]|\\u.{4})*+', re.DOTALL)
_BLANKS = b" \t\r\n"

_NOT_BASE64 = (
    "A recording in the JSON is not base64. Encode the bytes of the audio file as standard base64, with its padding "
    "and without a prefix such as data:audio/mpeg;base64. The service fetches nothing from addresses."
)


class JsonBody:
    """A JSON document as it arrives. Its long strings, which have to be base64, are decoded into files.

    max_bytes: bound on everything else in the document, which is kept in memory.
    """

    def __init__(self, max_bytes: int) -> None:
        self.files: list[BinaryIO] = []
        self._max_bytes = max_bytes
        # Stands in the document for a file, with its number behind it.
        self._mark = secrets.token_hex(8)
        self._rest = bytearray()
        self._is_inside = False
        self._string = bytearray()
        self._decoder: _Base64Decoder | None = None
        self._held = b""

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes. Raises InvalidParameter, and OSError when a file cannot be written."""
        chunk, self._held = self._held + chunk, b""
        position = 0
        while position < len(chunk):
            position = self._read_inside(chunk, position) if self._is_inside else self._read_outside(chunk, position)
            if len(self._rest) > self._max_bytes:
                raise InvalidParameter(
                    f"The JSON holds more than {self._max_bytes / 1e6:g} MB besides recordings in base64."
                )

    def end(self) -> Any:
        """The document, in which `recording` knows the strings that were long. Raises InvalidParameter."""
        try:
            if self._is_inside:
                raise ValueError("The last string has no end.")
            return json.loads(self._rest.decode())
        except (ValueError, RecursionError):
            raise InvalidParameter("The body is not valid JSON in UTF-8.") from None

    def recording(self, text: str) -> BinaryIO:
        """The bytes that a string of the document is the base64 of. Raises InvalidParameter."""
        if text.startswith(self._mark) and text[len(self._mark) :].isdecimal():
            return self.files[int(text[len(self._mark) :])]
        decoder = self._open()
        decoder.write(_unescaped(json.dumps(text).encode()[1:-1]))
        decoder.end()
        return self.files[-1]

    def close(self) -> None:
        """Delete the files."""
        for file in self.files:
            file.close()

    def _read_outside(self, chunk: bytes, position: int) -> int:
        end = chunk.find(b'"', position)
        self._is_inside = end >= 0
        end = end if self._is_inside else len(chunk)
        self._rest += chunk[position:end]
        return end + 1

    def _read_inside(self, chunk: bytes, position: int) -> int:
        found = _CONTENT.match(chunk, position)
        assert found
        self._add(found[0])
        rest = chunk[found.end() : found.end() + 1]
        if rest == b"\\":
            self._held = chunk[found.end() :]
            return len(chunk)
        if rest:
            self._end_string()
        return found.end() + 1

    def _add(self, content: bytes) -> None:
        if self._decoder:
            self._decoder.write(_unescaped(content))
            return
        self._string += content
        if len(self._string) > _LONG:
            self._decoder = self._open()
            self._decoder.write(_unescaped(bytes(self._string)))
            self._string.clear()

    def _end_string(self) -> None:
        if self._decoder:
            self._decoder.end()
            self._string += f"{self._mark}{len(self.files) - 1}".encode()
        self._rest += b'"%b"' % bytes(self._string)
        self._string.clear()
        self._decoder = None
        self._is_inside = False

    def _open(self) -> "_Base64Decoder":
        if len(self.files) == _MAX_RECORDINGS:
            raise InvalidParameter(f"The JSON holds more than {_MAX_RECORDINGS} recordings. Send them in several.")
        # Closed by `close`.
        file: Any = SpooledTemporaryFile(max_size=MultiPartParser.spool_max_size)  # noqa: SIM115
        self.files.append(file)
        return _Base64Decoder(file)


class _Base64Decoder:
    """Decodes base64, with blanks or without, into a file. Raises InvalidParameter when it is none."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._carry = b""
        self._is_padded = False

    def write(self, text: bytes) -> None:
        text = self._carry + text.translate(None, _BLANKS)
        whole = len(text) // 4 * 4
        self._carry = text[whole:]
        if not whole:
            return
        try:
            data = binascii.a2b_base64(text[:whole], strict_mode=True)
        except binascii.Error:
            raise InvalidParameter(_NOT_BASE64) from None
        if self._is_padded:
            raise InvalidParameter(_NOT_BASE64)
        self._is_padded = len(data) < whole // 4 * 3
        self._file.write(data)

    def end(self) -> None:
        """Go to the beginning of the file."""
        if self._carry:
            raise InvalidParameter(_NOT_BASE64)
        self._file.seek(0, io.SEEK_SET)


def _unescaped(content: bytes) -> bytes:
    """Base64 as it stands in a JSON string: some programs escape its `/` and `+`."""
    if b"\\" not in content:
        return content
    try:
        text: str = json.loads(b'"%b"' % content, strict=False)
        return text.encode("ascii")
    except ValueError:
        raise InvalidParameter(_NOT_BASE64) from None


@asynccontextmanager
async def json_body(request: Request, *, max_bytes: int) -> AsyncIterator[tuple[Any, JsonBody]]:
    """The JSON document of a request, and its recordings, whose files are open while the block runs.

    Raises InvalidParameter, and StorageFull or Overloaded when the recordings cannot be kept.
    """
    body = JsonBody(max_bytes)
    try:
        try:
            async with aclosing(request.stream()) as chunks:
                async for chunk in chunks:
                    await asyncio.to_thread(body.feed, chunk)
            document = await asyncio.to_thread(body.end)
        except OSError as error:
            raise no_room(error) from error
        yield document, body
    finally:
        body.close()


def validated(model: type[Model], document: Any) -> Model:
    """The document as a model. Raises InvalidParameter, which names the first field that is wrong."""
    try:
        return model.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))[:200] or "body"
        message = "There is no such parameter" if first["type"] == "extra_forbidden" else first["msg"]
        raise InvalidParameter(f"{where}: {message}.") from None
