"""API keys: who is let in, everywhere, and how keys are read and replaced."""

import asyncio
import hashlib
import logging
import os
import re
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from starlette.requests import Request
from starlette.routing import Mount
from starlette.testclient import TestClient
from starlette.types import Message

from service.app import create_app
from service.auth import login
from service.auth.keys import SESSION, SESSION_S, KeyRing, session_signer
from service.auth.login import COOKIE
from service.errors import StartupError
from service.middleware.authentication import PUBLIC_PATHS
from service.settings import Settings
from tests.service.test_api import expect_problem, wait_until_ready
from tests.support.audio_files import encode, sweep

KEY = "key-one-0123456789"
OTHER = "key-two-0123456789"
WRONG = "key-one-0123456780"
MP3 = encode(sweep(1.0), "mp3")
HTML = {"Accept": "text/html,*/*"}


@pytest.fixture(scope="module")
def app(model_folder: Path) -> FastAPI:
    settings = Settings(model_id=str(model_folder), api_keys=f"{KEY},\n{OTHER}", max_upload_mb=1)
    return create_app(settings, on_startup_failure=lambda: None)


@pytest.fixture(scope="module")
def running(app: FastAPI) -> Iterator[TestClient]:
    with TestClient(app, follow_redirects=False) as client:
        wait_until_ready(client)
        deadline = time.monotonic() + 120
        while not app.state.page.is_ready:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield client


@pytest.fixture
def client(running: TestClient) -> Iterator[TestClient]:
    """Nobody in particular."""
    yield running
    running.cookies.clear()


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def log_in(client: TestClient, key: str = KEY) -> httpx2.Response:
    response: httpx2.Response = client.post("/ui/login", data={"username": "anybody", "password": key})
    return response


# The API


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
    [("POST", "/classify"), ("GET", "/model"), ("POST", "/"), ("POST", "/v2/x"), ("POST", "/admin/x"),
     ("GET", "/classify"), ("OPTIONS", "/classify"), ("GET", "/livez/"), ("GET", "/uix"),
     ("GET", "/.env")],
)  # fmt: skip
def test_without_a_key_everything_is_closed(
    client: TestClient, headers: dict[str, str], method: str, path: str
) -> None:
    response = client.request(method, path, headers=headers)
    expect_problem(response, 401, "unauthorized", "Send an API key")
    assert response.headers["www-authenticate"] == "Bearer"


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


# The page


def page_routes(app: FastAPI) -> list[tuple[str, str]]:
    """Every method and path of the page's sub-application, its parameters filled in."""
    (page,) = [route for route in app.routes if isinstance(route, Mount) and route.path == "/ui"]

    def flat(routes: Iterable[Any]) -> Iterator[Any]:
        for route in routes:
            yield from flat(route.original_router.routes) if hasattr(route, "original_router") else (route,)

    def filled(path: str) -> str:
        return re.sub(r"\{(\w+)(:\w+)?\}", lambda match: "1" if match[1] in {"component_id", "size"} else "x", path)

    return [
        (method, f"/ui{filled(route.path)}")
        for route in flat(page.routes)
        for method in getattr(route, "methods", None) or ("GET", "POST")
    ]


def test_a_stranger_gets_the_login_form_and_nothing_else_of_the_page(app: FastAPI, client: TestClient) -> None:
    routes = page_routes(app)
    assert ("POST", "/ui/gradio_api/stream/x") in routes
    assert ("POST", "/ui/gradio_api/upload") in routes
    assert len(routes) > 50
    for method, path in routes:
        if (method, path.rstrip("/")) in {("POST", "/ui/login"), ("GET", "/ui/logout")}:
            continue
        response = client.request(method, path, json={} if method == "POST" else None)
        assert response.status_code == 401, (method, path)
        if method == "GET" and path.rstrip("/") == "/ui":
            assert 'type="password"' in response.text
            assert "gradio" not in response.text.lower()
        elif method != "HEAD":
            assert response.json()["type"] == "urn:music-genre:unauthorized", (method, path)


