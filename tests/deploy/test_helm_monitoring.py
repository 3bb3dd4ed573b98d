"""What the chart gives to Prometheus, Grafana and KEDA, and what Prometheus answers KEDA."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from service.metrics import Metrics
from tests.support.helm import CHART, MISSING, Manifest, one, render

pytestmark = [pytest.mark.thorough, pytest.mark.skipif(MISSING is not None, reason=str(MISSING))]

DEPLOY = CHART.parents[1]


def scaled_object(*arguments: str) -> Manifest:
    return one(render(*arguments, values="full"), "ScaledObject")


def trigger(scaler: Manifest, kind: str) -> dict[str, Any]:
    (found,) = [trigger for trigger in scaler["spec"]["triggers"] if trigger["type"] == kind]
    metadata: dict[str, Any] = found["metadata"]
    return metadata


def test_rules_and_dashboard_arrive_unchanged() -> None:
    manifests = render(values="full")
    rules = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text())
    assert one(manifests, "PrometheusRule")["spec"] == rules
    dashboard = (DEPLOY / "grafana" / "dashboards" / "music-genre.json").read_text()
    assert one(manifests, "ConfigMap")["data"] == {"music-genre.json": dashboard}
    assert json.loads(dashboard)


def test_monitor_scrapes_the_metrics_under_the_job_of_the_alerts() -> None:
    manifests = render(values="full")
    monitor, service = one(manifests, "ServiceMonitor")["spec"], one(manifests, "Service", "metrics")
    labels = service["metadata"]["labels"]
    (job,) = set(re.findall(r'job="([^"]+)"', (DEPLOY / "prometheus" / "alerts.yml").read_text()))
    assert labels[monitor["jobLabel"]] == job
    selector = monitor["selector"]["matchLabels"]
    assert selector.items() <= labels.items()
    assert not selector.items() <= one(manifests, "Service", "service")["metadata"]["labels"].items()
    assert {endpoint["port"] for endpoint in monitor["endpoints"]} == {
        port["name"] for port in service["spec"]["ports"]
    }
    # An alert waits for a pod that answers and never becomes ready.
    assert service["spec"]["publishNotReadyAddresses"] is True


def test_scaler_asks_for_metrics_of_ours_of_this_release() -> None:
    manifests = render(values="full")
    query = trigger(one(manifests, "ScaledObject"), "prometheus")["query"]
    metrics = {metric.name for metric in Metrics().registry.collect()}
    assert set(re.findall(r"genre_\w+", query)) <= metrics
    service = one(manifests, "Service", "metrics")["metadata"]["name"]
    assert query.count(f'{{namespace="music",service="{service}"}}') == query.count("genre_") == 2


@pytest.mark.skipif(shutil.which("promtool") is None, reason="Prometheus is missing: apt-get install prometheus")
def test_prometheus_answers_the_scaler_with_a_time(tmp_path: Path) -> None:
    """Two replicas have 600 s and 300 s of audio before them, and compute 30 s of audio a second: 20 s and 10 s of
    work, 30 s for one of them. A third one still loads its model; the queue of another release is no matter."""
    of = 'namespace="music",service="genre-music-genre-metrics"'
    series = [
        (f'genre_queue_audio_seconds{{{of},pod="a"}}', "600x5"),
        (f'genre_queue_audio_seconds{{{of},pod="b"}}', "300x5"),
        (f'genre_queue_audio_seconds{{{of},pod="c"}}', "0x5"),
        (f'genre_speed_audio_seconds_per_second{{{of},pod="a"}}', "30x5"),
        (f'genre_speed_audio_seconds_per_second{{{of},pod="b"}}', "30x5"),
        (f'genre_speed_audio_seconds_per_second{{{of},pod="c"}}', "0x5"),
        ('genre_queue_audio_seconds{namespace="other",service="x"}', "9000x5"),
    ]
    query = trigger(scaled_object(), "prometheus")["query"]
    test = {
        "rule_files": [],
        "tests": [
            {
                "input_series": [{"series": name, "values": values} for name, values in series],
                "promql_expr_test": [
                    {"expr": query, "eval_time": "2m", "exp_samples": [{"labels": "{}", "value": 30}]}
                ],
            },
            # Nobody says anything: no sample, so that KEDA falls back.
            {"promql_expr_test": [{"expr": query, "eval_time": "2m", "exp_samples": []}]},
        ],
    }
    (tmp_path / "test.yml").write_text(yaml.safe_dump(test))
    result = subprocess.run(["promtool", "test", "rules", str(tmp_path / "test.yml")], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_scaler_falls_back_without_becoming_smaller() -> None:
    spec = scaled_object("--set", "autoscaling.queue.fallbackReplicas=7")["spec"]
    assert spec["fallback"] == {"failureThreshold": 3, "replicas": 7, "behavior": "currentReplicasIfHigher"}
    # KEDA before 2.18 falls back for no other type.
    (prometheus,) = [trigger for trigger in spec["triggers"] if trigger["type"] == "prometheus"]
    assert prometheus["metricType"] == "AverageValue"
    assert prometheus["metadata"]["ignoreNullValues"] == "false"


def test_cpu_keeps_a_fleet_with_a_short_queue_from_shrinking_unless_told_otherwise() -> None:
    assert trigger(scaled_object("--set", "autoscaling.cpuPercent=70"), "cpu") == {"value": "70"}
    alone = scaled_object("--set", "autoscaling.cpuPercent=null")["spec"]["triggers"]
    assert [trigger["type"] for trigger in alone] == ["prometheus"]


def test_scaler_without_the_labels_that_it_asks_by_is_refused() -> None:
    with pytest.raises(subprocess.CalledProcessError) as error:
        scaled_object("--set", "metrics.serviceMonitor.enabled=false")
    assert "set metrics.serviceMonitor.enabled=true" in error.value.stderr
