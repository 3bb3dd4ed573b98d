"""Background work that goes on."""

import asyncio

import pytest

from service.runtime.periodic import run_periodically


def test_work_goes_on_after_a_failure_which_is_logged_without_its_words(caplog: pytest.LogCaptureFixture) -> None:
    done: list[int] = []
    goes_on = asyncio.Event()

    async def work() -> None:
        done.append(1)
        if len(done) == 1:
            raise PermissionError("/tmp/name of a song.mp3")
        if len(done) == 3:
            goes_on.set()

    async def run() -> None:
        running = asyncio.create_task(run_periodically(work, 0.01))
        async with asyncio.timeout(60):
            await goes_on.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(run())
    (record,) = caplog.records
    assert "PermissionError at test_periodic.py" in record.__dict__["reason"]
    assert "song" not in caplog.text
