"""While the Hub fails, the last good model serves, and says since when nobody knows whether it is the newest."""

import time
from datetime import datetime
from pathlib import Path

import httpx2
import pytest

from tests.service.reload.conftest import metric, reloads, revision, steady_load, wait_for
from tests.service.reload.test_swap import another_threshold
from tests.support.hub_stand_in import HubStandIn
from tests.support.service_process import Service, Start

STALE = "genre_model_stale"


def stale_since(service: Service) -> str | None:
    since: str | None = httpx2.get(f"{service.url}/model").json()["stale_since"]
    return since


def test_a_hub_that_is_gone_and_returns_costs_no_request(
    hub: HubStandIn, repo: str, service: Service, golden_folder: Path
) -> None:
    assert stale_since(service) is None
    started = time.time()
    hub.fail("", status=503, times=None)
    with steady_load(service, clients=1) as load:
        wait_for(service, STALE)
        since = stale_since(service)
        assert since is not None
        assert started - 1 <= datetime.fromisoformat(since).timestamp() <= time.time()
        new = hub.commit(repo, another_threshold(golden_folder))
        hub.clear_faults()
        wait_for(service, reloads("swapped"))
    assert load.failures == []
    assert (metric(service, STALE), stale_since(service), revision(service)) == (0, None, new)


@pytest.mark.parametrize("fault", ["503", "429", "dropped", "cut off", "corrupt"])
def test_a_download_that_fails_on_its_way_is_completed(
    hub: HubStandIn, repo: str, service: Service, golden_folder: Path, fault: str
) -> None:
    where = "GET /.*/resolve/.*/serving.json"
    if fault == "cut off":
        hub.truncate(where, keep=100)
    elif fault == "corrupt":
        hub.corrupt(where)
    else:
        hub.fail(where, status=int(fault) if fault.isdigit() else 503, drop=fault == "dropped")
    with steady_load(service, clients=1) as load:
        new = hub.commit(repo, another_threshold(golden_folder))
        wait_for(service, reloads("swapped"))
    assert load.failures == []
    assert revision(service) == new
    assert metric(service, reloads("refused")) == 0


def test_a_commit_that_is_never_delivered_is_tried_again(
    hub: HubStandIn, repo: str, service: Service, golden_folder: Path
) -> None:
    old = hub.head(repo)
    hub.corrupt("GET /.*/resolve/.*/serving.json", times=None)
    new = hub.commit(repo, another_threshold(golden_folder))
    wait_for(service, reloads("not_delivered"))
    assert revision(service) == old
    hub.clear_faults()
    wait_for(service, reloads("swapped"))
    assert revision(service) == new


def test_a_start_without_the_hub_serves_the_last_good_commit(
    hub: HubStandIn, start: Start, repo: str, service: Service, golden_folder: Path, tmp_path: Path
) -> None:
    good = hub.head(repo)
    hub.commit(repo, {"serving.json": b'{"schema_version": 2}'})
    wait_for(service, reloads("refused"))
    service.stop()
    hub.fail("", status=503, times=None)
    again = start(MODEL_ID=repo, DECODERS="1", HF_HOME=str(tmp_path / "home"))
    again.wait_for("/readyz")
    assert revision(again) == good
    assert metric(again, STALE) > 1e9
    again.stop()
    offline = start(MODEL_ID=repo, DECODERS="1", HF_HOME=str(tmp_path / "home"), HF_HUB_OFFLINE="1")
    offline.wait_for("/readyz")
    assert (revision(offline), stale_since(offline)) == (good, None)
