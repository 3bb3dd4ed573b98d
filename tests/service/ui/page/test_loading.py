"""What visitors see while the page is loaded, and when it cannot be."""

import asyncio
import re
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI

from service.ui import page


def test_a_page_that_cannot_be_loaded_says_so_and_refreshes_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("no Gradio")

    monkeypatch.setattr(page, "_build", fail)
    app, classifier = page.Page(), Any

    async def visit() -> list[httpx2.Response]:
        transport = httpx2.ASGITransport(app=app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://x") as client:
            first = await client.get("/")
            async with asyncio.timeout(10), app.loading(FastAPI(), classifier):  # type: ignore[arg-type]
                while "getting ready" in (last := await client.get("/")).text:
                    await asyncio.sleep(0.01)
            return [first, last]

    waiting, broken = asyncio.run(visit())
    assert [answer.status_code for answer in (waiting, broken)] == [503, 503]
    assert [bool(re.search('http-equiv="refresh"', answer.text)) for answer in (waiting, broken)] == [True, False]
    assert "out of order" in broken.text
    assert "retry-after" not in broken.headers
    assert not app.is_ready
