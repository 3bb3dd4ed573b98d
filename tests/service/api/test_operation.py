"""What operators and developers ask the service: the model card, health, documents, metrics and the log."""

import json
import logging
import re
import shutil
import subprocess
from collections.abc import Callable

import httpx2
import pytest
from starlette.testclient import TestClient

from tests.conftest import GENRES
from tests.service.application import MP3, _value, post

OPEN_INFERENCE_MODELS = ("/v2/models/{model_name}", "/v2/models/{model_name}/versions/{model_version}")
STAGES = ("decode_wait", "decode", "queue", "inference")


def test_every_refusal_is_counted_once_whoever_raised_it(client: TestClient) -> None:
    def counted() -> dict[str, float]:
        lines = client.get("/metrics").text.splitlines()
        series = [line.rsplit(" ", 1) for line in lines if line.startswith("genre_rejected_total{")]
        return {name.split('"')[1]: float(value) for name, value in series}

    latin = {"Content-Type": "multipart/form-data; boundary=x; charset=latin-1"}
    refusals: list[tuple[str, Callable[[], httpx2.Response]]] = [
        ("invalid-parameter", lambda: client.post("/classify")),
        ("invalid-parameter", lambda: client.post("/classify?top_k=0", files={"file": MP3})),
        ("invalid-parameter", lambda: client.post("/classify", content=b"--x--", headers=latin)),
        ("payload-too-large", lambda: client.post("/classify", files={"file": bytes(60_000_000)})),
        ("payload-too-large", lambda: client.post("/ui/gradio_api/queue/join", content=bytes(70_000))),
    ]
    for reason, send in refusals:
        before = counted()
        assert send().status_code >= 400
        expected = before | {reason: before.get(reason, 0) + 1}
        assert counted() == expected
    before = counted()
    assert client.get("/nothing").status_code == 404
    assert counted() == before


def test_the_model_card_tells_what_serving_took_from_the_repo(client: TestClient) -> None:
    card = client.get("/model").json()
    assert card["id"] == "tiny-genre"
    assert card["labels"] == list(GENRES)
    assert (card["sampling_rate"], card["window_s"]) == (16_000, 30.0)
    assert (card["temperature"], card["uncertain_below"]) == (1.0, 0.5)
    assert card["defaulted"] == ["window_s", "temperature", "uncertain_below"]


def test_readiness_and_liveness(client: TestClient) -> None:
    assert client.get("/readyz").json() == {"status": "ready"}
    assert client.get("/livez").json() == {"status": "alive"}


def test_the_start_page_leads_to_the_ui(client: TestClient) -> None:
    response = client.get("/")
    assert (response.status_code, response.headers["location"]) == (307, "/ui/")


def test_the_docs_describe_every_route_and_error(client: TestClient) -> None:
    assert "swagger" in client.get("/docs").text.lower()
    api = client.get("/openapi.json").json()
    assert set(api["paths"]) == {
        *("/classify", "/classify/batch", "/model", "/livez", "/readyz", "/metrics"),
        *("/", "/predict", "/health", "/info"),
        *("/v2", "/v2/health/live", "/v2/health/ready"),
        *(f"{model}{path}" for model in OPEN_INFERENCE_MODELS for path in ("", "/ready", "/infer")),
    }
    responses = api["paths"]["/classify"]["post"]["responses"]
    assert {"200", "400", "413", "415", "422", "429", "503", "504"} <= responses.keys()
    for status in ("400", "422", "503"):
        assert list(responses[status]["content"]) == ["application/problem+json"]


