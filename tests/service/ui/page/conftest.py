"""One running service with its page for all tests of this folder."""

from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from service.app import create_app
from service.settings import Settings
from tests.support.serving import serving


@pytest.fixture(scope="package")
def url(model_folder: Path) -> Iterator[str]:
    """A running service."""
    app = create_app(Settings(model_id=str(model_folder), max_upload_mb=1), on_startup_failure=lambda: None)
    with serving(app) as url:
        yield url


@pytest.fixture
def client(url: str) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=url, timeout=120) as client:
        yield client