def test_a_login_opens_the_page_and_not_the_api(client: TestClient) -> None:
    response = log_in(client)
    assert (response.status_code, response.json()) == (200, {"success": True})
    assert client.get("/ui/config").status_code == 200
    assert client.post("/ui/gradio_api/upload", files={"files": ("a.mp3", MP3)}).status_code == 200
    # The cookie is bound to the page's path; and were it sent, it is no key.
    cookie = {"Cookie": f"{COOKIE}={client.cookies[COOKIE]}"}
    assert client.get("/model", headers=cookie).status_code == 401
    assert client.get("/ui/logout").status_code == 303
    assert client.get("/ui/config").status_code == 401


def test_a_browser_is_led_from_the_form_to_the_page(client: TestClient) -> None:
    form = client.get("/ui", headers=HTML)
    assert form.status_code == 401
    assert re.search('action="([^"]+)"', form.text)[1] == "ui/login"  # type: ignore[index]
    assert 'action="login"' in client.get("/ui/", headers=HTML).text
    failed = client.post("/ui/login", data={"password": WRONG}, headers=HTML)
    assert failed.status_code == 401
    assert "not a valid key" in failed.text
    assert WRONG not in failed.text
    done = client.post("/ui/login", data={"username": "<b>", "password": OTHER}, headers=HTML)
    assert (done.status_code, done.headers["location"]) == (303, "./")
    cookie = done.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert "Path" not in cookie
    assert "Secure" not in cookie
    assert OTHER not in cookie
    assert "Music genre" in client.get("/ui/", headers=HTML).text


def test_behind_https_the_cookie_is_secure(app: FastAPI) -> None:
    response = log_in(TestClient(app, base_url="https://genre.example"))
    assert "Secure" in response.headers["set-cookie"]


def test_a_key_in_the_header_opens_the_page_too(client: TestClient) -> None:
    assert client.get("/ui/config", headers={"X-API-Key": KEY}).status_code == 200


@pytest.mark.parametrize("body", [b"", b"password=", b"password=" + b"x" * 10_000, b"\xff\x00", b"username=x"])
def test_a_wrong_login_is_refused(client: TestClient, body: bytes) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    expect_problem(client.post("/ui/login", content=body, headers=headers), 401, "unauthorized", "not a valid key")
    assert COOKIE not in client.cookies


