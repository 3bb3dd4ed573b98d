"""Traces: sent where a collector is named, and not even thought of elsewhere."""

import logging
import os
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from starlette.testclient import TestClient

from service.runtime import tracing
from tests.service.application import MP3, GatedBackend, gated, post
from tests.support.collector import Collector, attributes, collecting
from tests.support.processes import ROOT
from tests.support.service_process import START_S, Start, free_port

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
STAGES = {"decode_wait", "decode", "queue", "inference"}

# Read by every Python process that finds it on its path. The service alone is meant: a conversion, in a process of its
# own, imports transformers, which imports what it finds. FastAPI imports OpenTelemetry's API, whatever one does.
_NOTE = """
import sys

def note(event, arguments):
    if event == "import" and sys.orig_argv[-2:] == ["-m", "service"]:
        if arguments[0].startswith(("fastapi", "opentelemetry")):
            with open({imports!r}, "a") as file:
                file.write(arguments[0] + "\\n")

sys.addaudithook(note)
"""


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """A collector that the environment names."""
    with collecting() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        yield collector


@pytest.mark.thorough
def test_sdk_of_opentelemetry_is_not_imported_unless_a_collector_is_named(
    start: Start, model_folder: Path, tmp_path: Path
) -> None:
    imports = tmp_path / "imports"
    (tmp_path / "sitecustomize.py").write_text(_NOTE.format(imports=str(imports)))
    service = start(MODEL_ID=str(model_folder), PYTHONPATH=f"{tmp_path}{os.pathsep}{ROOT}")
    service.wait_for("/readyz")
    answer = service.classify(MP3)
    assert answer.status_code == 200
    assert "traceresponse" not in answer.headers
    assert service.stop() == 0
    imported = imports.read_text().split()
    assert "fastapi" in imported
    assert [name for name in imported if re.match(r"opentelemetry\.(sdk|exporter|proto)", name)] == []


@pytest.mark.thorough
def test_trace_of_a_client_goes_on_through_the_stages(start: Start, model_folder: Path, collector: Collector) -> None:
    settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment=test"}
    service = start(MODEL_ID=str(model_folder), OTEL_BSP_SCHEDULE_DELAY="3600000", **settings)
    service.wait_for("/readyz")
    answer = httpx2.post(
        f"{service.url}/classify",
        files={"file": ("song.mp3", MP3)},
        headers={"traceparent": f"00-{TRACE}-{PARENT}-01"},
        timeout=START_S,
    )
    assert answer.status_code == 200
    assert service.stop() == 0

    request, classification = collector.one("POST /classify"), collector.one("classify")
    assert (request.trace_id.hex(), request.parent_span_id.hex()) == (TRACE, PARENT)
    assert answer.headers["traceresponse"] == f"00-{TRACE}-{request.span_id.hex()}-01"
    assert classification.parent_span_id == request.span_id
    stages = [span for span in collector.spans if span.parent_span_id == classification.span_id]
    assert {span.name for span in stages} == STAGES
    assert len(stages) + 2 == len(collector.spans)
    for span in stages:
        assert classification.start_time_unix_nano <= span.start_time_unix_nano <= span.end_time_unix_nano
        assert span.end_time_unix_nano <= classification.end_time_unix_nano + 50_000_000
    assert attributes(request)["http.response.status_code"] == 200
    assert attributes(classification)["genre.audio.duration_s"] == pytest.approx(3.0, abs=0.1)
    assert collector.resource["service.name"] == "music-genre"
    assert collector.resource["deployment.environment"] == "test"
    (line,) = [line for line in service.log if line.get("route") == "/classify"]
    assert line["trace_id"] == TRACE


def test_spans_last_as_long_as_the_metrics_say(model_folder: Path, collector: Collector) -> None:
    with tracing.exporting({"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}):
        app = gated(model_folder, GatedBackend())
        assert post(TestClient(app), max_windows=2).status_code == 200
    collector.one("POST /classify")
    assert len(collector.named("inference")) == 2
    assert len(collector.named("decode")) == 3
    for stage in STAGES:
        spans_s = sum(span.end_time_unix_nano - span.start_time_unix_nano for span in collector.named(stage)) / 1e9
        metric = app.state.metrics.stage_duration.labels(stage)
        assert spans_s == pytest.approx(metric._sum.get(), abs=0.001)


def test_refusals_and_faults_are_told_apart(model_folder: Path, collector: Collector) -> None:
    backend = GatedBackend()
    with tracing.exporting({"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}):
        client = TestClient(gated(model_folder, backend), raise_server_exceptions=False)
        assert post(client, b"no audio").status_code == 415
        backend.error = RuntimeError("secret")
        assert post(client).status_code == 500
    refused, failed = collector.wait_for("POST /classify", 2)
    assert attributes(refused)["genre.problem"] == "unsupported-media"
    assert attributes(failed)["genre.problem"] == "internal-error"
    assert (refused.status.code, failed.status.code) == (0, 2)
    assert [attributes(span)["error.type"] for span in collector.named("classify")] == [
        "UnsupportedMedia",
        "RuntimeError",
    ]
    assert "secret" not in str(collector.spans)


def test_probes_and_the_page_are_not_traced_and_clients_choose_what_is_sampled(
    model_folder: Path, collector: Collector
) -> None:
    with tracing.exporting({"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}):
        client = TestClient(gated(model_folder, GatedBackend()))
        for path in ("/livez", "/readyz", "/metrics", "/ui/"):
            assert client.get(path).status_code != 404
        answer = client.get("/model", headers={"traceparent": f"00-{TRACE}-{PARENT}-00"})
        assert answer.headers["traceresponse"].startswith(f"00-{TRACE}-")
        assert client.get("/model", headers={"traceparent": "garbage"}).status_code == 200
    span = collector.one("GET /model")
    assert collector.spans == [span]
    assert span.parent_span_id == b""


@pytest.mark.parametrize(
    ("environment", "warning"),
    [
        ({}, None),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": " "}, None),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_SDK_DISABLED": "True"}, None),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_TRACES_EXPORTER": "none"}, None),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "is grpc"),
    ],
    ids=str,
)
def test_tracing_is_off_where_the_variables_say_so(
    environment: dict[str, str], warning: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    with tracing.exporting(environment):
        assert tracing.provider() is None
        assert tracing.traceparent() is None
    assert [record.levelno for record in caplog.records] == ([logging.WARNING] if warning else [])
    assert (warning or "") in caplog.text


def test_missing_packages_are_named_and_no_reason_not_to_serve(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with tracing.exporting({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}):
        assert tracing.provider() is None
    assert "pip install 'music-genre-service[tracing]'" in caplog.text


def test_collector_that_is_down_does_not_hold_up_the_end(model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint = f"http://127.0.0.1:{free_port()}"
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
    with tracing.exporting({"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}):
        assert post(TestClient(gated(model_folder, GatedBackend()))).status_code == 200
        ended = time.monotonic()
    assert time.monotonic() - ended < 5
