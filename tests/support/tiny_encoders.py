"""Audio classifiers of every kind that the engine cuts into tiles, with tiny random weights, and backends for them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from transformers import (
    Data2VecAudioConfig,
    Data2VecAudioForSequenceClassification,
    HubertConfig,
    HubertForSequenceClassification,
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
from service.inference.backend import Backend
from service.inference.loading import Choice, load_backend
from service.inference.torch_backend import TorchBackend
from service.model.artefact import Artefact, read_artefact
from service.model.graphs.conversion import convert
from service.model.layout import GRAPH_FOLDER
from tests.support.audio_files import sweep

SIZES: dict[str, Any] = {
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
KINDS: dict[str, Callable[[], PreTrainedModel]] = {
    "hubert": lambda: HubertForSequenceClassification(HubertConfig(**SIZES)),
    "wav2vec2": lambda: Wav2Vec2ForSequenceClassification(Wav2Vec2Config(**SIZES)),
    "wavlm": lambda: WavLMForSequenceClassification(WavLMConfig(**SIZES)),
    "unispeech": lambda: UniSpeechForSequenceClassification(UniSpeechConfig(**SIZES)),
    "data2vec": lambda: Data2VecAudioForSequenceClassification(Data2VecAudioConfig(**SIZES)),
    "sew": lambda: SEWForSequenceClassification(
        SEWConfig(**SIZES, squeeze_factor=2, conv_stride=(5, 2, 2, 2, 2, 2, 2), conv_kernel=(10, 3, 3, 3, 3, 2, 2))
    ),
    "layer norm and biases": lambda: Wav2Vec2ForSequenceClassification(
        Wav2Vec2Config(**SIZES, feat_extract_norm="layer", conv_bias=True, do_stable_layer_norm=True)
    ),
    "group norm and biases": lambda: HubertForSequenceClassification(HubertConfig(**SIZES, conv_bias=True)),
    "other strides and kernels": lambda: HubertForSequenceClassification(
        HubertConfig(**SIZES | {"conv_dim": (16, 8, 24), "conv_stride": (7, 3, 8), "conv_kernel": (11, 5, 9)})
    ),
}
WINDOWS = np.stack([normalise(sweep(3, 16_000)), normalise(sweep(3, 16_000)[::-1])])


def artefact_of(folder: Path, model: PreTrainedModel) -> Artefact:
    """A model repo in a folder, of a model and a feature extractor."""
    model.save_pretrained(folder)
    extractor = Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=True)
    extractor.max_length = WINDOWS.shape[1]  # type: ignore[attr-defined]
    extractor.save_pretrained(folder)
    return read_artefact(folder, model_id="you/model", revision=None)


def backend_of(choice: Choice, folder: Path, model: PreTrainedModel) -> Backend:
    """A backend for a model, whose graphs lie in the repo as those of our own training do."""
    artefact = artefact_of(folder, model)
    if choice == "openvino":
        convert(artefact, folder / GRAPH_FOLDER)
    return load_backend(choice, artefact, threads=1)


def torch_backend(artefact: Artefact) -> TorchBackend:
    return TorchBackend(artefact, threads=1)
