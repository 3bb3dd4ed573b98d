"""POST /admin/reload and /admin/rollback: a key of their own, and no route without a file of keys."""

from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.service.application import application, expect_problem
from tests.service.reload.conftest import ADMIN_KEY, metric, reloads, revision
from tests.service.reload.test_swap import _bad_scores, another_threshold
from tests.support.golden_model import files
from tests.support.hub_stand_in import HubStandIn
from tests.support.serving import serving

pytestmark = pytest.mark.thorough


@pytest.fixture
def url(repo: str, tmp_path: Path) -> Iterator[str]:
    """The address of a service, in this process, that reloads when it is told to."""
    (tmp_path / "admin-keys").write_text(ADMIN_KEY)
    app = application(
        repo, page=False, decoders=1, api_keys="a-key-of-a-client", admin_keys_file=tmp_path / "admin-keys"
    )
    with serving(app) as url:
        yield url


def test_the_operator_reloads_and_rolls_back(hub: HubStandIn, repo: str, url: str, golden_folder: Path) -> None:
    def ask(action: str, key: str = ADMIN_KEY) -> httpx2.Response:
        return httpx2.post(f"{url}/admin/{action}", headers={"X-API-Key": key}, timeout=60)

    old = hub.head(repo)
    for key in ("", "a-key-of-a-client"):
        expect_problem(ask("reload", key), 401, "unauthorized", "ADMIN_KEYS_FILE")
    assert httpx2.get(f"{url}/model", headers={"X-API-Key": ADMIN_KEY}).status_code == 401
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
    assert metric(url, reloads("rolled_back")) == metric(url, reloads("swapped")) == 1


def test_without_a_file_of_keys_the_routes_do_not_exist(model_folder: Path) -> None:
    paths = application(model_folder).openapi()["paths"]
    assert not any(path.startswith("/admin") for path in paths)


def test_a_watching_service_does_not_return_to_what_was_rolled_back(
    hub: HubStandIn, repo: str, golden_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "keys").write_text(ADMIN_KEY)
    app = application(repo, page=False, decoders=1, admin_keys_file=tmp_path / "keys", reload_interval_s=0.2)
    key = {"Authorization": f"Bearer {ADMIN_KEY}"}
    with serving(app) as url:
        old, new = hub.head(repo), hub.commit(repo, another_threshold(golden_folder))
        assert httpx2.post(f"{url}/admin/reload", headers=key, timeout=60).status_code == 200
        assert revision(url) == new
        assert httpx2.post(f"{url}/admin/rollback", headers=key, timeout=60).status_code == 200
        hub.forget_requests()
        while len(hub.requests) < 4:
            httpx2.get(f"{url}/livez")
        assert revision(url) == old
