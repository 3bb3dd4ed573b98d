"""The whole path in processes of their own: train, push, pull, serve, and compare with the stock way."""

import io
import json
from collections.abc import Iterator
from pathlib import Path

import httpx2
import numpy as np
import pytest
import soundfile
import soxr
import torch
from huggingface_hub import hf_hub_download
from transformers import AutoFeatureExtractor, AutoModelForAudioClassification

from tests.support import gtzan
from tests.support.audio_files import encode
from tests.support.hub_stand_in import HubStandIn
from tests.support.processes import run
from tests.support.service_process import running
from tests.training.finetuning.test_model import push_base_model
from training.synthetic import render

pytestmark = pytest.mark.thorough

WINDOW_S = 3


@pytest.fixture(scope="module")
def url(session_hub: HubStandIn, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("end-to-end")
    session_hub.create_repo("marsyas/gtzan-like", repo_type="dataset")
    session_hub.commit("marsyas/gtzan-like", gtzan.files(3), repo_type="dataset")
    push_base_model(session_hub, "you/end-to-end-base", folder / "base")
    result = run(
        *(
            "training",
            "--dataset",
            "marsyas/gtzan-like",
            "--model_name_or_path",
            "you/end-to-end-base",
            "--max_steps",
            "2",
        ),
        *("--max_duration_s", str(WINDOW_S), "--output_dir", str(folder / "run")),
        *("--push_to_hub", "--hub_model_id", "you/end-to-end"),
        token="hf_write",
    )
    assert result.returncode == 0, result.stdout
    with running(MODEL_ID="you/end-to-end", BACKEND="torch") as service:
        yield service.url


def _stock_scores(mp3: bytes) -> dict[str, float]:
    """The first window, as anyone would compute it who knows the repo and nothing of this service."""
    samples, sampling_rate = soundfile.read(io.BytesIO(mp3), dtype="float32", always_2d=True)
    extractor = AutoFeatureExtractor.from_pretrained("you/end-to-end")
    model = AutoModelForAudioClassification.from_pretrained("you/end-to-end").eval()
    waveform = soxr.resample(samples.mean(axis=1), sampling_rate, extractor.sampling_rate, quality="HQ")
    inputs = extractor(
        waveform,
        sampling_rate=extractor.sampling_rate,
        max_length=extractor.max_length,
        truncation=True,
        return_tensors="pt",
    )
    with torch.inference_mode():
        temperature = json.loads(Path(hf_hub_download("you/end-to-end", "serving.json")).read_text())["temperature"]
        probabilities = (model(**inputs).logits / temperature).softmax(-1)[0].tolist()
    return {model.config.id2label[index]: probability for index, probability in enumerate(probabilities)}


def test_an_mp3_gets_the_scores_of_the_stock_way(url: str) -> None:
    stereo = np.stack([render.render("jazz", 7, WINDOW_S + 0.2), render.render("metal", 7, WINDOW_S + 0.2)], axis=1)
    mp3 = encode(stereo, "mp3", render.SAMPLING_RATE)
    answer = httpx2.post(f"{url}/classify", files={"file": ("a.mp3", mp3)}, timeout=60).json()
    scores = {score["label"]: score["score"] for score in answer["scores"]}
    expected = _stock_scores(mp3)
    assert scores.keys() == expected.keys()
    for label, score in scores.items():
        assert score == pytest.approx(expected[label], abs=1e-4)
    assert answer["genre"] == max(expected, key=expected.__getitem__)
    assert answer["analysed_s"] == WINDOW_S


def test_the_model_answered_is_the_one_pushed(session_hub: HubStandIn, url: str) -> None:
    model = httpx2.get(f"{url}/model").json()
    assert model["id"] == "you/end-to-end"
    assert model["revision"] == session_hub.head("you/end-to-end")
    assert model["labels"] == list(render.GENRES)
    assert model["window_s"] == WINDOW_S
    assert model["defaulted"] == []


def test_the_graph_that_was_pushed_answers_the_same(session_hub: HubStandIn, url: str, tmp_path: Path) -> None:
    """The other backend, from a cache of its own: nothing is converted, and bf16 moves the scores by little."""
    mp3 = encode(render.render("jazz", 8, WINDOW_S), "mp3", render.SAMPLING_RATE)
    settings = {"MODEL_ID": "you/end-to-end", "BACKEND": "openvino", "HF_HOME": str(tmp_path / "cache")}
    with running(**settings) as other_service:
        other = other_service.url
        answers = [
            httpx2.post(f"{at}/classify", files={"file": ("a.mp3", mp3)}, timeout=60).json() for at in (url, other)
        ]
    assert answers[1]["model"]["backend"].startswith("openvino-")
    assert not (tmp_path / "cache" / "music-genre").exists()
    expected, scores = ({score["label"]: score["score"] for score in answer["scores"]} for answer in answers)
    assert scores == pytest.approx(expected, abs=0.01)


def test_the_service_pulled_nothing_that_it_does_not_read(session_hub: HubStandIn, url: str) -> None:
    pulled = [request.path for request in session_hub.requests if "/you/end-to-end/resolve/" in request.path]
    assert pulled
    assert not any(path.endswith((".md", ".png")) for path in pulled)
