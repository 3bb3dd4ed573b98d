"""Requests that are not valid: each is answered by a problem that names what is wrong."""

import asyncio
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.requests import Request
from starlette.testclient import TestClient

from service.api.receiving import MAX_RECORDINGS, spooled_file
from service.api.recording import recordings
from tests.service.application import MAX_UPLOAD_MB, MP3, GatedBackend, expect_problem, gated, post
from tests.support.audio_files import encode, sweep


def test_a_missing_file_is_a_problem(client: TestClient) -> None:
    expect_problem(client.post("/classify"), 422, "invalid-parameter", "one field `file`")
    expect_problem(client.post("/classify", files={"audio": MP3}), 422, "invalid-parameter", "one field `file`")


def test_a_text_field_instead_of_a_file_is_a_problem(client: TestClient) -> None:
    response = client.post("/classify", data={"file": "song.mp3"}, files={"other": b"x"})
    expect_problem(response, 422, "invalid-parameter", "one field `file`, with a file name")


def test_a_second_file_is_a_problem_rather_than_ignored(client: TestClient) -> None:
    response = client.post("/classify", files=[("file", ("a.mp3", MP3)), ("file", ("b.mp3", MP3))])
    expect_problem(response, 422, "invalid-parameter", "one field `file`")


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", b'{"file": "x"}'),
        ("multipart/form-data", MP3),
        ("multipart/form-data; boundary=x", b"no boundary anywhere"),
        ("multipart/form-data; boundary=x", b'--x\r\nContent-Disposition: form-data; name="file"; filename="a'),
    ],
)
def test_a_body_that_is_no_multipart_form_is_a_problem(client: TestClient, content_type: str, body: bytes) -> None:
    response = client.post("/classify", content=body, headers={"Content-Type": content_type})
    expect_problem(response, 422, "invalid-parameter", "multipart/form-data")


@pytest.mark.parametrize("query", ["top_k=0", "top_k=-1", "top_k=many", "max_windows=0", "max_windows=1.5"])
def test_a_wrong_parameter_is_named(client: TestClient, query: str) -> None:
    response = client.post(f"/classify?{query}", files={"file": MP3})
    expect_problem(response, 422, "invalid-parameter", query.split("=")[0])


def test_an_unknown_path_is_a_problem(client: TestClient) -> None:
    expect_problem(client.get("/nothing/here"), 404, "about:blank")


def test_a_wrong_method_is_a_problem_that_says_which_is_right(client: TestClient) -> None:
    response = client.get("/classify")
    expect_problem(response, 405, "about:blank")
    assert response.headers["allow"] == "OPTIONS, POST"


@pytest.mark.parametrize("path", ["/classify", "/livez", "/model"])
def test_a_declared_body_over_the_limit_is_refused(client: TestClient, path: str) -> None:
    body = bytes(round(MAX_UPLOAD_MB * 1e6) + 1)
    expect_problem(client.post(path, content=body), 413, "payload-too-large", "larger than 2 MB")


def test_a_declared_body_over_the_limit_is_refused_before_it_is_read(client: TestClient) -> None:
    read = 0

    def parts() -> Iterator[bytes]:
        nonlocal read
        for _ in range(100):
            read += 1
            yield bytes(100_000)

    declared = client.post("/classify", content=parts(), headers={"Content-Length": "1000000000"})
    expect_problem(declared, 413, "payload-too-large")
    assert read == 0


def test_a_chunked_body_over_the_limit_is_refused_as_it_arrives(model_folder: Path, backend: GatedBackend) -> None:
    app = gated(model_folder, backend)
    sent = 0

    async def parts() -> Any:
        nonlocal sent
        yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
        for _ in range(100):
            sent += 100_000
            yield bytes(100_000)

    async def send() -> httpx2.Response:
        transport = httpx2.ASGITransport(app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://service") as client:
            return await client.post(
                "/classify", content=parts(), headers={"Content-Type": "multipart/form-data; boundary=x"}
            )

    expect_problem(asyncio.run(send()), 413, "payload-too-large", "larger than 2 MB")
    assert sent < 2.5e6


def test_a_body_at_the_limit_is_read(client: TestClient) -> None:
    wav = encode(sweep(19.0), "wav")
    assert 0.9 * MAX_UPLOAD_MB * 1e6 < len(wav) < MAX_UPLOAD_MB * 1e6
    assert post(client, wav).status_code == 200


@pytest.mark.parametrize("charset", ["punycode", "idna", "undefined", "utf-16"])
@pytest.mark.parametrize("path", ["/classify", "/ui/gradio_api/upload"])
def test_a_form_in_another_charset_is_refused(client: TestClient, path: str, charset: str) -> None:
    """Punycode takes quadratic time to decode: a field of a megabyte stopped everything for minutes."""
    headers = {"Content-Type": f"multipart/form-data; boundary=x; charset={charset}"}
    body = b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\nx\r\n--x--\r\n'
    expect_problem(client.post(path, content=body, headers=headers), 422, "invalid-parameter", "UTF-8")


def test_the_charset_of_what_is_no_form_with_files_is_of_no_matter(client: TestClient) -> None:
    assert client.get("/livez", headers={"Content-Type": "text/plain; charset=iso-8859-1"}).status_code == 200


@pytest.mark.parametrize("fields", [{"title": "x" * 20_000}, {f"field{number}": "x" for number in range(20)}])
def test_fields_beside_the_file_are_few_and_small(client: TestClient, fields: dict[str, str]) -> None:
    """They are kept in memory."""
    response = client.post("/classify", files={"file": encode(sweep(1.0), "mp3")}, data=fields)
    expect_problem(response, 422, "invalid-parameter", "not valid multipart")


def test_some_fields_beside_the_file_are_left_out(client: TestClient) -> None:
    response = client.post("/classify", files={"file": encode(sweep(1.0), "mp3")}, data={"title": "x" * 1_000})
    assert response.status_code == 200


def test_the_files_of_a_request_share_a_megabyte_of_memory() -> None:
    """What is larger lies in files, whoever sends slowly."""
    part = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n' + bytes(100_000) + b"\r\n"
    form = b"".join([part] * MAX_RECORDINGS) + b"--x--\r\n"

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": form, "more_body": False}

    async def in_memory() -> int:
        headers = [(b"content-type", b"multipart/form-data; boundary=x")]
        request = Request({"type": "http", "method": "POST", "headers": headers}, receive)
        async with aclosing(recordings(request)) as several:
            files = await anext(several)
            assert len(files) == MAX_RECORDINGS
            return sum(file.size or 0 for file in files if not getattr(file.file, "_rolled"))  # noqa: B009

    assert asyncio.run(in_memory()) <= 1 << 20
    with spooled_file() as file:
        file.write(bytes((1 << 20) // MAX_RECORDINGS + 1))
        assert getattr(file, "_rolled")  # noqa: B009
