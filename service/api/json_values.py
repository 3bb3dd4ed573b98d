"""Values of a JSON document: integers; recordings in base64 and lists of numbers, decoded into files as they arrive."""

import binascii
import json
from typing import Any, BinaryIO

import numpy as np
from pydantic import BeforeValidator

from service.errors import InvalidParameter

_BLANKS = b" \t\r\n"

# Bytes of a number with the blanks around it; doubles have 24 at most.
_MAX_NUMBER = 1_024

_NOT_BASE64 = (
    "A recording in the JSON is not base64. Encode the bytes of the audio file as standard base64, with its padding "
    "and without a prefix such as data:audio/mpeg;base64. The service fetches nothing from addresses."
)
_NOT_NUMBERS = "A list of numbers in the JSON holds something else, or numbers that do not fit into float32."


def _whole(value: object) -> object:
    return int(value) if isinstance(value, float) and value.is_integer() else value


WHOLE = BeforeValidator(_whole)
"""Lets an integer of JSON be written 5.0 (JSON Schema 2020-12, validation, section 6.1.1). Put it behind the bounds of
a type, which the schema loses otherwise."""


class Base64Decoder:
    """Decodes base64, with blanks or without, into a file. Raises InvalidParameter when it is none."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._carry = b""
        self._is_padded = False

    def write(self, text: bytes) -> None:
        """Decode the next part of a JSON string."""
        text = self._carry + _unescaped(text).translate(None, _BLANKS)
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
        self._file.seek(0)


class NumberDecoder:
    """Decodes numbers with commas between them into a file, as float32. Raises InvalidParameter for anything else."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._carry = b""

    def write(self, text: bytes) -> None:
        """Decode the next part of a list."""
        whole, comma, rest = (self._carry + text).rpartition(b",")
        if len(rest) > _MAX_NUMBER:
            raise InvalidParameter(_NOT_NUMBERS)
        self._carry = rest
        if comma:
            self._decode(whole)

    def end(self) -> None:
        """Decode the last number, behind which there is no comma, and go to the beginning of the file."""
        self._decode(self._carry)
        self._file.seek(0)

    def _decode(self, text: bytes) -> None:
        try:
            values = json.loads(b"[%b]" % text)
        except ValueError:
            raise InvalidParameter(_NOT_NUMBERS) from None
        if not values:
            raise InvalidParameter(_NOT_NUMBERS)
        self._file.write(as_float32(values))


def as_float32(values: list[Any]) -> bytes:
    """Numbers as float32 in little endian. Raises InvalidParameter when one is none, or too large."""
    if not set(map(type, values)) <= {int, float}:
        raise InvalidParameter(_NOT_NUMBERS)
    try:
        with np.errstate(over="raise"):
            return np.array(values, np.float64).astype("<f4").tobytes()
    except (OverflowError, FloatingPointError):
        raise InvalidParameter(_NOT_NUMBERS) from None


def _unescaped(content: bytes) -> bytes:
    """Base64 as it stands in a JSON string: some programs escape its `/` and `+`."""
    if b"\\" not in content:
        return content
    try:
        text: str = json.loads(b'"%b"' % content, strict=False)
        return text.encode("ascii")
    except ValueError:
        raise InvalidParameter(_NOT_BASE64) from None
