"""Keys, tokens and what clients send are in no log, metric, answer or file, also where the log tells the most."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import gradio_client
import httpx2
import pytest

from tests.support.audio_files import encode, sweep
from tests.support.hub_stand_in import HubStandIn
from tests.support.service_process import Service, publish

pytestmark = pytest.mark.thorough

KEY = "key-of-a-client-0123456789"
WRONG = "key-of-a-stranger-0123456789"
TOKEN = "hf_read"
NAME = "demo-of-an-unknown-band"
SECRETS = (KEY, WRONG, TOKEN, NAME)
WAV = encode(sweep(1.0), "wav")


@pytest.fixture(scope="module")
def temporary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tmp")


@pytest.fixture(scope="module")
def service(session_hub: HubStandIn, model_folder: Path, temporary: Path) -> Iterator[Service]:
    publish(session_hub, "you/private-genre", model_folder, private=True)
    keys = temporary.parent / "keys-of-the-secrets"
    keys.write_text(KEY)
    settings = {
        "PAGE": "true",
        "API_KEYS_FILE": str(keys),
        "HF_TOKEN": TOKEN,
        "LOG_LEVEL": "DEBUG",
        "TMPDIR": str(temporary),
    }
    service = Service(MODEL_ID="you/private-genre", **settings)
    try:
        service.wait_for("/readyz")
        # Gradio may take longer than the model, where all cores are busy.
        service.wait_for("/ui/", headers={"X-API-Key": KEY})
        yield service
    finally:
        service.process.kill()


def answers(url: str, folder: Path) -> Iterator[httpx2.Response]:
    """What a client can do with its key, rightly and wrongly; not what the page gives its own visitor back."""
    bearer, other = {"Authorization": f"Bearer {KEY}"}, {"X-API-Key": KEY}
    for headers in (bearer, other, {"X-API-Key": WRONG}, {"Authorization": f"Bearer {WRONG}"}, {}):
        for data in (WAV, encode(sweep(1.0), "m4a")[:5_000], b"no music"):
            yield httpx2.post(f"{url}/classify", files={"file": (f"{NAME}.wav", data)}, headers=headers, timeout=60)
        yield httpx2.post(f"{url}/classify", files={NAME: (f"{NAME}.wav", WAV)}, headers=headers)
        yield httpx2.post(f"{url}/classify", data={"file": NAME}, headers=headers)
        yield httpx2.get(f"{url}/{NAME}?key={KEY}", headers=headers)
        yield httpx2.get(f"{url}/model", headers=headers)
        yield httpx2.get(f"{url}/ui/", headers=headers)
    for key in (KEY, WRONG):
        for accept in ("text/html", "*/*"):
            form = {"username": NAME, "password": key}
            yield httpx2.post(f"{url}/ui/login", data=form, headers={"Accept": accept}, follow_redirects=False)
    for path in ("/metrics", "/livez", "/readyz", "/docs", "/openapi.json", "/ui"):
        yield httpx2.get(f"{url}{path}")
    song = folder / f"{NAME}.wav"
    song.write_bytes(WAV)
    page = gradio_client.Client(f"{url}/ui", auth=("anybody", KEY), verbose=False, analytics_enabled=False)
    page.predict(gradio_client.handle_file(str(song)), api_name="/classify")
    page.close()
    yield httpx2.get(f"{url}/metrics")


def test_no_answer_log_or_metric_holds_a_secret(service: Service, temporary: Path, tmp_path: Path) -> None:
    statuses = set()
    for answer in answers(service.url, tmp_path):
        statuses.add(answer.status_code)
        told = f"{answer.headers!r}{answer.text}"
        assert not [secret for secret in SECRETS if secret in told], answer.url
    assert {200, 303, 400, 401, 404, 415, 422} <= statuses
    # A recording is kept for its visitor only, in the page's private folder, and for the API not at all.
    kept = [path for path in temporary.rglob("*") if path.is_file()]
    assert {path.name for path in kept} <= {f"{NAME}.wav"}
    for folder in temporary.glob("music-genre-*"):
        assert folder.stat().st_mode & 0o077 == 0
    assert service.stop() == 0
    log = "".join(service.lines)
    assert len(service.log) > 30
    assert re.search('"level": "DEBUG"', log)
    assert not [secret for secret in SECRETS if secret in log]
    assert json.dumps(str(temporary))[1:-1] not in log
    assert not [path for path in temporary.rglob("*") if path.is_file()]