@pytest.mark.skipif(shutil.which("promtool") is None, reason="Prometheus is missing: apt-get install prometheus")
def test_promtool_finds_no_fault_with_the_metrics(client: TestClient) -> None:
    assert post(client).status_code == 200
    metrics = client.get("/metrics").text
    result = subprocess.run(["promtool", "check", "metrics"], input=metrics, capture_output=True, text=True)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_metrics_count_requests_stages_and_answers(client: TestClient) -> None:
    before = client.get("/metrics").text
    genre = post(client).json()["genre"]
    response = client.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=")
    after = response.text
    for series in (
        'genre_http_requests_total{method="POST",route="/classify",status="200"}',
        'genre_http_request_duration_seconds_count{route="/classify"}',
        *(f'genre_stage_duration_seconds_count{{stage="{stage}"}}' for stage in STAGES),
        "genre_audio_duration_seconds_count",
        f'genre_predictions_total{{decision="uncertain",genre="{genre}"}}',
        "genre_confidence_count",
    ):
        assert _value(after, series) == _value(before, series) + 1, series
    assert _value(after, "genre_audio_duration_seconds_sum") - _value(
        before, "genre_audio_duration_seconds_sum"
    ) == pytest.approx(3.0, abs=0.05)
    assert _value(after, "genre_queue_audio_seconds") == 0
    assert re.search(
        r'^genre_model_info\{backend="openvino-[^"]+",id="tiny-genre",revision="local-[^"]+"\} 1\.0$', after, re.M
    )


def test_every_metric_explains_itself(client: TestClient) -> None:
    post(client)
    text = client.get("/metrics").text
    helped = set(re.findall(r"^# HELP (\S+) \S+", text, re.M))
    named = set(re.findall(r"^# TYPE (\S+) ", text, re.M))
    assert named == helped
    assert {"process_resident_memory_bytes", "python_gc_collections_total", "python_info"} <= named
    for sample in re.findall(r"^([a-z_]+)", text, re.M):
        assert any(
            sample == name or sample.removeprefix(name) in {"_sum", "_count", "_bucket", "_created"} for name in named
        )


def test_no_label_takes_what_a_client_chooses(client: TestClient) -> None:
    for number in range(20):
        client.get(f"/random/{number}")
        client.get(f"/ui{number}")
        client.get(f"/ui/random/{number}")
        client.get(f"/livez/{number}")
        client.get(f"/v2/models/{number}")
        client.get("/ui/config")
        client.request(f"METHOD{number}", "/livez")
    text = client.get("/metrics").text
    labels = dict.fromkeys(("route", "method"), set[str]())
    labels = {name: set(re.findall(rf'[{{,]{name}="([^"]*)"', text)) for name in labels}
    routes = {"/classify", "/model", "/livez", "/readyz", "/metrics", "/", "/docs", "/openapi.json", "/ui", "unmatched"}
    routes |= {"/classify/batch", "/predict", "/health", "/info", "/v2", "/v2/health/live", "/v2/health/ready"}
    routes |= {f"{model}{path}" for model in OPEN_INFERENCE_MODELS for path in ("", "/ready", "/infer")}
    assert labels["route"] <= routes
    assert not any(method.startswith("METHOD") for method in labels["method"])
    assert _value(text, 'genre_http_requests_total{method="GET",route="unmatched",status="404"}') >= 60
    assert _value(text, 'genre_http_requests_total{method="other",route="/livez",status="405"}') >= 20


def test_a_request_id_is_a_uuid_or_none_of_ours(client: TestClient) -> None:
    good = "3f2b8c4e-7d6a-4b1f-9c0d-5e8a7b6c4d3f"
    assert client.get("/livez", headers={"X-Request-ID": good}).headers["x-request-id"] == good
    for bad in ("-" * 3_000 + good.replace("-", ""), "forged"):
        assert client.get("/livez", headers={"X-Request-ID": bad}).headers["x-request-id"] != bad


def test_a_request_leaves_one_log_line_without_its_file_name(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    post(client, top_k=1)
    (record,) = [record for record in caplog.records if record.name == "service.middleware.request_log"]
    fields = record.__dict__
    assert (fields["method"], fields["route"], fields["status"]) == ("POST", "/classify", 200)
    assert fields["duration_ms"] > 0
    assert "song.mp3" not in json.dumps([str(value) for entry in caplog.records for value in entry.__dict__.values()])
