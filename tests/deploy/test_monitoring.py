"""Dashboard, alerts, runbook and metrics belong together; Prometheus itself reads and answers all of them."""

import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml

from service.errors import FAULTS
from service.metrics import Metrics
from service.metrics.recent import MIN_ANSWERS
from service.model.serving_file import Reference
from tests.conftest import GENRES
from tests.support.audio_files import encode, sweep
from tests.support.golden_model import copy
from tests.support.service_process import START_S, Service, Start, free_port

pytestmark = pytest.mark.thorough

_ROOT = Path(__file__).parents[2]
_RULES = _ROOT / "deploy" / "prometheus" / "alerts.yml"
_DASHBOARD = _ROOT / "deploy" / "grafana" / "dashboards" / "music-genre.json"
_NAME = re.compile(r"\bgenre_\w+")
_DEBIAN = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="Prometheus is missing: apt-get install prometheus"
)


def _rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(_RULES.read_text())["groups"] for rule in group["rules"]]


def _expressions() -> list[str]:
    """The expressions of the dashboard's panels."""
    panels = json.loads(_DASHBOARD.read_text())["panels"]
    return [target["expr"] for panel in panels for target in panel.get("targets", [])]


def _metrics_of_ours() -> dict[str, set[str]]:
    """The names of the series of each metric."""
    kinds = {"counter": {"_total"}, "gauge": {""}, "histogram": {"_bucket", "_count", "_sum"}}
    return {
        metric.name: {f"{metric.name}{suffix}" for suffix in kinds[metric.type]}
        for metric in Metrics().registry.collect()
        if metric.name.startswith("genre_")
    }


def test_every_metric_is_shown_or_watched_and_no_other_is_asked_for() -> None:
    asked = set(_NAME.findall(" ".join([*_expressions(), *(rule["expr"] for rule in _rules())])))
    metrics = _metrics_of_ours()
    assert asked <= set().union(*metrics.values())
    assert [name for name, series in metrics.items() if not series & asked] == []


def test_every_alert_has_a_paragraph_in_the_runbook() -> None:
    alerts = [rule for rule in _rules() if "alert" in rule]
    headings = re.findall(r"^## (\w+)$", (_ROOT / "docs" / "runbook.md").read_text(), re.MULTILINE)
    assert [rule["alert"] for rule in alerts] == headings
    for rule in alerts:
        assert rule["annotations"]["runbook"] == f"docs/runbook.md#{rule['alert'].lower()}"


def test_alerts_ask_for_every_fault() -> None:
    asked = re.findall(r'genre_rejected_total\{reason=~"([^"]+)"', _RULES.read_text())
    assert {frozenset(reasons.split("|")) for reasons in asked} == {frozenset(fault.type for fault in FAULTS)}


@_DEBIAN
def test_rules_fire_and_keep_silent_as_written() -> None:
    tests = sorted(_RULES.parent.glob("*_test.yml"))
    result = subprocess.run(["promtool", "test", "rules", *tests], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    fired = set(re.findall(r'alertname="(\w+)"', "".join(test.read_text() for test in tests)))
    assert fired == {rule["alert"] for rule in _rules() if "alert" in rule}


@contextmanager
def _prometheus(service: Service, folder: Path) -> Iterator[str]:
    """The address of a Prometheus that scrapes a service twice a second."""
    config = yaml.safe_load((_RULES.parent / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "500ms", "evaluation_interval": "500ms"}
    config["rule_files"] = [str(_RULES)]
    config["scrape_configs"] = [
        {"job_name": "music-genre", "static_configs": [{"targets": [service.url.removeprefix("http://")]}]}
    ]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    address = f"127.0.0.1:{free_port()}"
    command = ["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
    with subprocess.Popen(
        [*command, f"--web.listen-address={address}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            yield f"http://{address}"
        finally:
            process.terminate()


def _unanswered(prometheus: str, expressions: list[str]) -> list[str]:
    """The expressions for which Prometheus has no sample."""
    empty = []
    for expression in expressions:
        query = expression.replace("$__rate_interval", "1m")
        try:
            answer = httpx2.get(f"{prometheus}/api/v1/query", params={"query": query}).raise_for_status()
        except httpx2.HTTPError:  # It starts.
            return expressions
        if not answer.json()["data"]["result"]:
            empty.append(expression)
    return empty


@_DEBIAN
def test_prometheus_answers_every_expression_of_the_dashboard(
    start: Start, golden_folder: Path, tmp_path: Path
) -> None:
    reference = Reference(clips=50, genres=dict.fromkeys(GENRES, 0.1), confidence=[0.1] * 10)
    service = start(MODEL_ID=str(copy(golden_folder, tmp_path / "model", reference=reference.model_dump())))
    service.wait_for("/readyz")
    songs = [("file", ("sweep.wav", encode(sweep(1.0), "wav")))] * (MIN_ANSWERS // 4)
    for _ in range(4):
        answer = httpx2.post(f"{service.url}/classify/batch", files=songs, timeout=START_S)
        assert answer.text.count('"answer"') == len(songs), answer.text
    expressions = [*_expressions(), *(rule["record"] for rule in _rules() if "record" in rule)]
    with _prometheus(service, tmp_path) as prometheus:
        deadline = time.monotonic() + 300
        while empty := _unanswered(prometheus, expressions):
            assert time.monotonic() < deadline, empty
            assert service.classify(encode(sweep(1.0), "mp3")).status_code == 200
            assert service.classify(b"no audio").status_code == 415
    assert service.stop() == 0
