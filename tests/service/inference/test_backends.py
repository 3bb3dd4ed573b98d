import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file, save_file
from transformers import (
    Data2VecAudioConfig,
    Data2VecAudioForSequenceClassification,
    HubertConfig,
    HubertForSequenceClassification,
    HubertModel,
    PreTrainedModel,
    SEWConfig,
    SEWForSequenceClassification,
    UniSpeechConfig,
    UniSpeechForSequenceClassification,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2ForSequenceClassification,
    WavLMConfig,
    WavLMForSequenceClassification,
)

from service.audio import normalise
from service.errors import StartupError
from service.inference.backend import Backend
from service.inference.loading import Choice, load_backend
from service.inference.torch_backend import TorchBackend
from service.model.artefact import Artefact, read_artefact
from service.model.graphs.conversion import convert
from service.model.graphs.cutting import LogitsAndEmbedding, UncuttableError, cut
from service.model.graphs.locate import Located, locate
from service.model.layout import GRAPH_FOLDER, TiledGraphs
from tests.support.audio_files import sweep

_SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "conv_dim": (16,) * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
    "classifier_proj_size": 16,
    "id2label": {0: "jazz", 1: "metal", 2: "polka"},
    "label2id": {"jazz": 0, "metal": 1, "polka": 2},
}
_KINDS: dict[str, Callable[[], PreTrainedModel]] = {
    "hubert": lambda: HubertForSequenceClassification(HubertConfig(**_SIZES)),
    "wav2vec2": lambda: Wav2Vec2ForSequenceClassification(Wav2Vec2Config(**_SIZES)),
    "wavlm": lambda: WavLMForSequenceClassification(WavLMConfig(**_SIZES)),
    "unispeech": lambda: UniSpeechForSequenceClassification(UniSpeechConfig(**_SIZES)),
    "data2vec": lambda: Data2VecAudioForSequenceClassification(Data2VecAudioConfig(**_SIZES)),
    "sew": lambda: SEWForSequenceClassification(
        SEWConfig(**_SIZES, squeeze_factor=2, conv_stride=(5, 2, 2, 2, 2, 2, 2), conv_kernel=(10, 3, 3, 3, 3, 2, 2))
    ),
    "layer norm and biases": lambda: Wav2Vec2ForSequenceClassification(
        Wav2Vec2Config(**_SIZES, feat_extract_norm="layer", conv_bias=True, do_stable_layer_norm=True)
    ),
    "group norm and biases": lambda: HubertForSequenceClassification(HubertConfig(**_SIZES, conv_bias=True)),
    "other strides and kernels": lambda: HubertForSequenceClassification(
        HubertConfig(**_SIZES | {"conv_dim": (16, 8, 24), "conv_stride": (7, 3, 8), "conv_kernel": (11, 5, 9)})
    ),
}
_WINDOWS = np.stack([normalise(sweep(3, 16_000)), normalise(sweep(3, 16_000)[::-1])])
_TOLERANCE = {"torch-cpu-float32": 1e-5, "openvino-f32": 1e-5, "openvino-bf16": 0.01}


def _artefact(folder: Path, model: PreTrainedModel) -> Artefact:
    model.save_pretrained(folder)
    extractor = Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=True)
    extractor.max_length = _WINDOWS.shape[1]  # type: ignore[attr-defined]
    extractor.save_pretrained(folder)
    return read_artefact(folder, model_id="you/model", revision=None)


def _backend(choice: Choice, folder: Path, model: PreTrainedModel) -> Backend:
    """A backend for a model, whose graphs lie in the repo as those of our own training do."""
    artefact = _artefact(folder, model)
    if choice == "openvino":
        convert(artefact, folder / GRAPH_FOLDER)
    return load_backend(choice, artefact, threads=1)


def _torch(artefact: Artefact) -> TorchBackend:
    return TorchBackend(artefact, threads=1)


# transformers' WavLM gives torch masks of two types.
@pytest.mark.filterwarnings("ignore:Support for mismatched key_padding_mask")
@pytest.mark.parametrize("choice", ["torch", "openvino"])
@pytest.mark.parametrize("kind", _KINDS)
def test_probabilities_are_those_of_transformers(tmp_path: Path, kind: str, choice: Choice) -> None:
    model = _KINDS[kind]().eval()
    backend = _backend(choice, tmp_path, model)
    extractor = Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=True)
    with torch.inference_mode():
        inputs = extractor(list(_WINDOWS), sampling_rate=16_000, return_tensors="pt")
        expected = model(**inputs).logits.softmax(-1).numpy()
    np.testing.assert_allclose(backend.infer(_WINDOWS).probabilities, expected, atol=_TOLERANCE[backend.name])


@pytest.mark.parametrize("choice", ["torch", "openvino"])
def test_a_window_is_answered_the_same_alone_and_among_others(tmp_path: Path, choice: Choice) -> None:
    backend = _backend(choice, tmp_path, _KINDS["hubert"]())
    together = backend.infer(_WINDOWS).probabilities
    reversed_ = backend.infer(_WINDOWS[::-1].copy()).probabilities[::-1]
    alone = np.concatenate([backend.infer(window[None]).probabilities for window in _WINDOWS])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    np.testing.assert_allclose(reversed_, alone, atol=1e-5)


