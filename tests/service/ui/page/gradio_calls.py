"""Calls of Gradio's routes over HTTP, as the page makes them."""

import os
from pathlib import Path
from typing import Any

import httpx2

API = "/ui/gradio_api"


def uploads() -> list[bytes]:
    return [path.read_bytes() for path in Path(os.environ["GRADIO_TEMP_DIR"]).rglob("*") if path.is_file()]


def file_data(path: str, **fields: Any) -> dict[str, Any]:
    return {"path": path, "meta": {"_type": "gradio.FileData"}, **fields}


def call(client: httpx2.Client, data: object) -> str:
    """The events that answer a call of the page's function."""
    started = client.post(f"{API}/call/classify", json={"data": [data]})
    assert started.status_code == 200, started.text
    return client.get(f"{API}/call/classify/{started.json()['event_id']}").text


def upload(client: httpx2.Client, data: bytes) -> str:
    response = client.post(f"{API}/upload", files={"files": ("song.flac", data)})
    assert response.status_code == 200, response.text
    (path,) = response.json()
    return str(path)
