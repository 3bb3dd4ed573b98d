"""POST /admin/reload and /admin/rollback: a key of their own, and no route without a file of keys."""

from pathlib import Path

import httpx2

from tests.service.application import application, expect_problem
from tests.service.reload.conftest import ADMIN_KEY, metric, reloads, revision
from tests.service.reload.test_swap import _bad_scores, another_threshold
from tests.support.golden_model import files
from tests.support.hub_stand_in import HubStandIn
from tests.support.service_process import Start


def test_the_operator_reloads_and_rolls_back(
    hub: HubStandIn, start: Start, repo: str, golden_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "keys").write_text(ADMIN_KEY)
    service = start(
        MODEL_ID=repo,
        DECODERS="1",
        API_KEYS="a-key-of-a-client",
        ADMIN_KEYS_FILE=str(tmp_path / "keys"),
        HF_HOME=str(tmp_path / "home"),
    )
    service.wait_for("/readyz")

    def ask(action: str, key: str = ADMIN_KEY) -> httpx2.Response:
        return httpx2.post(f"{service.url}/admin/{action}", headers={"X-API-Key": key}, timeout=60)

    old = hub.head(repo)
    for key in ("", "a-key-of-a-client"):
        expect_problem(ask("reload", key), 401, "unauthorized", "ADMIN_KEYS_FILE")
    assert httpx2.get(f"{service.url}/model", headers={"X-API-Key": ADMIN_KEY}).status_code == 401
    expect_problem(ask("rollback"), 409, "model-refused", "no model to return to")
    assert ask("reload").json()["result"] == "unchanged"
    new = hub.commit(repo, another_threshold(golden_folder))
    assert (ask("reload").json()["result"], ask("reload").json()["model"]["revision"]) == ("swapped", new)
    answer = ask("rollback").json()
    assert (answer["result"], answer["model"]["revision"]) == ("rolled_back", old)
    hub.commit(repo, _bad_scores(files(golden_folder)))
    expect_problem(ask("reload"), 409, "model-refused", "does not answer as in training")
    hub.fail("", status=503, times=None)
    expect_problem(ask("reload"), 502, "model-unavailable", "The Hub did not answer")
    assert metric(service, reloads("rolled_back")) == metric(service, reloads("swapped")) == 1


def test_without_a_file_of_keys_the_routes_do_not_exist(model_folder: Path) -> None:
    paths = application(model_folder).openapi()["paths"]
    assert not any(path.startswith("/admin") for path in paths)


def test_a_watching_service_does_not_return_to_what_was_rolled_back(
    hub: HubStandIn, start: Start, repo: str, golden_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "keys").write_text(ADMIN_KEY)
    service = start(
        MODEL_ID=repo, DECODERS="1", ADMIN_KEYS_FILE=str(tmp_path / "keys"), RELOAD_INTERVAL_S="0.2",
        HF_HOME=str(tmp_path / "home"),
    )  # fmt: skip
    service.wait_for("/readyz")
    old, new = hub.head(repo), hub.commit(repo, another_threshold(golden_folder))
    key = {"Authorization": f"Bearer {ADMIN_KEY}"}
    assert httpx2.post(f"{service.url}/admin/reload", headers=key, timeout=60).status_code == 200
    assert revision(service) == new
    assert httpx2.post(f"{service.url}/admin/rollback", headers=key, timeout=60).status_code == 200
    hub.forget_requests()
    while len(hub.requests) < 4:
        httpx2.get(f"{service.url}/livez")
    assert revision(service) == old
