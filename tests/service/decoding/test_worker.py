"""What a decoder process may do and hold, and that none outlives the service."""

import asyncio
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from service.audio import WindowSpec
from tests.service.decoding.pools import RATE, WAV, WINDOW_S, read, started, state, until


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


_SERVICE = """
import asyncio, io, sys
from service.audio import WindowSpec
from service.decoding.pool import DecoderPool
from service.metrics import Metrics

async def main():
    decoders = DecoderPool(2, Metrics(), wall_s=30)
    decoders.start()
    async with decoders.open(io.BytesIO(sys.stdin.buffer.read()), WindowSpec(16000, 2)) as recording:
        await recording.read(0.0)
        print(*decoders.pids, flush=True)
        await asyncio.sleep(600)

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