def test_many_wrong_logins_are_refused_at_once_and_a_right_one_passes(app: FastAPI) -> None:
    async def storm() -> tuple[list[httpx2.Response], httpx2.Response]:
        transport = httpx2.ASGITransport(app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://service") as client:
            wrong = [asyncio.create_task(client.post("/ui/login", data={"password": WRONG})) for _ in range(50)]
            await asyncio.sleep(0.3)
            right = await client.post("/ui/login", data={"password": KEY})
            assert not all(task.done() for task in wrong)
            return await asyncio.gather(*wrong), right

    wrong, right = asyncio.run(storm())
    assert right.status_code == 200
    statuses = [response.status_code for response in wrong]
    assert (statuses.count(401), statuses.count(429)) == (20, 30)
    expect_problem(next(response for response in wrong if response.status_code == 429), 429, "overloaded")


# Sessions


def test_a_session_is_bound_to_its_key_and_its_time() -> None:
    ring = KeyRing([KEY, OTHER], None)
    session = ring.session(KEY.encode())
    assert ring.accepts_session(session)
    assert not KeyRing([OTHER], None).accepts_session(session)
    page, made_at, signed = session.split(".")
    for forged in ("", ".", f"{page}.{made_at}x.{signed}", f"{page}.{made_at}", f"x.{made_at}.{signed}", "\udcff.é"):
        assert not ring.accepts_session(forged)


@pytest.mark.parametrize(("age_s", "valid"), [(SESSION_S + 5, False), (SESSION_S - 5, True), (0, True), (-60, False)])
def test_session_ends_and_does_not_outlast_a_clock_that_was_set_back(
    age_s: int, valid: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    signer = session_signer(hashlib.sha256(KEY.encode()).digest())
    monkeypatch.setattr(signer, "get_timestamp", lambda: int(time.time()) - age_s)
    assert KeyRing([KEY], None).accepts_session(signer.sign(SESSION).decode()) is valid


# Reading keys


@pytest.mark.parametrize(
    ("keys", "content", "words"),
    [
        ("short", None, "API_KEYS is too weak"),
        (KEY + "é", None, "API_KEYS is too weak or badly spelt"),
        ("two words of a key", None, "badly spelt"),
        ("", "", "holds no key"),
        ("", "\n , \n", "holds no key"),
        ("", "short", "API_KEYS_FILE is too weak"),
        ("", b"\xff\xfe\x00", "not text"),
        ("", "missing", "cannot be read"),
    ],
)
def test_keys_that_cannot_be_used_are_named_without_being_told(
    tmp_path: Path, keys: str, content: str | bytes | None, words: str
) -> None:
    file = tmp_path / "keys"
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif content is not None and content != "missing":
        file.write_text(content)
    with pytest.raises(StartupError, match=words) as raised:
        KeyRing([keys] if keys else [], None if content is None else file)
    assert not keys or keys not in str(raised.value)
    assert str(file) not in str(raised.value)


def test_the_key_ring_tells_no_key() -> None:
    ring = KeyRing([KEY], None)
    assert KEY not in repr(vars(ring))
    assert KEY not in repr(Settings(model_id="x", api_keys=KEY))


def test_the_file_is_followed_and_never_opens_the_service(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    file = tmp_path / "keys"
    file.write_text(f"{KEY}\n")
    ring = KeyRing([], file)

    async def until(accepted: str, refused: str) -> None:
        async with asyncio.timeout(20):
            while not ring.accepts(accepted.encode()) or ring.accepts(refused.encode()):
                await asyncio.sleep(0.05)

    async def rotate() -> None:
        watching = asyncio.create_task(ring.watch())
        # As Kubernetes does it: a link is turned to another file.
        (tmp_path / "new").write_text(OTHER)
        os.replace(tmp_path / "new", file)
        await until(OTHER, KEY)
        for broken in (b"", b"short", b"\xff"):
            file.write_bytes(broken)
            async with asyncio.timeout(20):
                before = len(caplog.records)
                while len(caplog.records) == before:
                    await asyncio.sleep(0.05)
            assert ring
            assert ring.accepts(OTHER.encode())
        file.unlink()
        file.write_text(f"{KEY},{OTHER}")
        await until(KEY, WRONG)
        watching.cancel()

    asyncio.run(rotate())
    assert "stay in force" in caplog.text
    assert KEY not in caplog.text
    assert OTHER not in caplog.text
    assert str(tmp_path) not in caplog.text


# Headers


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


def test_login_that_does_not_arrive_fails() -> None:
    """It held up the end of the service."""

    async def wait() -> Message:
        await asyncio.sleep(60)
        raise AssertionError("it waited")

    scope = {"type": "http", "method": "POST", "path": "/ui/login", "headers": []}
    answer = asyncio.run(login.Login(KeyRing([KEY], None), form_timeout_s=0.1).log_in(Request(scope, wait)))
    assert answer.status_code == 401


# The port of the metrics


def test_metrics_can_have_a_port_of_their_own(model_folder: Path) -> None:
    settings = Settings(model_id=str(model_folder), metrics_port=9_000, api_keys=KEY)
    app = create_app(settings, on_startup_failure=lambda: None)
    main, metrics = TestClient(app), TestClient(app, base_url="http://service:9000")
    for path in ("/metrics", "/metrics%0a", "/metrics/"):
        expect_problem(main.get(path, headers=bearer(KEY)), 404, "about:blank")
    assert main.get("/livez").status_code == 200
    assert "genre_http_requests_total" in metrics.get("/metrics").text
    assert metrics.get("/livez").status_code == 200
    for path in ("/", "/ui", "/model", "/docs"):
        expect_problem(metrics.get(path, headers=bearer(KEY)), 404, "about:blank")
