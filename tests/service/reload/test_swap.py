"""A new commit is swapped in while requests are answered, and one that does not prove itself never answers."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.service.reload.conftest import INTERVAL_S, metric, reloads, revision, steady_load, wait_for
from tests.support.golden_model import files
from tests.support.hub_stand_in import HubStandIn
from tests.support.service_process import Start

pytestmark = pytest.mark.thorough

Change = Callable[[dict[str, bytes]], dict[str, bytes]]


def another_threshold(folder: Path) -> dict[str, bytes]:
    """A good commit: the same model, more careful."""
    return _with_json(files(folder), "serving.json", uncertain_below=0.9)


def _with_json(content: dict[str, bytes], name: str, **fields: Any) -> dict[str, bytes]:
    return {name: json.dumps(json.loads(content[name]) | fields).encode()}


def _bad_scores(content: dict[str, bytes]) -> dict[str, bytes]:
    golden = json.loads(content["serving.json"])["golden"]
    for clip in golden["clips"]:
        clip["scores"] = dict(zip(clip["scores"], reversed(clip["scores"].values()), strict=True))
    return _with_json(content, "serving.json", golden=golden)


def _permuted_labels(content: dict[str, bytes]) -> dict[str, bytes]:
    id2label = json.loads(content["config.json"])["id2label"]
    return _with_json(content, "config.json", id2label={key: id2label[str(9 - int(key))] for key in id2label})


def _truncated_weights(content: dict[str, bytes]) -> dict[str, bytes]:
    return {"model.safetensors": content["model.safetensors"][:-1_000]}


def _another_graph(content: dict[str, bytes]) -> dict[str, bytes]:
    return {"openvino/encoder.bin": content["openvino/encoder.bin"][::-1]}


def _unknown_schema(content: dict[str, bytes]) -> dict[str, bytes]:
    return _with_json(content, "serving.json", schema_version=2)


def test_a_good_commit_is_swapped_in_without_a_failed_request(
    hub: HubStandIn, start: Start, repo: str, golden_folder: Path, tmp_path: Path
) -> None:
    service = start(MODEL_ID=repo, DECODERS="2", RELOAD_INTERVAL_S=INTERVAL_S, HF_HOME=str(tmp_path / "home"))
    service.wait_for("/readyz")
    old = hub.head(repo)
    with steady_load(service.url) as load:
        new = hub.commit(repo, another_threshold(golden_folder))
        wait_for(service.url, reloads("swapped"))
        seen = len(load.revisions)
        while len(load.revisions) < seen + 6:
            time.sleep(0.05)
    assert load.failures == []
    assert set(load.revisions) == {old, new}
    # Nobody goes back to the old model.
    assert all(own == sorted(own, key=[old, new].index) for own in load.by_client)
    assert revision(service.url) == new
    assert metric(service.url, reloads("refused")) == metric(service.url, "genre_model_stale") == 0
    assert f'revision="{old}"' not in service.wait_for("/metrics").text


@pytest.mark.parametrize(
    "case",
    [
        (_bad_scores, "does not answer as in training"),
        (_permuted_labels, "does not answer as in training"),
        (_truncated_weights, "model.safetensors of the model repo is damaged or cut off"),
        (_another_graph, "is not the file that serving.json names"),
        (_unknown_schema, "serving.json of the model repo: schema_version"),
    ],
)
def test_a_commit_that_does_not_prove_itself_is_refused_once(
    hub: HubStandIn,
    repo: str,
    url: str,
    golden_folder: Path,
    caplog: pytest.LogCaptureFixture,
    case: tuple[Change, str],
) -> None:
    change, reason = case
    old = hub.head(repo)
    with steady_load(url, clients=1) as load:
        hub.commit(repo, change(files(golden_folder)))
        wait_for(url, reloads("refused"))
        hub.forget_requests()
        # Several looks later it has not been tried again.
        while len(hub.requests) < 4:
            time.sleep(0.05)
    assert load.failures == []
    assert set(load.revisions) == {old} == {revision(url)}
    assert metric(url, reloads("refused")) == 1
    (line,) = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert line.startswith("a new model is refused, the old one goes on: ")
    assert reason in line
    # One that mends it is taken.
    good = hub.commit(repo, files(golden_folder))
    wait_for(url, reloads("swapped"))
    assert revision(url) == good
