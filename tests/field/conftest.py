"""A running service with both ports, for the tables of requests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.service_process import Service, free_port, running

ORIGIN = "https://app.example"


@pytest.fixture(scope="session")
def metrics_port() -> int:
    return free_port()


@pytest.fixture(scope="session")
def field_service(model_folder: Path, metrics_port: int) -> Iterator[Service]:
    settings = {"PAGE": "true", "METRICS_PORT": str(metrics_port), "CORS_ORIGINS": ORIGIN, "MAX_UPLOAD_MB": "6"}
    with running(MODEL_ID=str(model_folder), **settings) as service:
        service.wait_for("/ui/")
        yield service
    assert [entry for entry in service.log if entry["level"] in {"ERROR", "CRITICAL"}] == []
