"""JSON bodies that hold audio: read in bounded memory, recordings in base64 and long lists of numbers into files."""

import json
import re
import secrets
from collections.abc import Iterator
from functools import partial
from typing import Any, BinaryIO, TypeVar

from pydantic import BaseModel, ValidationError

from service.api.json_values import Base64Decoder, NumberDecoder, as_float32
from service.api.receiving import MAX_RECORDINGS, spooled_file
from service.errors import InvalidParameter

Model = TypeVar("Model", bound=BaseModel)

# Longer strings can only be recordings, and longer lists of numbers waveforms.
_LONG = 1_024

# Matches the content of a string up to its end, the end of a chunk, or an escape that the chunk cuts.
_CONTENT = re.compile(rb'(?:[^"\\]++|\\[^u]|\\u.{4})*+', re.DOTALL)
# Matches the bytes between two strings, brackets, braces or colons.
_PLAIN = re.compile(rb'[^"\[\]{}:]*+')

_BLANKS = b" \t\r\n"

_STRING = "s"
_LIST = "l"

_PIECE_BYTES = 1 << 16


class JsonBody:
    """A JSON document as it arrives. Its long strings, which have to be base64, are decoded into files; so are its long
    lists of numbers.

    max_bytes: bound on everything else in the document, which is kept in memory.
    """

    def __init__(self, max_bytes: int) -> None:
        self.files: list[BinaryIO] = []
        self._max_bytes = max_bytes
        # Placeholder in the document for a value that is in a file; its kind (_STRING or _LIST) and the file's number
        # follow.
        self._mark = secrets.token_hex(8)
        self._rest = bytearray()
        self._is_inside = False
        self._string = bytearray()
        self._decoder: Base64Decoder | None = None
        self._held = b""
        self._plain = bytearray()
        self._numbers: NumberDecoder | None = None

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes. Raises InvalidParameter, and OSError when a file cannot be written."""
        chunk, self._held = self._held + chunk, b""
        position = 0
        while position < len(chunk):
            position = self._read_inside(chunk, position) if self._is_inside else self._read_outside(chunk, position)
            if len(self._rest) + len(self._plain) > self._max_bytes:
                raise InvalidParameter(f"The JSON holds more than {self._max_bytes / 1e6:g} MB besides audio.")

    def end(self) -> Any:
        """The document, in which `recording` knows the strings that were long, and `samples` the lists.

        Raises InvalidParameter.
        """
        try:
            if self._is_inside:
                raise ValueError("The last string has no end.")
            self._end_plain()
            return json.loads(self._rest.decode())
        except (ValueError, RecursionError):
            raise InvalidParameter("The body is not valid JSON in UTF-8.") from None

    def recording(self, text: str) -> BinaryIO:
        """The bytes that a string of the document is the base64 of. Raises InvalidParameter."""
        if file := self._marked(text, _STRING):
            return file
        decoder = Base64Decoder(self._open())
        decoder.write(json.dumps(text).encode()[1:-1])
        decoder.end()
        return self.files[-1]

    def samples(self, data: list[Any]) -> Iterator[bytes]:
        """The numbers in a list of the document, and in lists in it, as float32 in pieces. Raises InvalidParameter."""
        for value in flat(data):
            if file := self._marked(value, _LIST):
                yield from iter(partial(file.read, _PIECE_BYTES), b"")
            else:
                yield as_float32([value])

    def close(self) -> None:
        """Delete the files."""
        for file in self.files:
            file.close()

    def _marked(self, value: Any, kind: str) -> BinaryIO | None:
        """The file that a value of the document stands for."""
        mark = self._mark + kind
        if isinstance(value, str) and value.startswith(mark) and value[len(mark) :].isdecimal():
            return self.files[int(value[len(mark) :])]
        return None

    def _end_file(self, kind: str) -> bytes:
        """What stands in the document for the newest file."""
        return f"{self._mark}{kind}{len(self.files) - 1}".encode()

    def _read_outside(self, chunk: bytes, position: int) -> int:
        found = _PLAIN.match(chunk, position)
        assert found
        self._add_plain(found[0])
        mark = chunk[found.end() : found.end() + 1]
        if mark:
            self._end_plain()
            self._is_inside = mark == b'"'
            self._rest += b"" if self._is_inside else mark
        return found.end() + 1

    def _add_plain(self, text: bytes) -> None:
        if self._numbers:
            self._numbers.write(text)
            return
        self._plain += text if self._plain else text.lstrip(_BLANKS)
        if len(self._plain) > _LONG and self._rest.endswith(b"["):
            self._numbers = NumberDecoder(self._open())
            self._numbers.write(bytes(self._plain))
            self._plain.clear()

    def _end_plain(self) -> None:
        if self._numbers:
            self._numbers.end()
            self._rest += b'"%b"' % self._end_file(_LIST)
            self._numbers = None
        self._rest += self._plain
        self._plain.clear()

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
            self._decoder.write(content)
            return
        self._string += content
        if len(self._string) > _LONG:
            self._decoder = Base64Decoder(self._open())
            self._decoder.write(bytes(self._string))
            self._string.clear()

    def _end_string(self) -> None:
        if self._decoder:
            self._decoder.end()
            self._string += self._end_file(_STRING)
        self._rest += b'"%b"' % bytes(self._string)
        self._string.clear()
        self._decoder = None
        self._is_inside = False

    def _open(self) -> BinaryIO:
        if len(self.files) == MAX_RECORDINGS:
            raise InvalidParameter(f"The JSON holds more than {MAX_RECORDINGS} recordings. Send them in several.")
        self.files.append(spooled_file())
        return self.files[-1]


def flat(data: list[Any]) -> Iterator[Any]:
    """The values in a list, and in lists in it, in their order."""
    rows = [iter(data)]
    while rows:
        for value in rows[-1]:
            if isinstance(value, list):
                rows.append(iter(value))
                break
            yield value
        else:
            rows.pop()


def validated(model: type[Model], document: Any) -> Model:
    """The document as a model. Raises InvalidParameter, which names the first field that is wrong."""
    try:
        return model.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))[:200] or "body"
        message = "There is no such parameter" if first["type"] == "extra_forbidden" else first["msg"]
        raise InvalidParameter(f"{where}: {message}.") from None
