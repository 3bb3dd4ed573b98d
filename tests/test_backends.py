from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    HubertConfig,
    HubertForSequenceClassification,
    HubertModel,
    PreTrainedModel,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2ForSequenceClassification,
    WavLMConfig,
    WavLMForSequenceClassification,
)

from service.artefact import Artefact, read_artefact
from service.backends import TorchBackend
from service.errors import StartupError
from tests.audio_files import sweep

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
}
_WINDOWS = np.stack([sweep(3, 16_000), sweep(3, 16_000)[::-1]])


def _artefact(folder: Path, model: PreTrainedModel) -> Artefact:
    model.save_pretrained(folder)
    Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=True).save_pretrained(folder)
    return read_artefact(folder, model_id="you/model", revision=None)


# transformers' WavLM gives torch masks of two types.
@pytest.mark.filterwarnings("ignore:Support for mismatched key_padding_mask")
@pytest.mark.parametrize("kind", _KINDS)
def test_probabilities_are_those_of_transformers(tmp_path: Path, kind: str) -> None:
    model = _KINDS[kind]().eval()
    backend = TorchBackend(_artefact(tmp_path, model))
    extractor = Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=True)
    with torch.inference_mode():
        inputs = extractor(list(_WINDOWS), sampling_rate=16_000, return_tensors="pt")
        expected = model(**inputs).logits.softmax(-1).numpy()
    np.testing.assert_allclose(backend.probabilities(_WINDOWS), expected, atol=1e-5)


def test_the_temperature_divides_the_logits(tmp_path: Path) -> None:
    artefact = _artefact(tmp_path, _KINDS["hubert"]())
    plain = TorchBackend(artefact).probabilities(_WINDOWS)
    (tmp_path / "serving.json").write_text('{"schema_version": 1, "temperature": 2.0}')
    flat = TorchBackend(read_artefact(tmp_path, model_id="m", revision=None)).probabilities(_WINDOWS)
    expected = np.sqrt(plain) / np.sqrt(plain).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(flat, expected, atol=1e-5)


def test_weights_under_the_names_of_older_releases(tmp_path: Path) -> None:
    """Most of the Hub's HuBERTs were saved before torch renamed the weight norm of the positional convolution."""
    model = _KINDS["hubert"]().eval()
    artefact = _artefact(tmp_path, model)
    expected = TorchBackend(artefact).probabilities(_WINDOWS)
    renamed = {
        name.replace("parametrizations.weight.original0", "weight_g").replace(
            "parametrizations.weight.original1", "weight_v"
        ): tensor
        for name, tensor in load_file(tmp_path / "model.safetensors").items()
    }
    assert any(name.endswith("weight_g") for name in renamed)
    save_file(renamed, tmp_path / "model.safetensors", metadata={"format": "pt"})
    np.testing.assert_allclose(TorchBackend(artefact).probabilities(_WINDOWS), expected, atol=1e-6)


def test_a_missing_mask_embedding_is_no_fault(tmp_path: Path) -> None:
    """It is used in training only, and absent from models that were trained without."""
    artefact = _artefact(tmp_path, _KINDS["hubert"]())
    weights = load_file(tmp_path / "model.safetensors")
    del weights["hubert.masked_spec_embed"]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    assert TorchBackend(artefact).probabilities(_WINDOWS).shape == (2, 3)


def test_a_base_model_is_refused(tmp_path: Path) -> None:
    artefact = _artefact(tmp_path, HubertModel(HubertConfig(**_SIZES)))
    with pytest.raises(StartupError, match="lacks trained weights for classifier"):
        TorchBackend(artefact)


def test_weights_that_are_no_weights_are_refused(tmp_path: Path) -> None:
    artefact = _artefact(tmp_path, _KINDS["hubert"]())
    (tmp_path / "model.safetensors").write_bytes(b"not a tensor in sight")
    with pytest.raises(StartupError, match="do not load as an audio classification model"):
        TorchBackend(artefact)


def test_a_text_model_is_refused(tmp_path: Path) -> None:
    artefact = _artefact(tmp_path, _KINDS["hubert"]())
    (tmp_path / "config.json").write_text('{"model_type": "bert", "id2label": {"0": "a", "1": "b"}}')
    with pytest.raises(StartupError, match="do not load as an audio classification model"):
        TorchBackend(artefact)
