"""The page as browsers and `gradio_client` use it, and as somebody would who wants the server's files."""

import gc
import http.server
import os
import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gradio_client
import httpx2
import pytest

from service.app import create_app
from service.settings import Settings
from tests.conftest import GENRES
from tests.support.audio_files import encode, sweep
from tests.support.serving import serving

API = "/ui/gradio_api"


@pytest.fixture(scope="module")
def url(model_folder: Path) -> Iterator[str]:
    """A running service."""
    app = create_app(Settings(model_id=str(model_folder), max_upload_mb=1), on_startup_failure=lambda: None)
    with serving(app) as url:
        yield url


@pytest.fixture
def client(url: str) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=url, timeout=20) as client:
        yield client


@pytest.fixture(scope="module")
def gradio(url: str) -> Iterator[gradio_client.Client]:
    client = gradio_client.Client(f"{url}/ui", verbose=False, analytics_enabled=False)
    yield client
    client.close()


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A recording on the server that is nobody's business."""
    path = tmp_path / "secret.wav"
    path.write_bytes(encode(sweep(1.0), "wav"))
    return path


def uploads() -> list[bytes]:
    return [path.read_bytes() for path in Path(os.environ["GRADIO_TEMP_DIR"]).rglob("*") if path.is_file()]


def file_data(path: str, **fields: Any) -> dict[str, Any]:
    return {"path": path, "meta": {"_type": "gradio.FileData"}, **fields}


def call(client: httpx2.Client, data: object) -> str:
    """The events that answer a call of the page's function."""
    started = client.post(f"{API}/call/classify", json={"data": [data]})
    assert started.status_code == 200, started.text
    return client.get(f"{API}/call/classify/{started.json()['event_id']}").text


def upload(client: httpx2.Client, data: bytes) -> str:
    response = client.post(f"{API}/upload", files={"files": ("song.flac", data)})
    assert response.status_code == 200, response.text
    (path,) = response.json()
    return str(path)


def test_the_page_is_there_and_knows_where_it_is(client: httpx2.Client) -> None:
    page = client.get("/ui", follow_redirects=True)
    assert page.status_code == 200
    assert 'content="Music genre"' in page.text
    config = client.get("/ui/config").json()
    assert config["root"].endswith("/ui")
    labels = [component["props"].get("label") for component in config["components"]]
    assert "Recording" in labels
    assert "All genres" in labels


def test_every_event_goes_the_way_that_is_open(client: httpx2.Client) -> None:
    """One that passes the queue by would call a route that is closed."""
    calls = client.get("/ui/config").json()["dependencies"]
    assert len(calls) > 5
    assert [call["id"] for call in calls if call["queue"] is False] == []


def test_gradio_client_classifies_a_recording(gradio: gradio_client.Client, tmp_path: Path) -> None:
    path = tmp_path / "song.mp3"
    path.write_bytes(encode(sweep(2.0), "mp3"))
    _, answer, scores, timeline = shown(gradio, path)
    confidences = {entry["label"]: entry["confidence"] for entry in scores["confidences"]}
    assert set(confidences) == set(GENRES)
    assert sum(confidences.values()) == pytest.approx(1.0, abs=1e-3)
    assert scores["label"] == max(confidences, key=lambda genre: confidences[genre])
    assert "Hard to tell. It may be" in answer
    assert "Listened to 0:02 of 0:02." in answer
    assert "tiny-genre" in answer
    assert 'max="2.0"' in timeline


def shown(gradio: gradio_client.Client, path: Path | None) -> list[Any]:
    """What is shown in the end: notice, answer, scores and timeline."""
    values = gradio.predict(gradio_client.handle_file(str(path)) if path else None, api_name="/classify")
    return [value.get("value", value) if isinstance(value, dict) else value for value in values]


def test_the_page_and_the_api_answer_the_same(client: httpx2.Client) -> None:
    flac = encode(sweep(1.0), "flac")
    from_page = call(client, file_data(upload(client, flac)))
    from_api = client.post("/classify", files={"file": flac}).json()
    assert f'"{from_api["genre"]}"' in from_page
    assert str(round(from_api["confidence"], 4)) in from_page


