"""The service behind Debian's nginx: with the least that passes requests on, and with the lines of the documents."""

import json
import re
from dataclasses import replace
from pathlib import Path

import httpx2
import pytest

from service.audio import WindowSpec
from service.inference.engine import Engine
from tests.conftest import GENRES
from tests.service.application import SteppedBackend, application
from tests.support import nginx
from tests.support.audio_files import encode, sweep
from tests.support.processes import ROOT
from tests.support.service_process import Service, running
from tests.support.serving import serving

pytestmark = [pytest.mark.thorough, pytest.mark.skipif(nginx.MISSING is not None, reason=str(nginx.MISSING))]


def documented_lines() -> str:
    """The location of docs/deployment.md."""
    document = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")
    found = re.search(r"```nginx\n(.*?)```", document, re.S)
    assert found
    return found[1]


def test_stream_passes_as_it_comes(field_service: Service, tmp_path: Path) -> None:
    """Without a word about buffering in nginx's configuration; the stream goes on for as long as the page is open."""
    with nginx.nginx(tmp_path, f"location / {{ proxy_pass {field_service.url}; }}") as url:
        assert httpx2.get(f"{url}/livez").status_code == 200
        with httpx2.stream("GET", f"{url}/ui/gradio_api/heartbeat/visitor", timeout=120) as stream:
            assert next(stream.iter_raw()).startswith(b"data:")


def test_lines_pass_as_they_are_written(model_folder: Path, tmp_path: Path) -> None:
    """Each window is computed only when the line of the one before it has come through nginx."""
    app, backend = application(model_folder), SteppedBackend()
    headers = {"Accept": "application/x-ndjson", "Content-Type": "audio/wav"}
    song = encode(sweep(3.0, 8_000), "wav", 8_000)
    with serving(app) as service, nginx.nginx(tmp_path, f"location / {{ proxy_pass {service}; }}") as url:
        artefact = replace(app.state.classifier.engine.artefact, window=WindowSpec(16_000, 1.0))
        app.state.classifier.load(Engine(artefact, backend))
        backend.hold()
        backend.permits.release()
        with httpx2.stream(
            "POST", f"{url}/classify?timeline=true", content=song, headers=headers, timeout=20
        ) as answer:
            done = []
            for line in map(json.loads, answer.iter_lines()):
                done.append(line.get("done"))
                backend.permits.release()
    assert done == [1, 2, 3, None]


@pytest.mark.slow
def test_timeline_of_ten_minutes_grows_as_it_is_computed(tmp_path: Path) -> None:
    from tests.support.tiny_model import save

    save(tmp_path / "slow", GENRES, width=128)
    song = encode(sweep(600, 8_000), "wav", 8_000)
    settings = {"MODEL_ID": str(tmp_path / "slow"), "BACKEND": "torch", "CPU_THREADS": "1", "ROOT_PATH": "/genre"}
    with running(PAGE="true", **settings) as service:
        service.wait_for("/ui/")
        site = documented_lines().replace("http://127.0.0.1:8000", service.url).replace("proxy_buffering off;", "")
        with nginx.nginx(tmp_path, site) as url, httpx2.Client(base_url=f"{url}/genre/ui/gradio_api") as client:
            path = client.post("/upload", files={"files": ("song.wav", song)}).raise_for_status().json()[0]
            data = {"path": path, "meta": {"_type": "gradio.FileData"}}
            event = client.post("/call/classify", json={"data": [data]}).raise_for_status().json()["event_id"]
            busy = []
            with client.stream("GET", f"/call/classify/{event}", timeout=60) as stream:
                for line in stream.iter_lines():
                    if line.startswith("data: ["):
                        assert json.loads(line.removeprefix("data: "))
                        busy.append("genre_queue_audio_seconds 0.0" not in httpx2.get(f"{service.url}/metrics").text)
    # Parts of the answer come while the rest is computed.
    assert len(busy) > 1
    assert busy[0]


def test_documented_lines_pass_recordings_of_any_allowed_size(field_service: Service, tmp_path: Path) -> None:
    wav = encode(sweep(52.0), "wav")
    site = documented_lines().replace("http://127.0.0.1:8000", field_service.url)
    with nginx.nginx(tmp_path, site) as url:
        answer = httpx2.post(f"{url}/genre/classify", content=wav, headers={"Content-Type": "audio/wav"}, timeout=60)
        assert answer.json()["duration_s"] == pytest.approx(52, abs=0.1)
        assert httpx2.head(f"{url}/genre/readyz").status_code == 200
