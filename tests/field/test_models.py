"""Model repos as people push them: what is served, what is refused, and in which words."""

import asyncio
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from starlette.testclient import TestClient
from transformers import AutoModelForAudioClassification

from service.errors import NonFiniteScores, StartupError
from service.inference.backend import Outputs, Windows
from service.inference.engine import Engine, WindowResult
from service.inference.loading import load_backend
from service.model.artefact import Artefact, read_artefact
from service.model.weights import load_model
from tests.service.application import application, post, wait_until_ready
from tests.support import tiny_model
from tests.support.hub_stand_in import HubStandIn
from tests.support.service_process import publish
from training.arguments import ModelArguments
from training.errors import TrainingError
from training.finetuning.model import known_genres, load_extractor

GENRES = ("blues", "jazz", "rock")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tiny_model.save(tmp_path / "model", GENRES)
    return tmp_path / "model"


def change(folder: Path, name: str, **fields: object) -> None:
    path = folder / name
    content = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(content | fields))


def read(folder: Path) -> Artefact:
    return read_artefact(folder, model_id="you/genre", revision=None)


def as_processor(folder: Path) -> None:
    """What transformers 5 saves of a processor: the feature extractor is a part of its file."""
    extractor = folder / "preprocessor_config.json"
    content = {"processor_class": "Wav2Vec2Processor", "feature_extractor": json.loads(extractor.read_text())}
    (folder / "processor_config.json").write_text(json.dumps(content))
    extractor.unlink()


def test_processor_file_is_read_as_the_feature_extractor(folder: Path) -> None:
    change(folder, "preprocessor_config.json", max_length=80_000, do_normalize=False)
    expected = read(folder)
    as_processor(folder)
    read_again = read(folder)
    assert (read_again.window, read_again.do_normalize) == (expected.window, False)
    assert read_again.window.length_s == 5.0


def test_processor_file_is_pulled_from_the_hub(folder: Path, hub: HubStandIn) -> None:
    from service.model.hub.repo import fetch

    as_processor(folder)
    publish(hub, "you/with-processor", folder, with_graph=False)
    snapshot = fetch("you/with-processor", "main", deadline_s=10)
    assert read_artefact(snapshot.folder, model_id="you/with-processor", revision=snapshot.commit).labels == GENRES


def test_repo_with_a_processor_file_is_a_base_for_training(folder: Path) -> None:
    as_processor(folder)
    base = ModelArguments(model_name_or_path=str(folder))
    assert load_extractor(base, max_duration_s=3).sampling_rate == 16_000
    assert known_genres(base) == list(GENRES)


