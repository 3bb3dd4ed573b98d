"""Decoder processes: what they may do, and what becomes of a request whose decoder crashes, hangs or is killed."""

import asyncio
import io
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
import pytest

from service.audio import WindowSpec, read_recording
from service.decoding.pool import DecoderPool
from service.errors import InternalError, Overloaded, StorageFull, UndecodableAudio, UnsupportedMedia
from service.metrics import Metrics
from tests.support.audio_files import FORMATS, Waveform, encode, sweep

RATE = 16_000
WINDOW_S = 2.0
STARTS_S = (0.0, 2.0, 4.0)
WAV = encode(sweep(6.0), "wav")


@asynccontextmanager
async def started(
    count: int = 1, *, wall_s: float = 30, cpu_s: int = 15, start_s: float = 30
) -> AsyncIterator[tuple[DecoderPool, Metrics]]:
    metrics = Metrics()
    decoders = DecoderPool(count, metrics, wall_s=wall_s, cpu_s=cpu_s, start_s=start_s)
    decoders.start()
    try:
        yield decoders, metrics
    finally:
        decoders.close()


async def read(decoders: DecoderPool, data: bytes, *, window_s: float = WINDOW_S) -> list[Waveform]:
    windows = []
    async with decoders.open(io.BytesIO(data), WindowSpec(RATE, window_s)) as recording:
        for start_s in STARTS_S:
            if window := await recording.read(start_s):
                windows.append(window.waveform)
    return windows


def restarts(metrics: Metrics) -> dict[str, int]:
    """By reason, without those that did not happen."""
    (counter,) = metrics.decoder_restarts.collect()
    return {
        sample.labels["reason"]: int(sample.value)
        for sample in counter.samples
        if sample.name.endswith("_total") and sample.value
    }


async def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


