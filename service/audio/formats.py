"""Audio formats that are accepted: one table of their names, file suffixes, and how their files begin."""

import re
from dataclasses import dataclass
from typing import BinaryIO

Signature = tuple[int, bytes]
"""Bytes that a file holds at an offset from its beginning."""


@dataclass(frozen=True)
class AudioFormat:
    """A format under the name that people use.

    suffixes: of its files. demuxers: FFmpeg's names of its containers. begins: signatures of its files; a file that
    begins so and does not open is damaged, such as an m4a cut off before its index: FFmpeg gives the same error for it
    as for a text. uncompressed: libsndfile reads its files, from `begins`; FFmpeg decodes all others.
    joint: a regular expression of how a further recording begins, where files of the format are joined to one. Formats
    without one are either uncompressed (`pcm_header`) or told by the headers of their frames (`packets`).
    """

    name: str
    suffixes: tuple[str, ...]
    demuxers: tuple[str, ...]
    begins: tuple[Signature, ...] = ()
    uncompressed: bool = False
    joint: bytes = b""


# The first page of a stream of sound (RFC 3533): the flag "first page", and after 20 bytes the size of one packet.
_OGG_JOINT = rb"OggS\0[\x02\x06].{20}\x01.(?:\x01vorbis|OpusHead|\x7fFLAC|Speex   )"
_OGG = ((0, b"OggS"),)

_MP4_BRANDS = (b"M4A", b"M4B", b"M4P", b"M4V", b"mp4", b"iso", b"3g", b"qt", b"dash", b"MSNV", b"avc1", b"F4")

AUDIO_FORMATS = (
    AudioFormat("mp3", (".mp3",), ("mp3",), ((0, b"ID3"),)),
    AudioFormat(
        "m4a",
        (".m4a",),
        ("mov", "mp4", "m4a", "3gp", "3g2", "mj2"),
        tuple((4, b"ftyp" + brand) for brand in _MP4_BRANDS),
        joint=rb"\0\0\0[\x10-\x60]ftyp(?:" + b"|".join(_MP4_BRANDS) + rb")",
    ),
    AudioFormat("aac", (".aac",), ("aac",)),
    AudioFormat("wav", (".wav",), ("wav",), ((8, b"WAVE"),), uncompressed=True),
    # The marker and the header of STREAMINFO, which comes first and has 34 bytes (RFC 9639, section 8).
    AudioFormat("flac", (".flac",), ("flac",), ((0, b"fLaC"),), joint=rb"fLaC[\0\x80]\0\0\x22"),
    AudioFormat("ogg", (".ogg",), ("ogg",), _OGG, joint=_OGG_JOINT),
    AudioFormat("opus", (".opus",), ("ogg",), _OGG, joint=_OGG_JOINT),
    # The EBML header, with the type of the document in it (RFC 8794, section 11.2).
    AudioFormat(
        "webm",
        (".webm",),
        ("matroska", "webm"),
        ((0, b"\x1aE\xdf\xa3"),),
        joint=rb"\x1aE\xdf\xa3.{1,60}?(?:webm|matroska)",
    ),
    AudioFormat(
        "wma",
        (".wma",),
        ("asf",),
        ((0, b"0&\xb2u\x8ef\xcf\x11"),),
        joint=rb"0&\xb2u\x8ef\xcf\x11\xa6\xd9\x00\xaa\x00b\xcel",
    ),
    AudioFormat("aiff", (".aiff", ".aif"), ("aiff",), ((8, b"AIF"),), uncompressed=True),
    AudioFormat("au", (".au",), ("au",), ((0, b".snd"),), uncompressed=True),
)

FORMAT_NAMES = tuple(format.name for format in AUDIO_FORMATS)
AUDIO_SUFFIXES = frozenset(suffix for format in AUDIO_FORMATS for suffix in format.suffixes)
FORMATS = f"{', '.join(FORMAT_NAMES[:-1])} or {FORMAT_NAMES[-1]}"
"""The formats as the end of a sentence."""

SIGNATURES = tuple(signature for format in AUDIO_FORMATS for signature in format.begins)

SOUNDFILE_SIGNATURES = tuple(begin for format in AUDIO_FORMATS if format.uncompressed for begin in format.begins)
"""libsndfile reads two dozen formats more, mostly old and seldom tested."""

JOINTS = tuple(re.compile(joint, re.DOTALL) for joint in dict.fromkeys(f.joint for f in AUDIO_FORMATS) if joint)
"""How a further recording begins in a file of several, for each kind of container."""

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
