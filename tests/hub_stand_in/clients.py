"""Clients of the Hub with each token, files to push, and what was served."""

import re
from pathlib import Path

import pytest
from huggingface_hub import HfApi, hf_hub_download, snapshot_download
from huggingface_hub.errors import (
    HfHubHTTPError,
)

from tests.support.hub_stand_in import HubStandIn

WEIGHTS = bytes(range(256)) * 8_000
CARD = b"---\nlicense: apache-2.0\npipeline_tag: audio-classification\ntags:\n- music\n---\n# A model\n"
FILES = {
    "README.md": CARD,
    "config.json": b'{"model_type": "hubert"}',
    "model.safetensors": WEIGHTS,
    "plots/confusion.png": b"\x89PNG small, and yet large file storage",
}


def writer(hub: HubStandIn) -> HfApi:
    return HfApi(endpoint=hub.endpoint, token="hf_write")


def reader(hub: HubStandIn) -> HfApi:
    return HfApi(endpoint=hub.endpoint, token="hf_read")


def pull(hub: HubStandIn, cache: Path, token: str | bool = False) -> Path:
    return Path(snapshot_download("you/model", endpoint=hub.endpoint, cache_dir=cache, token=token))


def pull_file(
    hub: HubStandIn,
    path: str,
    cache: Path,
    *,
    repo_id: str = "you/model",
    revision: str | None = None,
    token: str | bool = False,
) -> bytes:
    found = hf_hub_download(repo_id, path, revision=revision, endpoint=hub.endpoint, cache_dir=cache, token=token)
    return Path(found).read_bytes()


def write_files(folder: Path, files: dict[str, bytes]) -> Path:
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return folder


def read_files(folder: str | Path) -> dict[str, bytes]:
    found = [path for path in Path(folder).rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def served(hub: HubStandIn, pattern: str) -> list[int | None]:
    """The statuses of the requests that match."""
    return [each.status for each in hub.requests if re.search(pattern, f"{each.method} {each.path}")]


def status_of(error: pytest.ExceptionInfo[HfHubHTTPError]) -> int:
    status: int = error.value.response.status_code
    return status
