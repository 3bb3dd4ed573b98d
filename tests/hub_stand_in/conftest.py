"""A stand-in for the Hub for each test, and the client's settings for it."""

from collections.abc import Iterator

import huggingface_hub
import pytest

from tests.support.hub_stand_in import HubStandIn


@pytest.fixture
def hub() -> Iterator[HubStandIn]:
    with HubStandIn() as hub:
        yield hub
    assert hub.unknown_requests == []


@pytest.fixture(autouse=True)
def client_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    # As the environment variables of these names do, which count only before the client's first import: there is
    # no Xet storage here, and telemetry would ask the real Hub, whatever the endpoint.
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_TELEMETRY", True)
