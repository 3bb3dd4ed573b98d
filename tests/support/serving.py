"""An application behind a real port, in a thread of the tests, which can look into its state.

Everything that needs no look inside starts the service as a process: service_process.
"""

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx2
import uvicorn
from fastapi import FastAPI

from tests.support.service_process import START_S


@contextmanager
def serving(app: FastAPI) -> Iterator[str]:
    """Serve while the block runs; yields the base URL once the model is ready, and the page if it has one."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, access_log=False, timeout_graceful_shutdown=1))
    thread = threading.Thread(target=asyncio.run, args=(server.serve(),))
    thread.start()
    try:
        deadline = time.monotonic() + START_S
        while not server.started:
            assert time.monotonic() < deadline
            assert thread.is_alive()
            time.sleep(0.01)
        url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        # One client, and seldom: the model is loaded in this very process.
        with httpx2.Client(timeout=START_S) as client:
            while client.get(f"{url}/readyz").status_code != 200 or not _has_page(app):
                assert time.monotonic() < deadline
                time.sleep(0.1)
        yield url
    finally:
        server.should_exit = True
        thread.join(timeout=60)
    assert not thread.is_alive()


def _has_page(app: FastAPI) -> bool:
    page = getattr(app.state, "page", None)
    return page is None or page.is_ready
