"""The page as browsers and `gradio_client` use it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio_client
import httpx2
import pytest

from tests.conftest import GENRES
from tests.service.ui.page.gradio_calls import call, file_data, upload
from tests.support.audio_files import encode, sweep


@pytest.fixture(scope="module")
def gradio(url: str) -> Iterator[gradio_client.Client]:
    client = gradio_client.Client(f"{url}/ui", verbose=False, analytics_enabled=False)
    yield client
    client.close()


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


def test_jobs_of_one_program_are_each_answered(gradio: gradio_client.Client, tmp_path: Path) -> None:
    jobs = []
    for seconds in (2, 3, 4):
        song = tmp_path / f"{seconds}.wav"
        song.write_bytes(encode(sweep(seconds), "wav"))
        jobs.append(gradio.submit(gradio_client.handle_file(str(song)), api_name="/classify"))
    answers = [str(job.result(timeout=120)) for job in jobs]
    for seconds, answer in zip((2, 3, 4), answers, strict=True):
        assert f"Listened to 0:0{seconds} of 0:0{seconds}." in answer


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


def test_missing_recording_is_an_error_in_words(gradio: gradio_client.Client) -> None:
    assert "Choose a recording first" in shown(gradio, None)[0]


def test_an_upload_that_was_swept_is_told_in_words(client: httpx2.Client) -> None:
    path = upload(client, encode(sweep(1.0), "flac"))
    Path(path).unlink()
    assert "expired" in (answer := call(client, file_data(path)))
    assert "Answered by" not in answer
