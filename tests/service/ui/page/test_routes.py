"""Closed routes of Gradio, other origins, and uploads that are refused or cut off."""

import gc
import os
import resource
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest

from tests.service.ui.page.gradio_calls import API, upload, uploads
from tests.support.audio_files import encode, sweep


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/proxy=https://x.hf.space/a"), ("POST", "/stream/x"), ("POST", "/stream/x/close"), ("GET", "/deep_link"),
     ("GET", "/stream/a/b/1/playlist-file"), ("POST", "/component_server"), ("POST", "/vibe-edit/"), ("GET", "/runs"),
     ("GET", "/vibe-code"), ("POST", "/process_recording"), ("GET", "/file=https://example.com/a"), ("GET", "/token"),
     ("POST", "/run/classify"), ("POST", "/api/classify"), ("GET", "/dev/reload"), ("GET", "/openapi.json"),
     ("GET", "/../monitoring/summary")],
)  # fmt: skip
def test_routes_that_the_page_does_not_need_answer_404(client: httpx2.Client, method: str, path: str) -> None:
    response = client.request(method, f"{API}{path}", json={} if method == "POST" else None)
    assert response.status_code == 404
    assert response.json()["type"] == "about:blank"


def test_a_range_of_an_upload_repeats_nothing_of_the_request(client: httpx2.Client) -> None:
    """Gradio answers a range with all headers of the request, which may hold a key."""
    flac = encode(sweep(1.0), "flac")
    headers = {"Range": "bytes=0-3", "X-API-Key": "private", "Cookie": "a=private", "Content-Type": "text/html"}
    response = client.get(f"{API}/file={upload(client, flac)}", headers=headers)
    assert (response.status_code, response.content) == (206, b"fLaC")
    assert response.headers["content-range"] == f"bytes 0-3/{len(flac)}"
    assert "private" not in str(response.headers)
    assert "html" not in response.headers["content-type"]


@pytest.mark.parametrize(
    "path", ["/ui/", "/ui/config", f"{API}/info", f"{API}/upload", f"{API}/queue/join", "/classify"]
)
@pytest.mark.parametrize("origin", ["https://evil.example", "http://localhost:3000", "null"])
def test_page_allows_no_other_origin(client: httpx2.Client, path: str, origin: str) -> None:
    headers = {"Origin": origin, "Cookie": "access-token=x"}
    preflight = {**headers, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    responses = (
        client.get(path, headers=headers),
        client.post(path, headers=headers),
        client.options(path, headers=preflight),
    )
    for response in responses:
        assert "access-control-allow-origin" not in response.headers
        # It would do nothing without an origin.
        assert response.headers.get("access-control-allow-credentials") is None


def test_an_upload_over_the_limit_is_refused(client: httpx2.Client) -> None:
    large = bytes(1_100_000)
    declared = client.post(f"{API}/upload", files={"files": ("a.wav", large)})
    assert declared.status_code == 413
    assert declared.json()["type"] == "urn:music-genre:payload-too-large"

    def parts() -> Iterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.wav"\r\n\r\n'
        for _ in range(11):
            yield bytes(100_000)
        yield b"\r\n--x--\r\n"

    chunked = client.post(f"{API}/upload", content=parts(), headers={"Content-Type": "multipart/form-data; boundary=x"})
    assert chunked.status_code == 413
    assert chunked.json()["type"] == "urn:music-genre:payload-too-large"
    assert bytes(100_000) not in uploads()
    assert not [path for path in Path(os.environ["GRADIO_TEMP_DIR"]).iterdir() if path.is_file()]


def test_an_upload_that_is_cut_off_leaves_nothing(client: httpx2.Client) -> None:
    folder = Path(os.environ["GRADIO_TEMP_DIR"])
    head = f"POST {API}/upload HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=x\r\n"
    part = '--x\r\nContent-Disposition: form-data; name="files"; filename="a.wav"\r\n\r\n'
    connection = socket.create_connection((client.base_url.host, client.base_url.port))
    connection.sendall(f"{head}Content-Length: 900000\r\n\r\n{part}".encode() + bytes(500_000))
    wait_until(lambda: any(path.is_file() for path in folder.iterdir()))
    connection.close()
    wait_until(lambda: not any(path.is_file() for path in folder.iterdir()))


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
def test_an_upload_that_finds_no_room_is_told_so(client: httpx2.Client) -> None:
    """A limit on the size of files stands for a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
    try:
        response = client.post(f"{API}/upload", files={"files": ("a.wav", bytes(500_000))})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert response.status_code == 507
    assert response.json()["type"] == "urn:music-genre:storage-full"
    # Gradio forgets to close the file.
    gc.collect()


def test_a_failure_of_the_page_tells_nothing_of_itself(client: httpx2.Client) -> None:
    response = client.post(f"{API}/queue/join", json={"fn_index": 999, "session_hash": "x", "data": []})
    assert response.status_code == 500
    assert response.json()["type"] == "urn:music-genre:internal-error"


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
