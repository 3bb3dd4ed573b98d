"""The stand-in for the Hub: faults on demand."""

import json
import time
from pathlib import Path

import httpx2
import pytest
from huggingface_hub.errors import (
    LocalEntryNotFoundError,
)

from tests.hub_stand_in.clients import FILES, WEIGHTS, pull, pull_file, read_files, served, writer
from tests.support.hub_stand_in import HubStandIn

# A client that waits for its answer, and for nothing else, too short a time.
_IMPATIENT = httpx2.Timeout(60, read=0.1)


def test_a_failure_strikes_as_often_as_asked(hub: HubStandIn) -> None:
    hub.create_repo("you/model")
    hub.fail(r"^GET /api/models/you/model$", status=500, times=2, headers={"Retry-After": "7"})
    statuses = [httpx2.get(f"{hub.endpoint}/api/models/you/model").status_code for _ in range(3)]
    hub.fail("/api/models/", times=None)
    always = [httpx2.get(f"{hub.endpoint}/api/models/you/model") for _ in range(3)]
    hub.clear_faults()

    assert statuses == [500, 500, 200]
    assert [answer.status_code for answer in always] == [503] * 3
    assert httpx2.get(f"{hub.endpoint}/api/models/you/model").status_code == 200
    assert served(hub, "/api/models/you/model") == [500, 500, 200, 503, 503, 503, 200]


def test_the_client_rides_out_a_failed_upload(hub: HubStandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)
    hub.create_repo("you/model")
    hub.fail("^PUT /lfs/", status=500, times=2)
    hub.fail("^POST .*/preupload/", drop=True)
    writer(hub).upload_file(path_or_fileobj=WEIGHTS, path_in_repo="model.safetensors", repo_id="you/model")

    assert served(hub, "^PUT /lfs/") == [500, 500, 200]
    assert served(hub, "/preupload/") == [None, 200]
    assert hub.files("you/model")["model.safetensors"] == WEIGHTS


def test_a_large_file_is_uploaded_in_parts(hub: HubStandIn) -> None:
    hub.create_repo("you/model")
    hub.part_size = 1_000_000
    writer(hub).upload_file(path_or_fileobj=WEIGHTS, path_in_repo="model.safetensors", repo_id="you/model")

    assert served(hub, "^PUT /lfs/.*/parts/") == [200] * 3
    assert hub.files("you/model")["model.safetensors"] == WEIGHTS


def test_a_broken_download_is_resumed(hub: HubStandIn, tmp_path: Path) -> None:
    hub.create_repo("you/model")
    # The client keeps what came in whole chunks of 10 MiB, and asks for the rest.
    hub.commit("you/model", {"model.safetensors": WEIGHTS * 6})
    hub.truncate("^GET .*/model.safetensors", keep=11_000_000)

    assert pull_file(hub, "model.safetensors", tmp_path) == WEIGHTS * 6
    assert served(hub, "^GET .*/model.safetensors") == [200, 206]


def test_ranges_are_cut_to_the_file(hub: HubStandIn) -> None:
    hub.create_repo("you/model")
    hub.commit("you/model", {"letters.txt": b"abcdefgh"})

    def asked(value: str) -> tuple[int, bytes]:
        url = f"{hub.endpoint}/you/model/resolve/main/letters.txt"
        answer = httpx2.get(url, headers={"Range": value})
        return answer.status_code, answer.content

    assert asked("bytes=2-3") == (206, b"cd")
    assert asked("bytes=6-99") == (206, b"gh")
    assert asked("bytes=-3") == (206, b"fgh")
    assert asked("bytes=8-") == (416, b"")
    assert asked("lines=1-2") == (200, b"abcdefgh")


def test_bytes_are_corrupted_on_demand(hub: HubStandIn, tmp_path: Path) -> None:
    hub.create_repo("you/model")
    hub.commit("you/model", FILES)
    hub.corrupt("^GET .*/config.json")
    pulled = pull_file(hub, "config.json", tmp_path)

    assert len(pulled) == len(FILES["config.json"])
    assert pulled != FILES["config.json"]


def test_an_answer_can_be_late_and_can_be_missing(hub: HubStandIn) -> None:
    hub.create_repo("you/model")
    url = f"{hub.endpoint}/api/models/you/model"
    hub.stall("^GET", delay_s=60)
    with pytest.raises(httpx2.ReadTimeout):
        httpx2.get(url, timeout=_IMPATIENT)
    hub.stall("^GET", delay_s=0.2)
    start = time.monotonic()
    assert httpx2.get(url).status_code == 200
    assert time.monotonic() - start >= 0.2
    hub.fail("^GET", drop=True)
    with pytest.raises(httpx2.RemoteProtocolError):
        httpx2.get(url)
    assert None in served(hub, "^GET")


def test_a_stopped_hub_refuses_connections_until_it_is_started(hub: HubStandIn, tmp_path: Path) -> None:
    hub.create_repo("you/model")
    hub.commit("you/model", FILES)
    before = pull(hub, tmp_path / "warm")
    hub.stop()
    with pytest.raises(httpx2.ConnectError):
        httpx2.get(hub.endpoint)
    with pytest.raises(LocalEntryNotFoundError):
        pull(hub, tmp_path / "cold")
    assert pull(hub, tmp_path / "warm") == before
    hub.start()

    assert read_files(pull(hub, tmp_path / "cold")) == hub.files("you/model")


def test_stopping_does_not_wait_for_a_late_answer(hub: HubStandIn) -> None:
    hub.stall("^GET /api/whoami-v2", delay_s=60)
    with httpx2.Client(base_url=hub.endpoint, timeout=_IMPATIENT) as client, pytest.raises(httpx2.ReadTimeout):
        client.get("/api/whoami-v2")
    start = time.monotonic()
    hub.stop()
    assert time.monotonic() - start < 30
    hub.start()


def test_request_outside_the_protocol_is_noted() -> None:
    with HubStandIn() as hub:
        answer = httpx2.post(f"{hub.endpoint}/api/models/you/model/super-squash/main")
        other_method = httpx2.delete(f"{hub.endpoint}/api/models/you/model")

    assert (answer.status_code, other_method.status_code) == (404, 404)
    assert "super-squash" in answer.json()["error"]
    assert [each.method for each in hub.unknown_requests] == ["POST", "DELETE"]


def test_a_large_file_that_was_not_uploaded_is_refused(hub: HubStandIn) -> None:
    hub.create_repo("you/model")
    oid = "0" * 64
    lines: list[dict[str, object]] = [
        {"key": "header", "value": {"summary": "Weights"}},
        {"key": "lfsFile", "value": {"path": "model.safetensors", "algo": "sha256", "oid": oid, "size": 5}},
    ]
    commit = httpx2.post(
        f"{hub.endpoint}/api/models/you/model/commit/main",
        headers={"Authorization": "Bearer hf_write"},
        content="\n".join(json.dumps(line) for line in lines),
    )
    upload = httpx2.put(f"{hub.endpoint}/lfs/models/you/model/{oid}", content=b"other")

    assert (commit.status_code, upload.status_code) == (400, 400)
    assert "does not exist" in commit.json()["error"]
    assert hub.files("you/model").keys() == {".gitattributes"}