@pytest.mark.parametrize(
    ("data", "words"),
    [(b"no music", "This is not a recording"), (encode(sweep(0.01), "wav"), "This recording is too short")],
)
def test_errors_are_told_in_words(gradio: gradio_client.Client, tmp_path: Path, data: bytes, words: str) -> None:
    path = tmp_path / "song.wav"
    path.write_bytes(data)
    assert words in shown(gradio, path)[0]


def test_no_recording_is_told_in_words(gradio: gradio_client.Client) -> None:
    assert "Choose a recording first" in shown(gradio, None)[0]


def test_an_upload_that_was_swept_is_told_in_words(client: httpx2.Client) -> None:
    path = upload(client, encode(sweep(1.0), "flac"))
    Path(path).unlink()
    assert "expired" in (answer := call(client, file_data(path)))
    assert "Answered by" not in answer


def test_a_file_of_the_server_cannot_be_classified_copied_or_read(client: httpx2.Client, secret: Path) -> None:
    folder = os.environ["GRADIO_TEMP_DIR"]
    for path in (str(secret), f"file://{secret}", os.path.relpath(secret), f"{folder}/../../../../../../..{secret}"):
        answer = call(client, file_data(path))
        assert "event: error" in answer, path
        assert str(secret) not in answer
    for path in (str(secret), f"/..{secret}", "/etc/passwd", os.path.abspath("pyproject.toml")):
        assert client.get(f"{API}/file={path}").status_code in {403, 404}
        assert client.get(f"{API}/file/{path}").status_code in {403, 404}
    assert secret.read_bytes() not in uploads()


@pytest.mark.parametrize("route", ["queue/join", "call/v2/classify"])
def test_no_other_way_of_calling_reaches_a_file_of_the_server(client: httpx2.Client, secret: Path, route: str) -> None:
    body: dict[str, Any] = {"data": [file_data(str(secret))], "fn_index": 0, "session_hash": "a"}
    if route == "call/v2/classify":
        body = {"path": file_data(str(secret))}
    response = client.post(f"{API}/{route}", json=body)
    assert response.status_code == 200
    if route == "queue/join":
        with client.stream("GET", f"{API}/queue/data", params={"session_hash": "a"}) as events:
            answer = "".join(events.iter_text())
        assert '"success":false' in answer
    else:
        answer = client.get(f"{API}/call/classify/{response.json()['event_id']}").text
        assert "event: error" in answer
    assert "confidences" not in answer
    assert str(secret) not in answer
    assert secret.read_bytes() not in uploads()


def test_a_batch_reaches_no_file_of_the_server(client: httpx2.Client, secret: Path) -> None:
    """Its paths come in an event. Gradio checks those too, and our function does."""
    config = client.get("/ui/config").json()
    drops = {part["id"] for part in config["components"] if "drop" in str(part["props"].get("js_on_load"))}
    (batch,) = [call["id"] for call in config["dependencies"] if any(target[0] in drops for target in call["targets"])]
    link = Path(upload(client, encode(sweep(1.0), "flac"))).parent / "batch.wav"
    link.symlink_to(secret)
    for path in (secret, link, f"{link.parent}/../..{secret}"):
        files = [{"name": "a.wav", "path": str(path)}]
        body = {"data": [None], "event_data": {"files": files}, "fn_index": batch, "session_hash": "batch"}
        assert client.post(f"{API}/queue/join", json=body).status_code == 200
        with client.stream("GET", f"{API}/queue/data", params={"session_hash": "batch"}) as events:
            answer = "".join(events.iter_text())
        assert "cannot be accessed" in answer or "Upload the file through this page" in answer, answer
        assert "uncertain" not in answer
    link.unlink()
    assert secret.read_bytes() not in uploads()