@pytest.mark.parametrize("choice", ["torch", "openvino"])
def test_embeddings_are_what_the_classifier_gets(tmp_path: Path, choice: Choice) -> None:
    model = _KINDS["hubert"]().eval()
    outputs = _backend(choice, tmp_path, model).infer(_WINDOWS)
    assert outputs.embeddings is not None
    assert outputs.embeddings.shape == (2, 16)
    with torch.inference_mode():
        logits = model.classifier(torch.from_numpy(outputs.embeddings))
    np.testing.assert_allclose(logits.softmax(-1), outputs.probabilities, atol=0.01)


@pytest.mark.slow
def test_a_model_is_converted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path / "home"))
    artefact = _artefact(tmp_path / "model", _KINDS["hubert"]())
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


def test_graphs_in_the_repo_are_used_as_they_are(tmp_path: Path) -> None:
    artefact = _artefact(tmp_path, _KINDS["hubert"]())
    made = locate(artefact).graphs
    (tmp_path / "openvino").mkdir()
    for path in made.files:
        shutil.copy(path, tmp_path / "openvino")
    assert locate(artefact) == Located(TiledGraphs.inside(tmp_path / "openvino"), "float32")


def test_one_graph_of_an_earlier_version_still_serves_and_says_so(tmp_path: Path) -> None:
    model = _KINDS["hubert"]().eval()
    artefact = _artefact(tmp_path, model)
    (tmp_path / "openvino").mkdir()
    _earlier_graph(model, tmp_path / "openvino" / "model.xml")
    backend = load_backend("openvino", artefact, threads=1)
    outputs = backend.infer(_WINDOWS)
    expected = _torch(artefact).infer(_WINDOWS).probabilities
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
        made = openvino.convert_model(module, example_input=torch.zeros(1, _WINDOWS.shape[1]))
    made.reshape([-1, _WINDOWS.shape[1]])
    openvino.save_model(made, path)


def test_a_model_that_cannot_be_cut_is_one_graph(tmp_path: Path) -> None:
    """Its first layer normalises the channels in two groups."""
    model = _KINDS["hubert"]().eval()
    norm = torch.nn.GroupNorm(2, 16)
    model.base_model.feature_extractor.conv_layers[0].layer_norm = norm
    with pytest.raises(UncuttableError, match="several channels together"):
        cut(model)


def test_service_with_a_graph_never_imports_torch_its_page_included(tmp_path: Path) -> None:
    artefact = _artefact(tmp_path, _KINDS["hubert"]())
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
    artefact = _artefact(tmp_path, _KINDS["hubert"]())
    plain = _torch(artefact).infer(_WINDOWS).probabilities
    (tmp_path / "serving.json").write_text('{"schema_version": 1, "temperature": 2.0}')
    flat = _torch(read_artefact(tmp_path, model_id="m", revision=None)).infer(_WINDOWS).probabilities
    expected = np.sqrt(plain) / np.sqrt(plain).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(flat, expected, atol=1e-5)


def test_weights_under_the_names_of_older_releases(tmp_path: Path) -> None:
    """Most of the Hub's HuBERTs were saved before torch renamed the weight norm of the positional convolution."""
    model = _KINDS["hubert"]().eval()
    artefact = _artefact(tmp_path, model)
    expected = _torch(artefact).infer(_WINDOWS).probabilities
    renamed = {
        name.replace("parametrizations.weight.original0", "weight_g").replace(
            "parametrizations.weight.original1", "weight_v"
        ): tensor
        for name, tensor in load_file(tmp_path / "model.safetensors").items()
    }
    assert any(name.endswith("weight_g") for name in renamed)
    save_file(renamed, tmp_path / "model.safetensors", metadata={"format": "pt"})
    np.testing.assert_allclose(_torch(artefact).infer(_WINDOWS).probabilities, expected, atol=1e-6)


def test_a_missing_mask_embedding_is_no_fault(tmp_path: Path) -> None:
    """It is used in training only, and absent from models that were trained without."""
    artefact = _artefact(tmp_path, _KINDS["hubert"]())
    weights = load_file(tmp_path / "model.safetensors")
    del weights["hubert.masked_spec_embed"]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    assert _torch(artefact).infer(_WINDOWS).probabilities.shape == (2, 3)


def test_a_base_model_is_refused(tmp_path: Path) -> None:
    artefact = _artefact(tmp_path, HubertModel(HubertConfig(**_SIZES)))
    with pytest.raises(StartupError, match="lacks trained weights for classifier"):
        _torch(artefact)


@pytest.mark.parametrize("load", [_torch, locate])
@pytest.mark.parametrize("damage", ["cut off", "no tensors", "other shapes"])
def test_weights_that_do_not_load_are_refused(tmp_path: Path, damage: str, load: Callable[[Artefact], object]) -> None:
    artefact = _artefact(tmp_path, _KINDS["hubert"]())
    weights = tmp_path / "model.safetensors"
    if damage == "other shapes":
        config = HubertConfig.from_pretrained(tmp_path)
        config.classifier_proj_size += 1
        config.save_pretrained(tmp_path)
    else:
        weights.write_bytes(weights.read_bytes()[:500] if damage == "cut off" else b"<html>")
    with pytest.raises(StartupError, match="do not load as an audio classification model|is damaged or cut off"):
        load(replace(artefact, revision=damage))


def test_a_text_model_is_refused(tmp_path: Path) -> None:
    artefact = _artefact(tmp_path, _KINDS["hubert"]())
    (tmp_path / "config.json").write_text('{"model_type": "bert", "id2label": {"0": "a", "1": "b"}}')
    with pytest.raises(StartupError, match="do not load as an audio classification model"):
        _torch(artefact)
