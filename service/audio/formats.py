"""The audio formats that are accepted, and how their files begin."""

from typing import BinaryIO

FORMATS = "mp3, m4a, aac, wav, flac, ogg, opus, webm, wma, aiff or au"

# FFmpeg also "demuxes" playlists, images and scripts that name other files. Only these containers are opened, and
# no protocol is allowed, so that an upload cannot make the service read anything but itself.
AV_OPTIONS = {
    "format_whitelist": "aac,ac3,aiff,amr,asf,au,caf,eac3,flac,flv,matroska,webm,mov,mp4,m4a,3gp,3g2,mj2,mp3,mpegts,"
    "ogg,wav,wv",
    "protocol_whitelist": "",
    # Bytes that are looked at to find the tracks. FFmpeg keeps all their packets, of which a crafted file has one in 7.
    "probesize": "1000000",
}

# What libsndfile is given. It reads two dozen formats more, mostly old and seldom tested.
SOUNDFILE_SIGNATURES = (
    (8, b"WAVE"),
    (8, b"AIF"),
    (0, b".snd"),
    (0, b"fLaC"),
    (0, b"OggS"),
    (0, b"ID3"),
    (0, b"\xff"),
)

# How files of the known formats begin, as (offset, bytes): one that begins so and does not open is damaged, such as
# an m4a cut off before its index. FFmpeg gives the same error for it as for a text.
SIGNATURES = (
    (4, b"ftyp"),
    (0, b"OggS"),
    (0, b"fLaC"),
    (0, b"RIFF"),
    (0, b"FORM"),
    (0, b".snd"),
    (0, b"ID3"),
    (0, b"\x1aE\xdf\xa3"),
    (0, b"0&\xb2u\x8ef\xcf\x11"),
)


def begins_with_one_of(signatures: tuple[tuple[int, bytes], ...], file: BinaryIO) -> bool:
    """Whether a file begins with one of the signatures, each bytes at an offset."""
    file.seek(0)
    head = file.read(16)
    return any(head.startswith(signature, offset) for offset, signature in signatures)
