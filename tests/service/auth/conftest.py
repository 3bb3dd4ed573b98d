"""One application with two API keys for all tests of this folder."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from service.app import create_app
from service.settings import Settings
from tests.service.application import wait_until_ready
from tests.service.auth.credentials import KEY, OTHER
from tests.support.service_process import START_S


@pytest.fixture(scope="package")
def app(model_folder: Path) -> FastAPI:
    settings = Settings(model_id=str(model_folder), api_keys=f"{KEY},\n{OTHER}", max_upload_mb=1)
    return create_app(settings, on_startup_failure=lambda: None)


@pytest.fixture(scope="package")
def running(app: FastAPI) -> Iterator[TestClient]:
    with TestClient(app, follow_redirects=False) as client:
        wait_until_ready(client)
        deadline = time.monotonic() + START_S
        while not app.state.page.is_ready:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield client


@pytest.fixture
def client(running: TestClient) -> Iterator[TestClient]:
    """Nobody in particular."""
    yield running
    running.cookies.clear()
