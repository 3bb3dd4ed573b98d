"""One service with few connections and a short upload timeout for all tests of this folder."""

from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.service.server.raw_client import MAX_CONNECTIONS, WAV, descriptors, wait_until
from tests.support.service_process import Service


@pytest.fixture(scope="package")
def temporary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tmp")


@pytest.fixture(scope="package")
def running(model_folder: Path, temporary: Path) -> Iterator[Service]:
    settings = {
        "PAGE": "true",
        "UPLOAD_TIMEOUT_S": "1.5",
        "MAX_CONNECTIONS": str(MAX_CONNECTIONS),
        "MAX_UPLOAD_MB": "1",
    }
    service = Service(MODEL_ID=str(model_folder), TMPDIR=str(temporary), **settings)
    try:
        service.wait_for("/readyz")
        # The page comes later.
        service.wait_for("/ui/")
        # What the first request opens stays open.
        for _ in range(3):
            assert service.classify(WAV).status_code == 200
        yield service
        assert service.stop() == 0
    finally:
        service.process.kill()
    errors = [entry for entry in service.log if entry["level"] in {"ERROR", "CRITICAL"}]
    # The event loop tells when there are no descriptors.
    assert [entry for entry in errors if entry["logger"] != "asyncio"] == []
    assert list(temporary.iterdir()) == []


@pytest.fixture
def service(running: Service, temporary: Path) -> Iterator[Service]:
    """The service, which afterwards still answers and holds nothing more than before."""
    before = descriptors(running)
    yield running
    assert running.classify(WAV).status_code == 200
    wait_until(lambda: "genre_queue_audio_seconds 0.0\n" in httpx2.get(f"{running.url}/metrics").text)
    wait_until(lambda: descriptors(running) <= before)
    wait_until(lambda: not [path for path in temporary.rglob("*") if path.is_file()])
