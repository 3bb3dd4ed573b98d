"""Background work that goes on."""

import asyncio

import pytest

from service.runtime.periodic import run_periodically


def test_work_goes_on_after_a_failure_which_is_logged_without_its_words(caplog: pytest.LogCaptureFixture) -> None:
    done: list[int] = []

    async def work() -> None:
        done.append(1)
        if len(done) == 1:
            raise PermissionError("/tmp/name of a song.mp3")

    async def run() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await run_periodically(work, 0.01)

    asyncio.run(run())
    assert len(done) > 2
    (record,) = caplog.records
    assert "PermissionError at test_periodic.py" in record.__dict__["reason"]
    assert "song" not in caplog.text
