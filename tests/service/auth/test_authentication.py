"""Which requests need a key, and what those without one are answered."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from service.app import create_app
from service.auth.login import COOKIE
from service.middleware.authentication import PUBLIC_PATHS
from service.settings import Settings
from tests.service.application import GatedBackend, expect_problem, gated
from tests.service.auth.credentials import KEY, MP3, OTHER, WRONG, bearer


@pytest.mark.parametrize(
    "headers",
    [
        bearer(KEY),
        bearer(OTHER),
        {"X-API-Key": KEY},
        {"authorization": f"bearer {KEY}"},
        bearer(WRONG) | {"X-API-Key": KEY},
    ],
)
def test_a_key_opens_the_api(client: TestClient, headers: dict[str, str]) -> None:
    assert client.post("/classify", files={"file": MP3}, headers=headers).status_code == 200
    assert client.get("/model", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        bearer(WRONG),
        bearer(""),
        bearer(f"{KEY},{OTHER}"),
        bearer(KEY[:-1]),
        {"X-API-Key": ""},
        {"X-API-Key": KEY.upper()},
        {"Authorization": KEY},
        {"Authorization": f"Basic {KEY}"},
        {"Cookie": f"key={KEY}; {COOKIE}={KEY}"},
        {b"X-API-Key": b"\xff\xfe"},
    ],
)
@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/classify"), ("GET", "/model"), ("POST", "/admin/x"),
     ("GET", "/classify"), ("OPTIONS", "/classify"), ("GET", "/livez/"), ("GET", "/uix"),
     ("GET", "/.env")],
)  # fmt: skip
def test_without_a_key_everything_is_closed(
    client: TestClient, headers: dict[str, str], method: str, path: str
) -> None:
    response = client.request(method, path, headers=headers)
    expect_problem(response, 401, "unauthorized", "Send an API key")
    assert response.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/"), ("POST", "/predict"), ("GET", "/info"), ("GET", "/v2"), ("POST", "/v2/x"),
     ("POST", "/v2/models/music-genre/infer"), ("GET", "/v2/models/music-genre"), ("GET", "/v2/health")],
)  # fmt: skip
def test_without_a_key_other_dialects_are_closed_in_their_own_words(client: TestClient, method: str, path: str) -> None:
    response = client.request(method, path)
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"
    assert response.json()["type"] == "urn:music-genre:unauthorized"


def test_every_route_outside_the_list_asks_for_a_key(client: TestClient) -> None:
    asked = 0
    for path, methods in client.get("/openapi.json").json()["paths"].items():
        for method in methods:
            is_open = client.request(method.upper(), path).status_code != 401
            assert is_open == (path in PUBLIC_PATHS or (method, path) == ("get", "/")), (method, path)
            asked += not is_open
    assert asked >= 4


def test_a_key_in_the_query_is_none(client: TestClient) -> None:
    assert client.get("/model", params={"api_key": KEY, "X-API-Key": KEY}).status_code == 401


@pytest.mark.parametrize("path", sorted({"/", *PUBLIC_PATHS}))
def test_health_metrics_and_documents_are_open(client: TestClient, path: str) -> None:
    assert client.get(path).status_code in {200, 307}


def test_refusals_are_counted(client: TestClient) -> None:
    def count() -> float:
        found = re.search(r'genre_rejected_total\{reason="unauthorized"\} (\S+)', client.get("/metrics").text)
        return float(found[1]) if found else 0.0

    before = count()
    client.post("/classify")
    client.get("/ui/config")
    assert count() == before + 2


def test_a_stranger_s_body_is_not_read(app: FastAPI) -> None:
    read = 0

    async def parts() -> AsyncIterator[bytes]:
        nonlocal read
        for _ in range(9):
            read += 1
            yield bytes(100_000)

    async def send() -> httpx2.Response:
        transport = httpx2.ASGITransport(app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://service") as client:
            return await client.post("/classify", content=parts())

    assert asyncio.run(send()).status_code == 401
    assert read == 0


def test_the_document_says_how_to_bring_a_key(client: TestClient, model_folder: Path) -> None:
    api = client.get("/openapi.json").json()
    assert api["components"]["securitySchemes"] == {
        "HTTPBearer": {"type": "http", "scheme": "bearer"},
        "APIKeyHeader": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    }
    for path, method in (("/classify", "post"), ("/model", "get")):
        operation = api["paths"][path][method]
        assert operation["security"] == [{"HTTPBearer": []}, {"APIKeyHeader": []}]
        assert "401" in operation["responses"]
    assert "security" not in api["paths"]["/livez"]["get"]
    without = create_app(Settings(model_id=str(model_folder)), on_startup_failure=lambda: None).openapi()
    assert "securitySchemes" not in without["components"]
    assert "401" not in without["paths"]["/classify"]["post"]["responses"]


@pytest.mark.parametrize("keys", ["", KEY])
def test_without_a_page_the_api_is_all_there_is(model_folder: Path, keys: str) -> None:
    app = gated(model_folder, GatedBackend(), page=False, api_keys=keys)
    client = TestClient(app, follow_redirects=False)
    assert client.get("/").headers["location"] == "/docs"
    for path in ("/ui", "/ui/", "/ui/login", "/ui/config", "/ui/gradio_api/upload"):
        assert client.get(path).status_code == (401 if keys else 404)
        assert client.get(path, headers=bearer(KEY)).status_code == 404
    assert client.post("/classify", files={"file": MP3}, headers=bearer(KEY)).status_code == 200
