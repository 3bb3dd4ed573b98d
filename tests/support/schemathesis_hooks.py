"""Loaded by schemathesis. The document cannot say which bytes are a recording; everything else it can."""

from base64 import b64encode

import schemathesis
from hypothesis import strategies

from tests.support.audio_files import encode, sweep

_RECORDINGS = [encode(sweep(1.0, 8_000), format, 8_000) for format in ("wav", "flac", "mp3")]

schemathesis.openapi.format("binary", strategies.sampled_from(_RECORDINGS))
schemathesis.openapi.format("byte", strategies.sampled_from([b64encode(data).decode() for data in _RECORDINGS]))
