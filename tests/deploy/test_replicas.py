"""Replicas behind Debian's nginx with one cache: a swap, a drain and a restart under load, without a failed request."""

import time
from pathlib import Path

import httpx2
import pytest

from tests.service.reload.conftest import Load, metric, reloads, steady_load, wait_for
from tests.service.reload.test_swap import another_threshold
from tests.support import nginx
from tests.support.golden_model import files
from tests.support.hub_stand_in import HubStandIn
from tests.support.service_process import Start

pytestmark = [pytest.mark.slow, pytest.mark.skipif(nginx.MISSING is not None, reason=str(nginx.MISSING))]

REPLICAS = 3


def wait_for_answers(load: Load, more: int = 10) -> None:
    seen = len(load.revisions)
    while len(load.revisions) < seen + more:
        time.sleep(0.05)


def test_replicas_swap_drain_and_come_back_without_a_failed_request(
    hub: HubStandIn, golden_folder: Path, start: Start, tmp_path: Path
) -> None:
    repo = "you/replicas"
    hub.create_repo(repo)
    old = hub.commit(repo, files(golden_folder))
    settings = {
        "MODEL_ID": repo,
        "DECODERS": "2",
        "CPU_THREADS": "1",
        "RELOAD_INTERVAL_S": "0.5",
        "HF_HOME": str(tmp_path / "cache"),
        "LOG_FORMAT": "json",
    }
    replicas = [start(**settings) for _ in range(REPLICAS)]
    for replica in replicas:
        replica.wait_for("/readyz")
    upstream, site = nginx.documented([replica.port for replica in replicas])
    with nginx.nginx(tmp_path, site, upstream=upstream) as url, steady_load(url, clients=4) as load:
        new = hub.commit(repo, another_threshold(golden_folder))
        for replica in replicas:
            wait_for(replica.url, reloads("swapped"))
        wait_for_answers(load)
        assert load.revisions[-1] == new
        assert replicas[0].stop() == 0
        wait_for_answers(load)
    assert load.failures == []
    assert set(load.revisions) == {old, new}
    for replica in replicas[1:]:
        assert metric(replica.url, reloads("refused")) == metric(replica.url, reloads("not_delivered")) == 0
        assert metric(replica.url, 'genre_http_requests_total{method="POST",route="/classify",status="200"}') > 0
    # One cache with one copy of each file, and a replica that comes back finds it without the Hub.
    weights = list((tmp_path / "cache" / "hub").glob("models--*/snapshots/*/model.safetensors"))
    assert len({path.resolve() for path in weights}) == 1
    back = start(**settings | {"HF_HUB_OFFLINE": "1", "RELOAD_INTERVAL_S": "0"})
    back.wait_for("/readyz")
    assert httpx2.get(f"{back.url}/model").json()["revision"] == new
