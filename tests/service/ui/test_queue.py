"""Limits on Gradio's queue, against visitors who are after its memory, its time or its log."""

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import httpx2
import pytest

from service.app import create_app
from service.settings import Settings
from service.ui.hardening import queue
from service.ui.hardening.patches import UploadProgress
from tests.support.audio_files import encode, sweep
from tests.support.serving import serving

API = "/ui/gradio_api"


@pytest.fixture(scope="module")
def served(model_folder: object) -> Iterator[tuple[httpx2.Client, queue.QueueLimits]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(queue, "_LOOK_S", 0.1)
        app = create_app(Settings(model_id=str(model_folder)), on_startup_failure=lambda: None)
        with serving(app) as url, httpx2.Client(base_url=url, timeout=120) as client:
            limits = app.state.page.queue_limits
            limits.max_sessions = 30
            yield client, limits


@pytest.fixture
def client(served: tuple[httpx2.Client, queue.QueueLimits]) -> httpx2.Client:
    return served[0]


@pytest.fixture
def limits(served: tuple[httpx2.Client, queue.QueueLimits]) -> Iterator[queue.QueueLimits]:
    """For a test that lowers them; the others leave a visitor the usual minute, which a busy machine may need."""
    limits = served[1]
    usual = limits.unread_s
    yield limits
    limits.unread_s = usual


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def function(client: httpx2.Client, target: str) -> int:
    """Which of the page's functions an event starts, such as `upload`."""
    calls = client.get("/ui/config").json()["dependencies"]
    return int(next(call["id"] for call in calls if any(event == target for _, event in call["targets"])))


def batches_of(client: httpx2.Client) -> list[int]:
    """Which of the page's functions listen to several files."""
    calls = client.get("/ui/config").json()["dependencies"]
    batches = [call["id"] for call in calls if len(call["outputs"]) == 4]
    assert batches
    return batches


def join(client: httpx2.Client, name: str, fn_index: int, data: object, event: object = None) -> httpx2.Response:
    body = {"fn_index": fn_index, "session_hash": name, "data": data, "event_data": event}
    return client.post(f"{API}/queue/join", content=json.dumps(body), headers={"Content-Type": "application/json"})


def metric(client: httpx2.Client, name: str) -> float:
    return sum(float(line.split()[1]) for line in client.get("/metrics").text.splitlines() if line.startswith(name))


@pytest.mark.thorough
def test_work_for_a_visitor_who_does_not_listen_ends(client: httpx2.Client, limits: queue.QueueLimits) -> None:
    """One request had fifty recordings listened to."""
    flac = encode(sweep(20.0), "flac")
    (path,) = client.post(f"{API}/upload", files={"files": ("song.flac", flac)}).json()
    batches = batches_of(client)
    before = metric(client, "genre_predictions_total")
    for fn_index in batches:
        event = {"files": [{"name": "song", "path": path}] * 50}
        assert join(client, "nobody", fn_index, [None], event).status_code == 200
    wait_until(lambda: metric(client, "genre_predictions_total") > before)
    limits.unread_s = 0.2
    # Asked of the queue itself: to ask for the answers would be to listen.
    wait_until(lambda: "nobody" not in limits._queue.pending_messages_per_session)
    wait_until(lambda: metric(client, "genre_queue_audio_seconds") == 0)
    listened = metric(client, "genre_predictions_total")
    time.sleep(1)
    assert metric(client, "genre_predictions_total") == listened < before + 50
    assert 'session_not_found":true' in client.get(f"{API}/queue/data", params={"session_hash": "nobody"}).text


def test_a_visitor_who_listens_is_left_in_peace(client: httpx2.Client) -> None:
    flac = encode(sweep(1.0), "flac")
    (path,) = client.post(f"{API}/upload", files={"files": ("song.flac", flac)}).json()
    started = client.post(f"{API}/call/classify", json={"data": [{"path": path, "meta": {"_type": "gradio.FileData"}}]})
    # The queue looks several times meanwhile.
    time.sleep(0.5)
    answer = client.get(f"{API}/call/classify/{started.json()['event_id']}").text
    assert "event: complete" in answer


@pytest.mark.parametrize("route", ["queue/join", "call/classify", "cancel", "reset"])
def test_a_long_message_is_refused(client: httpx2.Client, route: str) -> None:
    """One of 48 MB took 2.5 GB, and the event loop for seconds."""
    body = json.dumps({"fn_index": 0, "session_hash": "x", "event_id": "x", "data": [{}] * 20_000}).encode()
    assert len(body) > 64_000
    headers = {"Content-Type": "application/json"}
    for content in (body, iter([body[:50_000], body[50_000:]])):
        refused = client.post(f"{API}/{route}", content=content, headers=headers)
        assert (refused.status_code, refused.json()["type"]) == (413, "urn:music-genre:payload-too-large")
        assert "larger than 0.064 MB" in refused.json()["detail"]


@pytest.mark.thorough
def test_state_kept_of_visitors_is_bounded(client: httpx2.Client) -> None:
    quiet = function(client, "load")
    for name in ("x" * 65, "", "a b", "\ud800"):
        assert join(client, name, quiet, []).status_code in {400, 422}
    # Newcomers displace those who do not read.
    for number in range(60):
        assert join(client, f"visitor-{number}", quiet, []).status_code == 200
    first, last = (client.get(f"{API}/queue/data", params={"session_hash": f"visitor-{n}"}).text for n in (0, 59))
    assert 'session_not_found":true' in first
    assert "process_completed" in last
    assert 'session_not_found":true' not in last


def test_a_batch_does_not_repeat_its_table_for_each_file(client: httpx2.Client) -> None:
    """Unread answers to 2 MB of names took more than a gigabyte."""
    batches = batches_of(client)
    names = [{"name": "\N{GRINNING FACE}" * 80, "path": None}] * 50
    for fn_index in batches:
        assert join(client, f"batch-{fn_index}", fn_index, [None], {"files": names}).status_code == 200
        answers = client.get(f"{API}/queue/data", params={"session_hash": f"batch-{fn_index}"})
        assert "process_completed" in answers.text
        assert answers.text.count("process_generating") <= 2
        assert len(answers.content) < 400_000


def test_an_upload_is_files_and_few(client: httpx2.Client) -> None:
    """Texts were kept in memory."""
    text = {"files": (None, "x" * 100_000)}
    assert client.post(f"{API}/upload", files=text).status_code == 400
    many = [("files", (f"{number}.wav", b"x")) for number in range(20)]
    assert client.post(f"{API}/upload", files=many).status_code == 400
    assert client.get(f"{API}/upload_progress", params={"upload_id": "x" * 1_000}).status_code == 404


def test_tracked_uploads_are_bounded() -> None:
    async def ask() -> None:
        progress = UploadProgress(max_uploads=10)
        for number in range(30):
            if number % 2:
                progress.track(str(number))
            with suppress(TimeoutError):
                async with asyncio.timeout(0):
                    await progress.is_tracked(str(number))
        assert await progress.is_tracked("29")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await progress.is_tracked("1")

    asyncio.run(ask())


@pytest.mark.thorough
def test_a_visitor_writes_nothing_into_the_log(
    client: httpx2.Client, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Gradio printed its tracebacks, and in them the path as it came, line breaks included."""
    forged = json.dumps({"level": "INFO", "message": "forged"})
    ends: list[str] = []
    for call in client.get("/ui/config").json()["dependencies"]:
        path = {"path": f"/etc/passwd\n{forged}\nx", "meta": {"_type": "gradio.FileData"}}
        name = f"forger-{call['id']}"
        if join(client, name, call["id"], [path] * len(call["inputs"])).status_code == 200:
            # To its end: what it writes is written by then.
            ends.append(client.get(f"{API}/queue/data", params={"session_hash": name}).text)
    join(client, "forger", 999, [])
    client.get(f"{API}/call/forged/forged")
    client.post(f"{API}/call/v2/forged", json={"data": []})
    client.post(f"{API}/call/v2/classify", json={"forged": 1})
    client.get("/ui/svelte/forged" + "x" * 5_000)
    assert ends
    assert all("process_completed" in end for end in ends)
    written = capfd.readouterr()
    for text in (written.err, written.out, caplog.text):
        assert "forged" not in text
        assert "Traceback" not in text
