"""Damaged files, against the decoder processes: each gets an answer, and no decoder is lost."""

import io
from pathlib import Path

import numpy as np
import pytest

from service.audio import WindowSpec, read_recording
from service.errors import AudioTooShort, UndecodableAudio, UnsupportedMedia
from tests.service.decoding.hostile_files import RATE, hear
from tests.support.audio_files import FORMATS, encode, sweep


@pytest.mark.thorough
def test_cut_and_flipped_files_of_every_format_get_an_answer() -> None:
    random = np.random.default_rng(0)
    files = []
    for format in FORMATS:
        data = encode(sweep(2.0), format)
        files += [data[: len(data) * part // 8] for part in range(8)]
        for _ in range(4):
            flipped = bytearray(data)
            for at in random.integers(0, len(data), 50):
                flipped[at] ^= 1 << int(random.integers(8))
            files.append(bytes(flipped))
    outcomes, lost = hear(*files)
    assert lost == 0
    problems = {outcome for outcome in outcomes if isinstance(outcome, type)}
    assert problems <= {UndecodableAudio, UnsupportedMedia, AudioTooShort}
    assert sum(isinstance(outcome, float) for outcome in outcomes) > len(files) / 3


@pytest.mark.parametrize("at", [48, 412])
def test_a_container_that_points_before_its_start_is_damaged(at: int, tmp_path: Path) -> None:
    """Found by `make fuzz`: the seek failed in Python, as no error of the audio."""
    data = bytearray(encode(sweep(0.9, RATE), "wma", RATE))
    data[at : at + 4] = b"\xff\xff\xff\xff"
    path = tmp_path / "upload"
    path.write_bytes(data)
    with path.open("rb") as on_disk:
        for file in (on_disk, io.BytesIO(data)):
            with pytest.raises(UndecodableAudio):
                read_recording(file, WindowSpec(RATE, 1.0), max_windows=3)
    assert hear(bytes(data)) == ([UndecodableAudio], 0)


@pytest.mark.parametrize(("format", "text"), [("m4a", b"M4A "), ("webm", b"ENCODER"), ("mka", b"ENCODER")])
def test_tags_in_another_encoding_do_no_harm(format: str, text: bytes) -> None:
    """Found by `make fuzz`: text that is no UTF-8, as old programs wrote it, made a file undecodable."""
    data = encode(sweep(2.0), format)
    assert text in data
    outcomes, _ = hear(data.replace(text, bytes([0xE9]) * len(text)))
    assert outcomes == pytest.approx([2.0], abs=0.1)
