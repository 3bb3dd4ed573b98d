"""The service on disks that cannot be written or are full: it serves what it can, and says what to change."""

import json
from pathlib import Path

import httpx2
import pytest
from huggingface_hub import snapshot_download

from tests.support.audio_files import encode, sweep
from tests.support.disks import disk, make_read_only
from tests.support.hub_stand_in import HubStandIn
from tests.support.service_process import Start, publish

pytestmark = pytest.mark.thorough


@pytest.mark.parametrize("why", ["read-only", "full"])
@pytest.mark.slow
def test_with_a_cache_that_cannot_be_written_it_serves_and_leaves_nothing(
    hub: HubStandIn, model_folder: Path, start: Start, tmp_path: Path, why: str
) -> None:
    model_id = f"owner/warm-and-{why}"
    publish(hub, model_id, model_folder, with_graph=False)
    (tmp_path / "tmp").mkdir()
    with disk(tmp_path / "home", size="200k") as home:
        snapshot_download(model_id, cache_dir=home / "hub")
        if why == "read-only":
            make_read_only(home)
        service = start(MODEL_ID=model_id, PAGE="true", HF_HOME=str(home), TMPDIR=str(tmp_path / "tmp"))
        service.wait_for("/readyz")
        service.wait_for("/ui/")
        assert httpx2.get(f"{service.url}/model").json()["backend"].startswith("openvino")
        answer = service.classify(encode(sweep(3.0), "mp3"))
        assert answer.status_code == 200, answer.text
        assert service.stop() == 0
    warnings = [entry["message"] for entry in service.log if entry["level"] != "INFO"]
    assert warnings == ["HF_HOME cannot be written or is full: the graphs are converted anew at each start."]
    assert list((tmp_path / "tmp").iterdir()) == []


@pytest.mark.parametrize(
    ("read_only", "message"),
    [
        (True, "The model cache cannot be written, and holds no {}. Set HF_HOME to a folder that can."),
        (False, "The disk of the model cache is full. Free some space, or set HF_HOME to another disk."),
    ],
)
def test_a_disk_that_takes_no_model_is_one_error_line_and_exits_with_1(
    hub: HubStandIn, model_folder: Path, start: Start, tmp_path: Path, read_only: bool, message: str
) -> None:
    model_id = f"owner/{'read-only' if read_only else 'full'}-disk"
    publish(hub, model_id, model_folder)
    with disk(tmp_path / "home", size="50k") as home:
        if read_only:
            make_read_only(home)
        service = start(MODEL_ID=model_id, HF_HOME=str(home))
        assert service.wait() == 1
    errors = [entry["message"] for entry in service.log if entry["level"] == "ERROR"]
    assert errors == [message.format(model_id)]
    assert "Traceback" not in "".join(service.lines)


def test_a_full_temporary_folder_refuses_uploads_and_nothing_else(
    start: Start, model_folder: Path, tmp_path: Path
) -> None:
    with disk(tmp_path / "tmp", size="3M") as temporary:
        service = start(MODEL_ID=str(model_folder), TMPDIR=str(temporary))
        service.wait_for("/readyz")
        wav = encode(sweep(10.0, 44_100), "wav", 44_100)
        small = encode(sweep(3.0), "mp3")
        (temporary / "somebody else's").write_bytes(bytes(2_500_000))
        refused = service.classify(wav)
        assert (refused.status_code, refused.json()["type"]) == (507, "urn:music-genre:storage-full")
        assert str(temporary) not in json.dumps(refused.json())
        assert service.classify(small).status_code == 200
        (temporary / "somebody else's").unlink()
        assert service.classify(wav).status_code == 200
        assert httpx2.get(f"{service.url}/readyz").status_code == 200
        assert service.stop() == 0
