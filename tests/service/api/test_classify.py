"""Answers of `/classify`, and audio that it refuses, with the application as it is deployed and a tiny model."""

from pathlib import Path

import pytest
from starlette.testclient import TestClient

from tests.conftest import GENRES
from tests.service.application import GatedBackend, _value, expect_problem, gated, post
from tests.support.audio_files import FORMATS, encode, sweep


@pytest.mark.parametrize("format", FORMATS)
def test_classify_answers_every_format(client: TestClient, format: str) -> None:
    response = post(client, encode(sweep(2.0), format))
    assert response.status_code == 200, response.text
    answer = response.json()
    assert [score["label"] for score in answer["scores"]] != list(GENRES)
    assert {score["label"] for score in answer["scores"]} == set(GENRES)
    scores = [score["score"] for score in answer["scores"]]
    assert scores == sorted(scores, reverse=True)
    assert sum(scores) == pytest.approx(1.0, abs=1e-5)
    assert (answer["genre"], answer["confidence"]) == (answer["scores"][0]["label"], scores[0])
    # Random weights know nothing, and one of ten is far under one half.
    assert answer["decision"] == "uncertain"
    assert answer["duration_s"] == pytest.approx(2.0, abs=0.05)
    assert answer["analysed_s"] == pytest.approx(2.0, abs=0.05)
    assert answer["request_id"] == response.headers["x-request-id"]


def test_classify_names_the_model_that_answered(client: TestClient) -> None:
    model = post(client).json()["model"]
    assert model["id"] == "tiny-genre"
    assert model["revision"].startswith("local-")
    assert model["backend"].startswith("openvino-")


def test_the_same_file_gets_the_same_answer(client: TestClient) -> None:
    first, second = post(client).json(), post(client).json()
    assert first.pop("request_id") != second.pop("request_id")
    assert first == second


def test_a_confident_answer_is_accepted(model_folder: Path, backend: GatedBackend) -> None:
    answer = post(TestClient(gated(model_folder, backend))).json()
    assert (answer["decision"], answer["genre"]) == ("accepted", "blues")
    assert answer["confidence"] == pytest.approx(0.91)


def test_top_k_shortens_the_scores_only(client: TestClient) -> None:
    everything, top, more = post(client).json(), post(client, top_k=3).json(), post(client, top_k=99).json()
    assert top["scores"] == everything["scores"][:3]
    assert more["scores"] == everything["scores"]
    assert top["genre"] == everything["genre"]


def test_max_windows_limits_what_is_analysed(model_folder: Path, backend: GatedBackend) -> None:
    client = TestClient(gated(model_folder, backend, max_windows=2))
    long = encode(sweep(5.0), "flac")
    assert post(client, long, max_windows=1).json()["analysed_s"] == 1.0
    assert post(client, long).json()["analysed_s"] == 2.0
    # The service's own bound holds.
    assert post(client, long, max_windows=50).json()["analysed_s"] == 2.0


def test_a_request_id_of_the_caller_is_kept(client: TestClient) -> None:
    sent = "0123456789abcdef0123456789abcdef"[:12] + "4" + "0123456789abcdef0123456789abcdef"[13:16] + "8" + "0" * 15
    assert client.get("/livez", headers={"X-Request-ID": sent}).headers["x-request-id"] == sent
    assert client.get("/livez", headers={"X-Request-ID": "not an id"}).headers["x-request-id"] != "not an id"


@pytest.mark.parametrize(
    ("data", "status", "type_"),
    [
        (b"just text", 415, "unsupported-media"),
        (b"\x89PNG\r\n\x1a\n" + bytes(500), 415, "unsupported-media"),
        (b"#EXTM3U\n#EXTINF:9,\n/etc/passwd\n", 415, "unsupported-media"),
        (b"", 400, "undecodable-audio"),
        (encode(sweep(3.0), "m4a")[:9000], 400, "undecodable-audio"),
        (encode(sweep(0.01), "wav"), 422, "audio-too-short"),
        (encode(0 * sweep(3.0), "wav"), 422, "silent-audio"),
    ],
    ids=["text", "png", "playlist", "empty", "cut off", "10 ms", "silence"],
)
def test_audio_that_cannot_be_classified_is_a_problem(client: TestClient, data: bytes, status: int, type_: str) -> None:
    before = client.get("/metrics").text
    expect_problem(post(client, data), status, type_)
    series = f'genre_rejected_total{{reason="{type_}"}}'
    assert _value(client.get("/metrics").text, series) == _value(before, series) + 1
