"""The decoder pool: windows that it reads, and what it answers without descriptors, disk or processes."""

import asyncio
import io
import os
import resource
import tempfile
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
import pytest

from service.audio import WindowSpec, read_recording
from service.errors import InternalError, Overloaded, StorageFull, UnsupportedMedia
from tests.service.decoding.pools import RATE, WAV, WINDOW_S, read, restarts, started
from tests.support.audio_files import FORMATS, Waveform, encode, sweep
from tests.support.variants import usual


@pytest.mark.parametrize("format", usual("wav", "mp3", "m4a", of=FORMATS))
def test_windows_are_those_of_the_front_end(format: str) -> None:
    data = encode(sweep(6.0), format)
    expected = read_recording(io.BytesIO(data), WindowSpec(RATE, WINDOW_S), max_windows=3)

    async def compare() -> None:
        async with (
            started() as (decoders, _),
            decoders.open(io.BytesIO(data), WindowSpec(RATE, WINDOW_S)) as recording,
        ):
            starts = np.linspace(0, recording.progress.duration_s - WINDOW_S, 3)
            for start_s, wanted in zip(starts, expected.windows, strict=True):
                window = await recording.read(float(start_s))
                assert window is not None
                # Where the buffers of mp3 and resampler lie in memory decides how they round.
                assert np.abs(window.waveform - wanted).max() < 1e-5
            assert recording.progress.duration_s == expected.duration_s
            assert recording.progress.analysed_s == expected.analysed_s

    asyncio.run(compare())


def test_recordings_take_turns_in_one_process_and_keep_their_place() -> None:
    files = [encode(sweep(6.0) * gain, "flac") for gain in (1.0, 0.5, 0.25)]

    async def read_all() -> tuple[list[list[Waveform]], list[list[Waveform]]]:
        async with started() as (decoders, metrics):
            alone = [await read(decoders, data) for data in files]
            together = await asyncio.gather(*(read(decoders, data) for data in files))
            assert restarts(metrics) == {}
            return alone, together

    alone, together = asyncio.run(read_all())
    assert [len(windows) for windows in alone] == [3, 3, 3]
    for first, second in zip(alone, together, strict=True):
        assert np.array_equal(first, second)


@pytest.mark.parametrize("kind", ["in memory", "spooled", "on disk"])
def test_any_kind_of_file_is_read(kind: str, tmp_path: Path) -> None:
    async def read_it(file: BinaryIO) -> None:
        async with (
            started() as (decoders, _),
            decoders.open(file, WindowSpec(RATE, WINDOW_S)) as recording,
        ):
            assert recording.progress.duration_s == 6.0
            assert await recording.read(0.0)

    path = tmp_path / "upload"
    path.write_bytes(WAV)
    with tempfile.SpooledTemporaryFile(max_size=1 << 30) as spooled, path.open("rb") as on_disk:
        # Not flushed: the end may still be in a buffer of Python's.
        spooled.write(WAV)
        file = {"in memory": io.BytesIO(WAV), "spooled": cast(BinaryIO, spooled), "on disk": on_disk}[kind]
        asyncio.run(read_it(file))


def test_a_file_that_is_no_audio_costs_no_process() -> None:
    async def refuse() -> None:
        async with started() as (decoders, metrics):
            for _ in range(3):
                with pytest.raises(UnsupportedMedia, match="Send mp3"):
                    await read(decoders, b"just text")
            assert len(await read(decoders, WAV)) == 3
            assert restarts(metrics) == {}

    asyncio.run(refuse())


def test_a_process_that_does_not_start_is_the_service_s_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONHOME", "/nowhere")

    async def fail() -> None:
        async with started() as (decoders, metrics):
            with pytest.raises(InternalError):
                await read(decoders, WAV)
            monkeypatch.delenv("PYTHONHOME")
            assert len(await read(decoders, WAV)) == 3
            assert restarts(metrics) == {"failed": 1}

    asyncio.run(fail())


def test_without_descriptors_requests_are_told_to_come_back() -> None:
    async def exhaust() -> None:
        async with started() as (decoders, _):
            await read(decoders, WAV)
            soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")), hard))
            held = []
            try:
                with pytest.raises(OSError, match="Too many open files"):  # noqa: PT012 (until none is left)
                    while True:
                        held.append(os.dup(0))
                with pytest.raises(Overloaded, match="too many files open") as refused:
                    await read(decoders, WAV)
                assert refused.value.retry_after_s
            finally:
                for descriptor in held:
                    os.close(descriptor)
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            assert len(await read(decoders, WAV)) == 3

    asyncio.run(exhaust())


def test_without_room_on_the_disk_it_is_the_service_s_fault() -> None:
    """A limit on the size of files stands for a full disk."""

    async def fill() -> None:
        async with started() as (decoders, _):
            soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
            try:
                with pytest.raises(StorageFull):
                    await read(decoders, WAV)
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            assert len(await read(decoders, WAV)) == 3

    asyncio.run(fill())
