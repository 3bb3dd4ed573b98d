"""One application with a tiny model for all tests of the API, and a backend that a test holds up."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from tests.service.application import GatedBackend, application, wait_until_ready


@pytest.fixture(scope="package")
def client(model_folder: Path) -> Iterator[TestClient]:
    with TestClient(application(model_folder), follow_redirects=False) as client:
        wait_until_ready(client)
        yield client


@pytest.fixture
def backend() -> Iterator[GatedBackend]:
    backend = GatedBackend()
    yield backend
    backend.gate.set()
