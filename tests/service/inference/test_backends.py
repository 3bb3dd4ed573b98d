"""Both backends answer as transformers does, alone and among others, from graphs old and new."""

import shutil
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import openvino
import pytest
import torch
from huggingface_hub import constants
from transformers import (
    Wav2Vec2FeatureExtractor,
)

from service.inference.loading import Choice, load_backend
from service.model.artefact import read_artefact
from service.model.graphs.cutting import LogitsAndEmbedding, UncuttableError, cut
from service.model.graphs.locate import Located, locate
from service.model.layout import TiledGraphs
from tests.support.tiny_encoders import KINDS, WINDOWS, artefact_of, backend_of, torch_backend
from tests.support.variants import usual

_TOLERANCE = {"torch-cpu-float32": 1e-5, "openvino-f32": 1e-5, "openvino-bf16": 0.01}


# transformers' WavLM gives torch masks of two types.
@pytest.mark.filterwarnings("ignore:Support for mismatched key_padding_mask")
@pytest.mark.parametrize("choice", ["torch", "openvino"])
@pytest.mark.parametrize("kind", usual("hubert", of=KINDS))
def test_probabilities_are_those_of_transformers(tmp_path: Path, kind: str, choice: Choice) -> None:
    model = KINDS[kind]().eval()
    backend = backend_of(choice, tmp_path, model)
    extractor = Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=True)
    with torch.inference_mode():
        inputs = extractor(list(WINDOWS), sampling_rate=16_000, return_tensors="pt")
        expected = model(**inputs).logits.softmax(-1).numpy()
    np.testing.assert_allclose(backend.infer(WINDOWS).probabilities, expected, atol=_TOLERANCE[backend.name])


@pytest.mark.parametrize("choice", ["torch", "openvino"])
def test_a_window_is_answered_the_same_alone_and_among_others(tmp_path: Path, choice: Choice) -> None:
    backend = backend_of(choice, tmp_path, KINDS["hubert"]())
    together = backend.infer(WINDOWS).probabilities
    reversed_ = backend.infer(WINDOWS[::-1].copy()).probabilities[::-1]
    alone = np.concatenate([backend.infer(window[None]).probabilities for window in WINDOWS])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    np.testing.assert_allclose(reversed_, alone, atol=1e-5)


@pytest.mark.parametrize("choice", ["torch", "openvino"])
def test_embeddings_are_what_the_classifier_gets(tmp_path: Path, choice: Choice) -> None:
    model = KINDS["hubert"]().eval()
    outputs = backend_of(choice, tmp_path, model).infer(WINDOWS)
    assert outputs.embeddings is not None
    assert outputs.embeddings.shape == (2, 16)
    with torch.inference_mode():
        logits = model.classifier(torch.from_numpy(outputs.embeddings))
    np.testing.assert_allclose(logits.softmax(-1), outputs.probabilities, atol=0.01)


@pytest.mark.slow
def test_a_model_is_converted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path / "home"))
    artefact = artefact_of(tmp_path / "model", KINDS["hubert"]())
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(locate, [artefact, artefact])
    assert first == second
    assert isinstance(first.graphs, TiledGraphs)
    made = first.graphs.encoder.stat().st_mtime_ns
    assert locate(artefact) == first
    assert first.graphs.encoder.stat().st_mtime_ns == made
    folder = first.graphs.encoder.parent
    assert sorted(folder.iterdir()) == sorted(first.graphs.files)
    assert list(folder.parent.glob("converting-*")) == []


@pytest.mark.thorough
def test_without_a_cache_the_graphs_of_one_model_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "home").touch()
    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path / "home"))
    first, second = (artefact_of(tmp_path / name, KINDS["hubert"]()) for name in ("first", "second"))
    left = locate(first).graphs.files[0].parent
    graphs = locate(second).graphs
    assert graphs.files[0].is_file()
    assert list(left.parent.iterdir()) == [graphs.files[0].parent]
    assert locate(second).graphs == graphs


@pytest.mark.thorough
def test_graphs_in_the_repo_are_used_as_they_are(tmp_path: Path) -> None:
    artefact = artefact_of(tmp_path, KINDS["hubert"]())
    made = locate(artefact).graphs
    (tmp_path / "openvino").mkdir()
    for path in made.files:
        shutil.copy(path, tmp_path / "openvino")
    assert locate(artefact) == Located(TiledGraphs.inside(tmp_path / "openvino"), "float32")


def test_one_graph_of_an_earlier_version_still_serves_and_says_so(tmp_path: Path) -> None:
    model = KINDS["hubert"]().eval()
    artefact = artefact_of(tmp_path, model)
    (tmp_path / "openvino").mkdir()
    _earlier_graph(model, tmp_path / "openvino" / "model.xml")
    backend = load_backend("openvino", artefact, threads=1)
    outputs = backend.infer(WINDOWS)
    expected = torch_backend(artefact).infer(WINDOWS).probabilities
    np.testing.assert_allclose(outputs.probabilities, expected, atol=_TOLERANCE[backend.name])
    assert outputs.embeddings is None
    assert backend.note
    assert "one graph" in backend.note


def _earlier_graph(model: torch.nn.Module, path: Path) -> None:
    """Write the graph that version 0.9 did: logits alone."""
    module = LogitsAndEmbedding(model)
    module.classifier = None
    module.model = model
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = openvino.convert_model(module, example_input=torch.zeros(1, WINDOWS.shape[1]))
    made.reshape([-1, WINDOWS.shape[1]])
    openvino.save_model(made, path)


def test_a_model_that_cannot_be_cut_is_one_graph(tmp_path: Path) -> None:
    """Its first layer normalises the channels in two groups."""
    model = KINDS["hubert"]().eval()
    norm = torch.nn.GroupNorm(2, 16)
    model.base_model.feature_extractor.conv_layers[0].layer_norm = norm
    with pytest.raises(UncuttableError, match="several channels together"):
        cut(model)


@pytest.mark.thorough
def test_service_with_a_graph_never_imports_torch_its_page_included(tmp_path: Path) -> None:
    artefact = artefact_of(tmp_path, KINDS["hubert"]())
    locate(artefact)
    script = (
        "import sys; from pathlib import Path; from service.model.artefact import read_artefact;"
        "from service.inference.loading import load_backend; from service.inference.engine import Engine;"
        "folder = Path(sys.argv[1]);"
        "artefact = read_artefact(folder, model_id='you/model', revision=None);"
        "Engine(artefact, load_backend('openvino', artefact, 1));"
        "import service.__main__, service.app, service.server, service.ui.actions, service.ui.blocks;"
        "print(sorted({'torch', 'transformers'} & sys.modules.keys()))"
    )
    result = subprocess.run([sys.executable, "-c", script, tmp_path], capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"


def test_the_temperature_divides_the_logits(tmp_path: Path) -> None:
    artefact = artefact_of(tmp_path, KINDS["hubert"]())
    plain = torch_backend(artefact).infer(WINDOWS).probabilities
    (tmp_path / "serving.json").write_text('{"schema_version": 1, "temperature": 2.0}')
    flat = torch_backend(read_artefact(tmp_path, model_id="m", revision=None)).infer(WINDOWS).probabilities
    expected = np.sqrt(plain) / np.sqrt(plain).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(flat, expected, atol=1e-5)