def state(pid: int) -> str:
    """R, S, T (stopped), Z (ended) ..., and nothing once it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return ""


# What is read


@pytest.mark.parametrize("format", FORMATS)
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


# What a process may do


def test_a_process_holds_no_secret_and_loads_little(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("API_KEYS", "secret")
    monkeypatch.setenv("ANYTHING", "secret")

    async def look() -> None:
        async with started() as (decoders, _):
            await read(decoders, WAV)
            (pid,) = decoders.pids
            environment = Path(f"/proc/{pid}/environ").read_bytes()
            names = {entry.partition(b"=")[0].decode() for entry in environment.split(b"\0") if entry}
            assert b"secret" not in environment
            assert names <= {"LD_LIBRARY_PATH", "PYTHONHOME", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE"} | {
                "OPENBLAS_NUM_THREADS",
                "OMP_NUM_THREADS",
                "MALLOC_ARENA_MAX",
            }
            maps = Path(f"/proc/{pid}/maps").read_text()
            assert "soundfile" in maps or "sndfile" in maps
            assert not any(name in maps for name in ("torch", "openvino", "pydantic", "orjson"))

    asyncio.run(look())


def test_a_process_can_open_nothing_but_its_upload() -> None:
    async def look() -> None:
        async with started() as (decoders, _):
            async with decoders.open(io.BytesIO(WAV), WindowSpec(RATE, WINDOW_S)):
                (pid,) = decoders.pids
                limits = dict(_limits(pid))
                assert limits["Max core file size"] == limits["Max file size"] == ("0", "0")
                assert limits["Max open files"] == ("4", "4")
                assert int(limits["Max address space"][1]) < 1 << 30
                assert int(limits["Max cpu time"][0]) < 60
                open_now = [os.readlink(entry) for entry in Path(f"/proc/{pid}/fd").iterdir()]
                assert len(open_now) == 4
            await until(lambda: len(list(Path(f"/proc/{pid}/fd").iterdir())) == 3)

    asyncio.run(look())


def _limits(pid: int) -> list[tuple[str, tuple[str, str]]]:
    lines = Path(f"/proc/{pid}/limits").read_text().splitlines()[1:]
    return [(line[:26].strip(), (line[26:47].strip(), line[47:68].strip())) for line in lines]


# Trouble


def test_a_crash_costs_its_request_and_one_process() -> None:
    async def crash() -> None:
        async with started(2) as (decoders, metrics):
            assert len(await read(decoders, WAV)) == 3
            async with decoders.open(io.BytesIO(WAV), WindowSpec(RATE, WINDOW_S)) as recording:
                await recording.read(0.0)
                (pid,) = [pid for pid in decoders.pids if len(list(Path(f"/proc/{pid}/fd").iterdir())) == 4]
                os.kill(pid, signal.SIGSTOP)
                await until(lambda: state(pid) == "T")
                doomed = asyncio.create_task(recording.read(2.0))
                await asyncio.sleep(0.05)
                # Somebody else is answered meanwhile.
                assert len(await read(decoders, WAV)) == 3
                os.kill(pid, signal.SIGSEGV)
                os.kill(pid, signal.SIGCONT)
                with pytest.raises(UndecodableAudio, match="broke its decoder"):
                    await doomed
            assert restarts(metrics) == {"failed": 1}
            assert len(decoders.pids) == 2
            assert len(await read(decoders, WAV)) == 3

    asyncio.run(crash())


def test_a_process_that_is_killed_costs_nothing_but_time() -> None:
    async def kill() -> None:
        async with started() as (decoders, metrics):
            async with decoders.open(io.BytesIO(WAV), WindowSpec(RATE, WINDOW_S)) as recording:
                first = await recording.read(0.0)
                (idle,) = decoders.pids
                os.kill(idle, signal.SIGKILL)
                await until(lambda: state(idle) in "Z")
                second = await recording.read(2.0)
                (busy,) = decoders.pids
                os.kill(busy, signal.SIGSTOP)
                await until(lambda: state(busy) == "T")
                reading = asyncio.create_task(recording.read(4.0))
                await asyncio.sleep(0.05)
                os.kill(busy, signal.SIGKILL)
                third = await reading
                assert first
                assert second
                assert third
                windows = np.stack([first.waveform, second.waveform, third.waveform])
            assert restarts(metrics) == {"killed": 2}
            assert np.array_equal(windows, await read(decoders, WAV))

    asyncio.run(kill())


def test_one_that_is_killed_while_it_starts_costs_nothing_but_time() -> None:
    """Found by `make soak`, as a 500."""

    async def kill() -> None:
        async with started() as (decoders, metrics):
            (starting,) = decoders.pids
            os.kill(starting, signal.SIGSTOP)
            reading = asyncio.create_task(read(decoders, WAV))
            await asyncio.sleep(0.05)
            os.kill(starting, signal.SIGKILL)
            assert len(await reading) == 3
            assert restarts(metrics) == {"killed": 1}

    asyncio.run(kill())


def test_one_that_hangs_while_it_starts_is_ended_once_it_is_late() -> None:
    """It was waited for until somebody else ended it, and each request for its whole deadline."""

    async def hang() -> None:
        async with started(start_s=2) as (decoders, metrics):
            (starting,) = decoders.pids
            os.kill(starting, signal.SIGSTOP)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await read(decoders, WAV)
            with pytest.raises(InternalError):
                await read(decoders, WAV)
            assert restarts(metrics) == {"failed": 1}
            await until(lambda: state(starting) == "")

    asyncio.run(hang())


def test_one_that_hangs_is_ended_when_nobody_waits_any_more() -> None:
    async def hang() -> None:
        async with started(2) as (decoders, metrics):
            # Both have started: one that is only slow to start is left in peace.
            await asyncio.gather(read(decoders, WAV), read(decoders, WAV))
            hanging = decoders.pids
            for pid in hanging:
                os.kill(pid, signal.SIGSTOP)
            for _ in hanging:
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(1):
                        await read(decoders, WAV)
            assert len(await read(decoders, WAV)) == 3
            await until(lambda: not set(decoders.pids) & set(hanging))
            assert restarts(metrics) == {"overran": 2}
            await until(lambda: {state(pid) for pid in hanging} == {""})

    asyncio.run(hang())


def test_an_answer_that_comes_soon_after_all_costs_no_process() -> None:
    async def leave() -> None:
        async with started() as (decoders, metrics):
            await read(decoders, WAV)
            before = decoders.pids
            for _ in range(5):
                reading = asyncio.create_task(read(decoders, WAV))
                await asyncio.sleep(0)
                reading.cancel()
                await asyncio.wait([reading])
            assert len(await read(decoders, WAV)) == 3
            assert (decoders.pids, restarts(metrics)) == (before, {})

    asyncio.run(leave())


def test_memory_is_bounded() -> None:
    """Ten hours of next to nothing in half a megabyte, and a model that would hear them all at once."""
    data = encode(np.full(36_000 * 1_000, 0.001, np.float32), "flac", 1_000)
    assert len(data) < 1e6

    async def explode() -> None:
        async with started() as (decoders, metrics):
            with pytest.raises(UndecodableAudio, match="broke its decoder"):
                await read(decoders, data, window_s=36_000)
            assert restarts(metrics) == {"failed": 1}
            assert len(await read(decoders, WAV)) == 3

    asyncio.run(explode())


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


_SERVICE = """
import asyncio, io, sys
from service.audio import WindowSpec
from service.decoding.pool import DecoderPool
from service.metrics import Metrics

async def main():
    decoders = DecoderPool(2, Metrics(), wall_s=1)
    decoders.start()
    async with decoders.open(io.BytesIO(sys.stdin.buffer.read()), WindowSpec(16000, 2)) as recording:
        await recording.read(0.0)
        print(*decoders.pids, flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""


def test_no_process_and_no_file_survives_the_service(tmp_path: Path) -> None:
    """Killed, so that it can tidy up nothing."""
    service = subprocess.Popen(
        [sys.executable, "-c", _SERVICE],
        env=dict(os.environ) | {"TMPDIR": str(tmp_path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert service.stdin is not None
    assert service.stdout is not None
    with service.stdin, service.stdout:
        service.stdin.write(WAV)
        service.stdin.close()
        pids = [int(pid) for pid in service.stdout.readline().split()]
        assert len(pids) == 2
        assert list(tmp_path.iterdir()) == []
        service.kill()
        service.wait()
    asyncio.run(until(lambda: {state(pid) for pid in pids} <= {"", "Z"}))
    assert list(tmp_path.iterdir()) == []
