"""Audio formats that are accepted: one table of their names, file suffixes, and how their files begin."""

from dataclasses import dataclass
from typing import BinaryIO

Signature = tuple[int, bytes]
"""Bytes that a file holds at an offset from its beginning."""


@dataclass(frozen=True)
class AudioFormat:
    """A format under the name that people use.

    suffixes: of its files. demuxers: FFmpeg's names of its containers. begins: signatures of its files; a file that
    begins so and does not open is damaged, such as an m4a cut off before its index: FFmpeg gives the same error for it
    as for a text. soundfile: signatures of the files that libsndfile is given; none: FFmpeg decodes them.
    """

    name: str
    suffixes: tuple[str, ...]
    demuxers: tuple[str, ...]
    begins: tuple[Signature, ...] = ()
    soundfile: tuple[Signature, ...] = ()


_OGG, _FLAC, _AU, _ID3 = (0, b"OggS"), (0, b"fLaC"), (0, b".snd"), (0, b"ID3")

AUDIO_FORMATS = (
    AudioFormat("mp3", (".mp3",), ("mp3",), (_ID3,), (_ID3, (0, b"\xff"))),
    AudioFormat("m4a", (".m4a",), ("mov", "mp4", "m4a", "3gp", "3g2", "mj2"), ((4, b"ftyp"),)),
    AudioFormat("aac", (".aac",), ("aac",)),
    AudioFormat("wav", (".wav",), ("wav",), ((0, b"RIFF"),), ((8, b"WAVE"),)),
    AudioFormat("flac", (".flac",), ("flac",), (_FLAC,), (_FLAC,)),
    AudioFormat("ogg", (".ogg",), ("ogg",), (_OGG,), (_OGG,)),
    AudioFormat("opus", (".opus",), ("ogg",), (_OGG,), (_OGG,)),
    AudioFormat("webm", (".webm",), ("matroska", "webm"), ((0, b"\x1aE\xdf\xa3"),)),
    AudioFormat("wma", (".wma",), ("asf",), ((0, b"0&\xb2u\x8ef\xcf\x11"),)),
    AudioFormat("aiff", (".aiff", ".aif"), ("aiff",), ((0, b"FORM"),), ((8, b"AIF"),)),
    AudioFormat("au", (".au",), ("au",), (_AU,), (_AU,)),
)

FORMAT_NAMES = tuple(format.name for format in AUDIO_FORMATS)
AUDIO_SUFFIXES = frozenset(suffix for format in AUDIO_FORMATS for suffix in format.suffixes)
FORMATS = f"{', '.join(FORMAT_NAMES[:-1])} or {FORMAT_NAMES[-1]}"
"""The formats as the end of a sentence."""

SIGNATURES = tuple(signature for format in AUDIO_FORMATS for signature in format.begins)

SOUNDFILE_SIGNATURES = tuple(signature for format in AUDIO_FORMATS for signature in format.soundfile)
"""libsndfile reads two dozen formats more, mostly old and seldom tested."""

# Containers that FFmpeg decodes as well, and that are rare enough not to be advertised.
_OTHER_DEMUXERS = ("ac3", "amr", "caf", "eac3", "flv", "mpegts", "wv")

# FFmpeg also "demuxes" playlists, images and scripts that name other files. Only these containers are opened, and
# no protocol is allowed, so that an upload cannot make the service read anything but itself.
AV_OPTIONS = {
    "format_whitelist": ",".join([*(name for format in AUDIO_FORMATS for name in format.demuxers), *_OTHER_DEMUXERS]),
    "protocol_whitelist": "",
    # Bytes that are looked at to find the tracks. FFmpeg keeps all their packets, of which a crafted file has one in 7.
    "probesize": "1000000",
}


def begins_with_one_of(signatures: tuple[Signature, ...], file: BinaryIO) -> bool:
    """Whether a file begins with one of the signatures."""
    file.seek(0)
    head = file.read(16)
    return any(head.startswith(signature, offset) for offset, signature in signatures)
