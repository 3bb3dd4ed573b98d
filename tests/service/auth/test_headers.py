"""Security headers, other origins, the documentation, and the port of the metrics."""

import re
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from service.app import create_app
from service.settings import Settings
from tests.service.application import expect_problem
from tests.service.auth.credentials import KEY, bearer


def test_other_origins_are_let_in_only_when_set(model_folder: Path, client: TestClient) -> None:
    preflight = {"Origin": "https://app.example", "Access-Control-Request-Method": "POST"}
    assert "access-control-allow-origin" not in client.options("/classify", headers=preflight).headers
    settings = Settings(model_id=str(model_folder), cors_origins="https://app.example, https://b.example", api_keys=KEY)
    app = create_app(settings, on_startup_failure=lambda: None)
    allowed = TestClient(app).options("/classify", headers=preflight | {"Access-Control-Request-Headers": "x-api-key"})
    assert (allowed.status_code, allowed.headers["access-control-allow-origin"]) == (200, "https://app.example")
    assert "access-control-allow-credentials" not in allowed.headers
    other = TestClient(app).options("/classify", headers=preflight | {"Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in other.headers
    # A refusal must be readable there, too.
    assert TestClient(app).get("/model", headers={"Origin": "https://b.example"}).headers["access-control-allow-origin"]


def test_an_unforeseen_error_can_be_read_by_an_allowed_origin(model_folder: Path) -> None:
    settings = Settings(model_id=str(model_folder), cors_origins="https://app.example", page=False)
    app = create_app(settings, on_startup_failure=lambda: None)

    @app.get("/broken")
    async def broken() -> None:
        raise RuntimeError("unforeseen")

    response = TestClient(app).get("/broken", headers={"Origin": "https://app.example"})
    expect_problem(response, 500, "internal-error")
    assert response.headers["access-control-allow-origin"] == "https://app.example"
    metrics = app.state.metrics.render().decode()
    assert 'genre_http_requests_total{method="GET",route="/broken",status="500"} 1.0' in metrics
    assert 'genre_rejected_total{reason="internal-error"} 1.0' in metrics


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/livez"), ("GET", "/metrics"), ("GET", "/docs"), ("GET", "/nothing"), ("POST", "/classify"),
     ("GET", "/ui"), ("GET", "/ui/config"), ("GET", "/ui/assets/x"), ("OPTIONS", "/livez")],
)  # fmt: skip
def test_every_answer_carries_the_security_headers_and_no_banner(client: TestClient, method: str, path: str) -> None:
    for headers in (None, bearer(KEY)):
        answer = client.request(method, path, headers=headers).headers
        assert answer["x-content-type-options"] == "nosniff"
        assert answer["referrer-policy"] == "no-referrer"
        assert "frame-ancestors 'none'" in answer["content-security-policy"]
        assert not {"server", "x-powered-by"} & answer.keys()
        if "assets" not in path:
            assert answer["cache-control"] == "no-store"


def test_the_documentation_and_its_scripts_come_from_here_and_need_no_key(client: TestClient) -> None:
    page = client.get("/docs").text
    addresses = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert len(addresses) == 3
    for address in addresses:
        assert address.startswith("/docs/static/")
        assert client.get(address).status_code == 200


def test_metrics_can_have_a_port_of_their_own(model_folder: Path) -> None:
    settings = Settings(model_id=str(model_folder), metrics_port=9_000, api_keys=KEY)
    app = create_app(settings, on_startup_failure=lambda: None)
    main, metrics = TestClient(app), TestClient(app, base_url="http://service:9000")
    for path in ("/metrics", "/metrics%0a", "/metrics/"):
        expect_problem(main.get(path, headers=bearer(KEY)), 404, "about:blank")
    assert main.get("/livez").status_code == 200
    assert "genre_http_requests_total" in metrics.get("/metrics").text
    assert metrics.get("/livez").status_code == 200
    assert metrics.get("/", headers=bearer(KEY)).status_code == 404
    for path in ("/ui", "/model", "/docs"):
        expect_problem(metrics.get(path, headers=bearer(KEY)), 404, "about:blank")
