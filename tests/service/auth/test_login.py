"""The login of the page: the form, the cookie, and refusals of wrong logins."""

import asyncio
import re
from collections.abc import Iterable, Iterator
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from starlette.requests import Request
from starlette.routing import Mount
from starlette.testclient import TestClient
from starlette.types import Message

from service.auth import login
from service.auth.keys import KeyRing
from service.auth.login import COOKIE
from tests.service.application import expect_problem
from tests.service.auth.credentials import KEY, MP3, OTHER, WRONG

HTML = {"Accept": "text/html,*/*"}


def log_in(client: TestClient, key: str = KEY) -> httpx2.Response:
    response: httpx2.Response = client.post("/ui/login", data={"username": "anybody", "password": key})
    return response


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
    ended = expect_problem(client.get("/ui/config"), 401, "unauthorized", "it has ended. Reload this page")
    # The page shows it as HTML.
    assert "<" not in ended["detail"]


def test_a_browser_is_led_from_the_form_to_the_page(client: TestClient) -> None:
    form = client.get("/ui", headers=HTML)
    assert (form.status_code, form.headers["www-authenticate"]) == (401, "Bearer")
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
    again = client.get("/ui/login", headers=HTML)
    assert (again.status_code, again.headers["location"]) == (303, "./")


def test_behind_https_the_cookie_is_secure(app: FastAPI) -> None:
    response = log_in(TestClient(app, base_url="https://genre.example"))
    assert "Secure" in response.headers["set-cookie"]


def test_a_key_in_the_header_opens_the_page_too(client: TestClient) -> None:
    assert client.get("/ui/config", headers={"X-API-Key": KEY}).status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        b"password=" + b"x" * 10_000,
        *(pytest.param(body, marks=pytest.mark.thorough) for body in (b"", b"password=", b"\xff\x00", b"username=x")),
    ],
)
def test_a_wrong_login_is_refused(client: TestClient, body: bytes) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    expect_problem(client.post("/ui/login", content=body, headers=headers), 401, "unauthorized", "not a valid key")
    assert COOKIE not in client.cookies


def test_many_wrong_logins_are_refused_at_once_and_a_right_one_passes(
    app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Longer than a loaded machine needs for all of them.
    monkeypatch.setattr(login, "_FAILURE_S", 4.0)

    async def storm() -> tuple[list[httpx2.Response], httpx2.Response]:
        transport = httpx2.ASGITransport(app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://service") as client:
            wrong = [asyncio.create_task(client.post("/ui/login", data={"password": WRONG})) for _ in range(50)]
            async with asyncio.timeout(60):
                while sum(task.done() for task in wrong) < 30:
                    await asyncio.sleep(0.01)
            right = await client.post("/ui/login", data={"password": KEY})
            assert not all(task.done() for task in wrong)
            return await asyncio.gather(*wrong), right

    wrong, right = asyncio.run(storm())
    assert right.status_code == 200
    statuses = [response.status_code for response in wrong]
    assert (statuses.count(401), statuses.count(429)) == (20, 30)
    expect_problem(next(response for response in wrong if response.status_code == 429), 429, "overloaded")


def test_login_that_does_not_arrive_fails() -> None:
    """It held up the end of the service."""

    async def wait() -> Message:
        await asyncio.sleep(60)
        raise AssertionError("it waited")

    scope = {"type": "http", "method": "POST", "path": "/ui/login", "headers": []}
    answer = asyncio.run(login.Login(KeyRing([KEY], None), form_timeout_s=0.1).log_in(Request(scope, wait)))
    assert answer.status_code == 401