PATHS = ("{secret}", "/{secret}", "%2F{secret}", "..{secret}", "{folder}/..{secret}", "{folder}/%2e%2e{secret}",
         "{folder}/../../../../../../..{secret}", "{folder}/link.wav", "file://{secret}", "~/../..{secret}",
         "/proc/self/environ", "/dev/stdin", "pyproject.toml", "./service/app.py", "C:/Windows/win.ini")  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "way",
    [f"{API}/file=", f"{API}/file/", f"{API}/proxy=", "/ui/static/", "/ui/assets/", "/ui/svelte/", "/ui/?deep_link=",
     f"{API}/custom_component/1/client/component/", f"{API}/deep_link?session_hash=", f"{API}/stream/"],
)  # fmt: skip
def test_no_route_reads_a_file_of_the_server(client: httpx2.Client, secret: Path, way: str, path: str) -> None:
    folder = Path(os.environ["GRADIO_TEMP_DIR"])
    folder.mkdir(exist_ok=True)
    link = folder / "link.wav"
    link.unlink(missing_ok=True)
    link.symlink_to(secret)
    target = way + path.format(secret=secret, folder=folder)
    # Once as it is, as attackers do, and once tidied by the client.
    for answer in (raw_get(client, target), client.get(target, follow_redirects=False).content):
        assert b"RIFF" not in answer, target
        assert not any(told in answer for told in (b"[build-system]", b"create_app", b"HF_HOME=")), target
    link.unlink()


def raw_get(client: httpx2.Client, target: str) -> bytes:
    """The answer to a target that is sent as it is."""
    with socket.create_connection((client.base_url.host, client.base_url.port), timeout=20) as connection:
        connection.sendall(f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        return b"".join(iter(lambda: connection.recv(65_536), b""))


def test_raw_get_does_get_files(client: httpx2.Client) -> None:
    """Or the test above would prove nothing."""
    flac = encode(sweep(1.0), "flac")
    assert flac in raw_get(client, f"{API}/file={upload(client, flac)}")


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/proxy=https://x.hf.space/a"), ("POST", "/stream/x"), ("POST", "/stream/x/close"), ("GET", "/deep_link"),
     ("GET", "/stream/a/b/1/playlist-file"), ("POST", "/component_server"), ("POST", "/vibe-edit/"), ("GET", "/runs"),
     ("GET", "/vibe-code"), ("POST", "/process_recording"), ("GET", "/file=https://example.com/a"), ("GET", "/token"),
     ("POST", "/run/classify"), ("POST", "/api/classify"), ("GET", "/dev/reload"), ("GET", "/openapi.json"),
     ("GET", "/../monitoring/summary")],
)  # fmt: skip
def test_what_the_page_does_not_need_is_closed(client: httpx2.Client, method: str, path: str) -> None:
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


def test_a_link_in_the_upload_folder_leads_nowhere(client: httpx2.Client, secret: Path) -> None:
    link = Path(upload(client, encode(sweep(1.0), "flac"))).parent / "link.wav"
    link.symlink_to(secret)
    assert "event: error" in call(client, file_data(str(link)))


@pytest.mark.parametrize(
    "value", ["text", 7, [], {}, {"path": None}, {"path": 7}, {"path": "\0"}, {"path": "x" * 9000}]
)
def test_what_is_no_upload_is_refused(client: httpx2.Client, value: object) -> None:
    assert "event: error" in call(client, value)


def test_no_url_is_fetched_in_place_of_an_upload(client: httpx2.Client) -> None:
    asked: list[str] = []

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

    with http.server.HTTPServer(("127.0.0.1", 0), Answer) as elsewhere:
        threading.Thread(target=elsewhere.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{elsewhere.server_port}/song.wav"
        for data in (file_data(url), file_data(url, url=url)):
            assert "Upload the file through this page" in call(client, data)
        assert "event: error" in call(client, file_data("song.wav", url=url))
        elsewhere.shutdown()
    # An address that Gradio itself would not refuse, as it is public.
    assert "Upload the file through this page" in call(client, file_data("https://huggingface.co/song.wav"))
    assert asked == []


@pytest.mark.parametrize(
    "path", ["/ui/", "/ui/config", f"{API}/info", f"{API}/upload", f"{API}/queue/join", "/classify"]
)
@pytest.mark.parametrize("origin", ["https://evil.example", "http://localhost:3000", "null"])
def test_no_other_origin_is_let_in(client: httpx2.Client, path: str, origin: str) -> None:
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