REFUSED: dict[str, tuple[dict[str, dict[str, Any]], str]] = {
    "regression": ({"config.json": {"problem_type": "regression"}}, "names a regression"),
    "threshold of an unknown label": (
        {
            "config.json": {"problem_type": "multi_label_classification"},
            "serving.json": {"schema_version": 1, "thresholds": {"polka": 0.5}},
        },
        "polka is no label",
    ),
    "threshold over one": ({"serving.json": {"schema_version": 1, "thresholds": {"jazz": 2}}}, "thresholds.jazz"),
    "processor of another kind": (
        {"preprocessor_config.json": {"feature_extractor_type": "ASTFeatureExtractor"}},
        "cannot run",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_model_repo_is_refused_in_words(name: str, folder: Path) -> None:
    files, words = REFUSED[name]
    for file, fields in files.items():
        change(folder, file, **fields)
    with pytest.raises(StartupError, match=words):
        read(folder)


def test_code_of_a_model_repo_is_never_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A question on the terminal would read this.
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n" * 10))
    marker = folder / "was_run"
    (folder / "configuration_mert.py").write_text(f"open({str(marker)!r}, 'w')\nclass MERTConfig: pass\n")
    auto_map = {"AutoConfig": "configuration_mert.MERTConfig", "AutoModel": "configuration_mert.MERTModel"}
    change(folder, "config.json", model_type="mert_model", auto_map=auto_map)
    with pytest.raises(StartupError, match="code of its own, which is never run"):
        load_model(read(folder))
    with pytest.raises(TrainingError, match="code of its own, which is never run"):
        known_genres(ModelArguments(model_name_or_path=str(folder)))
    assert not marker.exists()


@pytest.mark.thorough
def test_multi_label_model_answers_sigmoid_scores(folder: Path) -> None:
    change(folder, "config.json", problem_type="multi_label_classification")
    change(folder, "serving.json", schema_version=1, window_s=1.0, temperature=2.0, thresholds={"jazz": 0.1})
    artefact = read(folder)
    assert artefact.thresholds == (0.5, 0.1, 0.5)
    windows = np.random.default_rng(0).standard_normal((2, 16_000)).astype(np.float32)
    model = AutoModelForAudioClassification.from_pretrained(folder).eval()
    with torch.inference_mode():
        expected = torch.sigmoid(model(torch.from_numpy(windows)).logits / 2.0).numpy()
    for choice in ("torch", "openvino"):
        probabilities = load_backend(choice, artefact, threads=1).infer(windows).probabilities
        assert np.abs(probabilities - expected).max() < 1e-2


def test_multi_label_service_lists_the_genres_over_their_threshold(folder: Path) -> None:
    change(folder, "config.json", problem_type="multi_label_classification")
    thresholds = {"blues": 0.0, "jazz": 1.0, "rock": 0.0}
    change(folder, "serving.json", schema_version=1, window_s=1.0, thresholds=thresholds)
    with TestClient(application(folder, backend="torch", decoders=1)) as client:
        wait_until_ready(client)
        assert client.get("/model").json()["thresholds"] == thresholds
        answer = post(client).json()
    assert set(answer["genres"]) == {"blues", "rock"}
    assert answer["decision"] == "accepted"
    # Random weights leave each of three labels near one half: a softmax would sum to 1.
    assert sum(score["score"] for score in answer["scores"]) > 1.2


@pytest.mark.parametrize("count", [pytest.param(2, marks=pytest.mark.thorough), 1_000])
def test_model_of_few_and_of_many_genres_is_served(count: int, tmp_path: Path) -> None:
    tiny_model.save(tmp_path / "model", [f"genre {number}" for number in range(count)])
    with TestClient(application(tmp_path / "model", backend="torch", decoders=1)) as client:
        wait_until_ready(client)
        answer = post(client).json()
        assert len(client.get("/model").json()["labels"]) == count
    assert len(answer["scores"]) == count
    assert sum(score["score"] for score in answer["scores"]) == pytest.approx(1, abs=1e-4)


class OverflowingBackend:
    """Answers NaN to loud windows, as half precision does."""

    name = "overflowing"
    note: str | None = None
    max_batch = 4

    def infer(self, windows: Windows) -> Outputs:
        rows = np.full((len(windows), len(GENRES)), 1 / 3, np.float32)
        rows[np.abs(windows).max(axis=1) > 1_000] = np.nan
        return Outputs(rows)


def test_scores_that_are_not_finite_are_an_error_of_their_window_alone(folder: Path) -> None:
    change(folder, "preprocessor_config.json", do_normalize=False)
    change(folder, "serving.json", schema_version=1, window_s=1.0)
    engine = Engine(read(folder), OverflowingBackend())
    window = np.ones(16_000, np.float32)

    async def infer_all() -> list[WindowResult | BaseException]:
        windows = (window, window * 1e5, window)
        return await asyncio.gather(*map(engine.infer, windows), return_exceptions=True)

    before, loud, after = asyncio.run(infer_all())
    assert isinstance(before, WindowResult)
    assert isinstance(loud, NonFiniteScores)
    assert isinstance(after, WindowResult)
    engine.close()


def test_weights_that_give_no_numbers_are_refused_at_start(folder: Path) -> None:
    model = AutoModelForAudioClassification.from_pretrained(folder)
    with torch.no_grad():
        model.classifier.weight.fill_(float("nan"))
    model.save_pretrained(folder)
    artefact = read(folder)
    with pytest.raises(StartupError, match="answers noise with NaN"):
        Engine(artefact, load_backend("torch", artefact, threads=1))
