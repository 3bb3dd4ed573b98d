"""What may happen to the repo and to its neighbours while a service watches: a token is revoked, two replicas share."""

import time
from pathlib import Path

import pytest

from tests.service.reload.conftest import INTERVAL_S, metric, reloads, revision, steady_load, wait_for
from tests.service.reload.test_swap import another_threshold
from tests.support.golden_model import files
from tests.support.hub_stand_in import HubStandIn, Token
from tests.support.service_process import Start

pytestmark = pytest.mark.thorough


def test_a_token_that_is_revoked_leaves_the_model_serving(
    hub: HubStandIn, start: Start, golden_folder: Path, tmp_path: Path
) -> None:
    hub.tokens["hf_revoked"] = Token("you", "read")
    hub.create_repo("you/reload-private", private=True)
    hub.commit("you/reload-private", files(golden_folder))
    service = start(
        MODEL_ID="you/reload-private",
        HF_TOKEN="hf_revoked",
        DECODERS="1",
        RELOAD_INTERVAL_S=INTERVAL_S,
        HF_HOME=str(tmp_path / "home"),
    )
    service.wait_for("/readyz")
    old = hub.head("you/reload-private")
    with steady_load(service.url, clients=1) as load:
        del hub.tokens["hf_revoked"]
        hub.commit("you/reload-private", another_threshold(golden_folder))
        wait_for(service.url, "genre_model_stale")
    assert load.failures == []
    assert revision(service.url) == old
    (line,) = [line["message"] for line in service.log if "may be stale" in line["message"]]
    assert "Set HF_TOKEN" in line
    assert "hf_revoked" not in "".join(service.lines)


@pytest.mark.slow
def test_two_replicas_that_share_a_cache_swap_at_once(
    hub: HubStandIn, start: Start, repo: str, golden_folder: Path, tmp_path: Path
) -> None:
    settings = {"MODEL_ID": repo, "DECODERS": "1", "RELOAD_INTERVAL_S": INTERVAL_S, "HF_HOME": str(tmp_path / "home")}
    first, second = start(**settings), start(**settings)
    for service in (first, second):
        service.wait_for("/readyz")
    with steady_load(first.url, clients=1) as of_first, steady_load(second.url, clients=1) as of_second:
        hub.corrupt("GET /.*/resolve/.*/serving.json")
        new = hub.commit(repo, another_threshold(golden_folder))
        for service in (first, second):
            wait_for(service.url, reloads("swapped"))
        time.sleep(1)
    assert of_first.failures == of_second.failures == []
    for service in (first, second):
        assert revision(service.url) == new
        assert metric(service.url, reloads("refused")) == metric(service.url, reloads("not_delivered")) == 0
