"""Decoder processes that crash, hang or are killed: what becomes of their requests."""

import asyncio
import io
import os
import signal
import sys
from pathlib import Path

import numpy as np
import pytest

from service.audio import WindowSpec
from service.decoding import pool
from service.errors import InternalError, UndecodableAudio
from tests.service.decoding.pools import RATE, WAV, WINDOW_S, read, restarts, started, state, until
from tests.support.audio_files import encode


def test_a_crash_costs_its_request_and_one_process() -> None:
    async def crash() -> None:
        async with started(2) as (decoders, metrics):
            # Both have started, after which only the one that is at work has four files open.
            await asyncio.gather(read(decoders, WAV), read(decoders, WAV))
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


def test_decoder_killed_while_it_starts_is_replaced() -> None:
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


def test_decoder_that_hangs_while_it_starts_is_ended_after_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was waited for until somebody else ended it, and each request for its whole deadline."""
    # Python itself hangs: a decoder that is stopped may have been ready just before.
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexec sleep 600\n")
    python.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(python))

    async def hang() -> None:
        async with started(start_s=4) as (decoders, metrics):
            (starting,) = decoders.pids
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await read(decoders, WAV)
            with pytest.raises(InternalError):
                await read(decoders, WAV)
            assert restarts(metrics) == {"failed": 1}
            await until(lambda: state(starting) == "")

    asyncio.run(hang())


@pytest.mark.thorough
def test_decoder_that_hangs_is_ended_when_its_client_is_gone() -> None:
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


def test_an_answer_that_comes_soon_after_all_costs_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    # A loaded machine may be late.
    monkeypatch.setattr(pool, "_GRACE_S", 60)

    async def leave() -> None:
        async with started() as (decoders, metrics):
            await read(decoders, WAV)
            before = decoders.pids
            for _ in range(5):
                reading = asyncio.create_task(read(decoders, WAV))
                # A step has begun, which goes on without its client.
                while not decoders._workers[0].busy:
                    await asyncio.sleep(0)
                await asyncio.sleep(0)
                reading.cancel()
                await asyncio.wait([reading])
            assert len(await read(decoders, WAV)) == 3
            assert (decoders.pids, restarts(metrics)) == (before, {})

    asyncio.run(leave())


@pytest.mark.thorough
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
