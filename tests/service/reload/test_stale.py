"""While the Hub fails, the last good model serves, and says since when nobody knows whether it is the newest."""

import time
from datetime import datetime
from pathlib import Path

import httpx2
import pytest
from huggingface_hub import HfApi

from tests.service.application import application
from tests.service.reload.conftest import INTERVAL_S, metric, reloads, revision, steady_load, wait_for
from tests.service.reload.test_swap import another_threshold
from tests.support.golden_model import files
from tests.support.hub_stand_in import HubStandIn
from tests.support.service_process import Start
from tests.support.serving import serving

pytestmark = pytest.mark.thorough

STALE = "genre_model_stale"


def stale_since(url: str) -> str | None:
    since: str | None = httpx2.get(f"{url}/model").json()["stale_since"]
    return since


def test_hub_outage_fails_no_request_and_is_reported_as_stale(
    hub: HubStandIn, repo: str, url: str, golden_folder: Path
) -> None:
    assert stale_since(url) is None
    started = time.time()
    hub.fail("", status=503, times=None)
    with steady_load(url, clients=1) as load:
        wait_for(url, STALE)
        since = stale_since(url)
        assert since is not None
        assert started - 1 <= datetime.fromisoformat(since).timestamp() <= time.time()
        new = hub.commit(repo, another_threshold(golden_folder))
        hub.clear_faults()
        wait_for(url, reloads("swapped"))
    assert load.failures == []
    assert (metric(url, STALE), stale_since(url), revision(url)) == (0, None, new)


@pytest.mark.parametrize(
    ("fault", "startup_deadline_s"),
    [
        ("503", 60),
        ("corrupt", 60),
        *(pytest.param(fault, 60, marks=pytest.mark.slow) for fault in ("429", "dropped", "cut off")),
        pytest.param("stalled", 6, marks=pytest.mark.slow),
    ],
)
def test_a_download_that_fails_on_its_way_is_completed(
    hub: HubStandIn, repo: str, url: str, golden_folder: Path, fault: str
) -> None:
    where = "GET /.*/resolve/.*/serving.json"
    if fault == "cut off":
        hub.truncate(where, keep=100)
    elif fault == "corrupt":
        hub.corrupt(where)
    elif fault == "stalled":
        # Longer than the third of STARTUP_DEADLINE_S after which another try is made.
        hub.stall(where, delay_s=20)
    else:
        hub.fail(where, status=int(fault) if fault.isdigit() else 503, drop=fault == "dropped")
    with steady_load(url, clients=1) as load:
        new = hub.commit(repo, another_threshold(golden_folder))
        wait_for(url, reloads("swapped"))
    assert load.failures == []
    assert revision(url) == new
    assert metric(url, reloads("refused")) == 0


@pytest.mark.parametrize("startup_deadline_s", [6])
def test_a_commit_that_is_never_delivered_is_tried_again(
    hub: HubStandIn, repo: str, url: str, golden_folder: Path
) -> None:
    old = hub.head(repo)
    hub.corrupt("GET /.*/resolve/.*/serving.json", times=None)
    new = hub.commit(repo, another_threshold(golden_folder))
    wait_for(url, reloads("not_delivered"))
    assert revision(url) == old
    hub.clear_faults()
    wait_for(url, reloads("swapped"))
    assert revision(url) == new


def test_a_revision_that_is_deleted_leaves_the_model_serving(
    hub: HubStandIn, golden_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_write")
    hub.create_repo("you/reload-deleted")
    hub.commit("you/reload-deleted", files(golden_folder))
    HfApi().create_branch("you/reload-deleted", branch="stable")
    app = application("you/reload-deleted", model_revision="stable", page=False, decoders=1, reload_interval_s=0.2)
    with serving(app) as url:
        old = revision(url)
        with steady_load(url, clients=1) as load:
            HfApi().delete_branch("you/reload-deleted", branch="stable")
            wait_for(url, STALE)
        assert load.failures == []
        assert revision(url) == old
        HfApi().create_branch("you/reload-deleted", branch="stable")
        while metric(url, STALE):
            time.sleep(0.05)


@pytest.mark.slow
def test_a_start_without_the_hub_serves_the_last_good_commit(
    hub: HubStandIn, start: Start, repo: str, golden_folder: Path, tmp_path: Path
) -> None:
    home = {"DECODERS": "1", "HF_HOME": str(tmp_path / "home"), "MODEL_ID": repo}
    service = start(RELOAD_INTERVAL_S=INTERVAL_S, **home)
    service.wait_for("/readyz")
    good = hub.head(repo)
    hub.commit(repo, {"serving.json": b'{"schema_version": 2}'})
    wait_for(service.url, reloads("refused"))
    service.stop()
    hub.fail("", status=503, times=None)
    again = start(**home)
    again.wait_for("/readyz")
    assert revision(again.url) == good
    assert metric(again.url, STALE) > 1e9
    again.stop()
    offline = start(HF_HUB_OFFLINE="1", **home)
    offline.wait_for("/readyz")
    assert (revision(offline.url), stale_since(offline.url)) == (good, None)
