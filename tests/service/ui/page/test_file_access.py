"""No route of the page reads a file of the server that is not an upload of its own."""

import http.server
import os
import socket
import threading
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.service.ui.page.gradio_calls import API, call, file_data, upload, uploads
from tests.support.audio_files import encode, sweep


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A recording on the server that is nobody's business."""
    path = tmp_path / "secret.wav"
    path.write_bytes(encode(sweep(1.0), "wav"))
    return path


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
def test_no_call_of_the_api_reads_a_file_of_the_server(client: httpx2.Client, secret: Path, route: str) -> None:
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


@pytest.mark.thorough
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
    with socket.create_connection((client.base_url.host, client.base_url.port), timeout=120) as connection:
        connection.sendall(f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        return b"".join(iter(lambda: connection.recv(65_536), b""))


def test_helper_raw_get_reads_an_upload(client: httpx2.Client) -> None:
    """Or the test above would prove nothing."""
    flac = encode(sweep(1.0), "flac")
    assert flac in raw_get(client, f"{API}/file={upload(client, flac)}")


def test_a_link_in_the_upload_folder_leads_nowhere(client: httpx2.Client, secret: Path) -> None:
    link = Path(upload(client, encode(sweep(1.0), "flac"))).parent / "link.wav"
    link.symlink_to(secret)
    assert "event: error" in call(client, file_data(str(link)))


@pytest.mark.parametrize(
    "value", ["text", 7, [], {}, {"path": None}, {"path": 7}, {"path": "\0"}, {"path": "x" * 9000}]
)
def test_value_that_is_no_upload_is_refused(client: httpx2.Client, value: object) -> None:
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
