"""HEAD, OPTIONS, other methods and preflights: each row is a request, and the answer that is right for it."""

import re

import httpx2
import pytest

from tests.field.conftest import ORIGIN
from tests.support.raw_http import ask
from tests.support.service_process import Service

CHANGING = {"date", "x-request-id", "content-length"}
PATHS = ["/", "/livez", "/readyz", "/model", "/docs", "/openapi.json", "/docs/static/swagger-ui.css", "/metrics",
         "/nothing", "/classify", "/ui", "/ui/", "/ui/config", "/ui/theme.css", "/ui/nothing"]  # fmt: skip
ALLOWED = {
    "/": "GET, HEAD, OPTIONS, POST",
    "/livez": "GET, HEAD, OPTIONS",
    "/model": "GET, HEAD, OPTIONS",
    "/classify": "OPTIONS, POST",
    "/docs": "GET, HEAD, OPTIONS",
    "/docs/static/swagger-ui.css": "GET, HEAD, OPTIONS",
    "/ui/": "GET, HEAD, OPTIONS",
    "/ui/config": "GET, HEAD, OPTIONS",
    "/ui/gradio_api/queue/join": "OPTIONS, POST",
}
PREFLIGHTS = [
    ("POST", "cache-control,x-requested-with"),
    ("POST", "content-type,traceparent,tracestate,baggage"),
    ("POST", "authorization,content-type,x-api-key,x-request-id"),
    ("POST", "sentry-trace,x-datadog-trace-id,x-b3-traceid,uber-trace-id,x-amzn-trace-id"),
    ("POST", "upload-length,tus-resumable,x-file-name,content-range,idempotency-key"),
    ("GET", "range,if-none-match,pragma"),
    ("HEAD", "authorization"),
]


def head_as_get(port: int, path: str) -> None:
    get, head = ask(port, "GET", path), ask(port, "HEAD", path)
    assert (head.status, head.body) == (get.status, b"")
    assert head.headers.keys() == get.headers.keys()
    assert {name: value for name, value in head.headers.items() if name not in CHANGING} == {
        name: value for name, value in get.headers.items() if name not in CHANGING
    }
    # Metrics grow, and a request id is no longer than another.
    assert path == "/metrics" or head.headers.get("content-length") == get.headers.get("content-length")


@pytest.mark.parametrize("path", PATHS)
def test_head_has_the_status_and_headers_of_get(field_service: Service, path: str) -> None:
    head_as_get(field_service.port, path)


@pytest.mark.parametrize("path", ["/metrics", "/livez", "/readyz", "/", "/ui/"])
def test_head_has_the_status_and_headers_of_get_on_the_metrics_port(
    field_service: Service, metrics_port: int, path: str
) -> None:
    head_as_get(metrics_port, path)


def test_head_of_assets_has_the_headers_of_get(field_service: Service) -> None:
    page = ask(field_service.port, "GET", "/ui/").body.decode()
    asset = re.search(r'"[^"]*?(/ui/assets/[^"]+\.js)"', page) or re.search(r'"\./(assets/[^"]+\.js)"', page)
    assert asset
    path = asset[1] if asset[1].startswith("/") else f"/ui/{asset[1]}"
    assert ask(field_service.port, "HEAD", path).status == 200
    head_as_get(field_service.port, path)


def test_head_of_a_stream_ends(field_service: Service) -> None:
    answer = ask(field_service.port, "HEAD", "/ui/gradio_api/heartbeat/visitor")
    assert (answer.status, answer.headers["x-accel-buffering"]) == (200, "no")


def test_head_is_counted_as_head_and_as_no_error(field_service: Service, metrics_port: int) -> None:
    assert ask(field_service.port, "HEAD", "/model").status == 200
    text = httpx2.get(f"http://127.0.0.1:{metrics_port}/metrics").text
    assert 'genre_http_requests_total{method="HEAD",route="/model",status="200"}' in text
    assert 'method="HEAD",route="/model",status="405"' not in text


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "TRACE", "BREW"])
@pytest.mark.parametrize(("path", "allowed"), ALLOWED.items())
def test_other_method_is_a_problem_that_names_the_right_ones(
    field_service: Service, path: str, allowed: str, method: str
) -> None:
    answer = ask(field_service.port, method, path)
    assert (answer.status, answer.json["type"], answer.headers["allow"]) == (405, "about:blank", allowed)
    # Hugging Face's clients, to whom POST / belongs, read errors in a shape of their own.
    assert allowed in answer.json["error" if path == "/" else "detail"]


@pytest.mark.parametrize(("path", "allowed"), ALLOWED.items())
def test_options_without_an_origin_names_the_methods(field_service: Service, path: str, allowed: str) -> None:
    answer = ask(field_service.port, "OPTIONS", path)
    assert (answer.status, answer.headers["allow"], answer.body) == (204, allowed, b"")
    assert ask(field_service.port, "OPTIONS", "/nothing").problem == (404, "about:blank")


@pytest.mark.parametrize(("method", "names"), PREFLIGHTS, ids=[names for _, names in PREFLIGHTS])
def test_preflight_of_an_allowed_origin_passes(field_service: Service, method: str, names: str) -> None:
    asked = {"Access-Control-Request-Method": method, "Access-Control-Request-Headers": names}
    answer = ask(field_service.port, "OPTIONS", "/classify", asked | {"Origin": ORIGIN})
    assert (answer.status, answer.headers["access-control-allow-origin"]) == (200, ORIGIN)
    assert answer.headers["access-control-allow-headers"] == names
    assert method in answer.headers["access-control-allow-methods"].split(", ")
    assert "access-control-allow-credentials" not in answer.headers
    stranger = ask(field_service.port, "OPTIONS", "/classify", asked | {"Origin": "https://other.example"})
    assert stranger.status == 400
    assert "access-control-allow-origin" not in stranger.headers


def test_preflight_from_the_internet_to_a_private_network_passes(field_service: Service) -> None:
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Private-Network": "true"}
    answer = ask(field_service.port, "OPTIONS", "/classify", asked | {"Origin": ORIGIN})
    assert (answer.status, answer.headers["access-control-allow-private-network"]) == (200, "true")


def test_page_of_an_allowed_origin_may_read_the_headers_that_help_it(field_service: Service) -> None:
    exposed = ask(field_service.port, "GET", "/livez", {"Origin": ORIGIN}).headers["access-control-expose-headers"]
    assert {"X-Request-ID", "Retry-After", "WWW-Authenticate"} <= set(exposed.split(", "))
