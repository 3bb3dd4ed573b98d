"""The feature extractor and the model, with window and labels stamped into what will be pushed."""

import math
import re
from typing import Any, cast

import torch
from transformers import (
    MODEL_FOR_AUDIO_CLASSIFICATION_MAPPING,
    AutoConfig,
    AutoFeatureExtractor,
    AutoModelForAudioClassification,
    HubertConfig,
    HubertForSequenceClassification,
    PreTrainedModel,
    Wav2Vec2FeatureExtractor,
)

from service.audio import WindowSpec
from training import hub
from training.arguments import ModelArguments
from training.errors import TrainingError

TINY = "tiny"
"""The name of a new small HuBERT of about 1 million parameters, for the demo and the tests."""


# transformers' names of classes without a name.
_UNNAMED = re.compile(r"LABEL_\d+")


def known_genres(arguments: ModelArguments) -> list[str] | None:
    """The genres that a fine-tuned base tells already, in the order of its outputs; None when it gets a new head.

    Reads no weights. Raises TrainingError for a base that is no audio encoder.
    """
    name = arguments.model_name_or_path
    if name == TINY:
        return None
    try:
        with hub.hub_errors_explained(name):
            config = hub.retrying(
                AutoConfig.from_pretrained, name, revision=arguments.model_revision, trust_remote_code=False
            )
    except ValueError as error:
        raise TrainingError(_unusable(name, error)) from error
    if type(config) not in MODEL_FOR_AUDIO_CLASSIFICATION_MAPPING:
        raise TrainingError(_no_audio_encoder(name))
    labels = [config.id2label[index] for index in sorted(config.id2label)]
    has_head = any(architecture.endswith("ForSequenceClassification") for architecture in config.architectures or [])
    named = not all(_UNNAMED.fullmatch(label) for label in labels)
    return labels if has_head and named and not arguments.new_head else None


def load_extractor(arguments: ModelArguments, *, max_duration_s: float) -> Wav2Vec2FeatureExtractor:
    """The base model's own feature extractor, set up as in the audio course and stamped with the window.

    It normalises each window to zero mean and unit variance and answers attention masks. The window is an attribute,
    as `from_pretrained(max_length=...)` drops it silently. Raises TrainingError.
    """
    if arguments.model_name_or_path == TINY:
        extractor = Wav2Vec2FeatureExtractor()
    else:
        extractor = _load_extractor(arguments.model_name_or_path, arguments.model_revision)
    if not isinstance(extractor, Wav2Vec2FeatureExtractor):
        raise TrainingError(_no_audio_encoder(arguments.model_name_or_path))
    extractor.do_normalize = True
    extractor.return_attention_mask = True
    setattr(extractor, "max_length", WindowSpec(extractor.sampling_rate, max_duration_s).samples)  # noqa: B010
    return extractor


def _load_extractor(name: str, revision: str) -> Any:
    try:
        with hub.hub_errors_explained(name):
            return hub.retrying(AutoFeatureExtractor.from_pretrained, name, revision=revision, trust_remote_code=False)
    except ValueError as error:
        raise TrainingError(_unusable(name, error)) from error


def load_model(arguments: ModelArguments, genres: list[str]) -> PreTrainedModel:
    """The base model with a classification head for `genres`: its own when it tells as many. Raises TrainingError."""
    dropout = arguments.attention_dropout
    model = _load(arguments, genres, {} if dropout is None else {"attention_dropout": dropout})
    if arguments.feature_encoder != "trained":
        cast(Any, model).freeze_feature_encoder()
    return model


def _load(arguments: ModelArguments, genres: list[str], overrides: dict[str, Any]) -> PreTrainedModel:
    if arguments.model_name_or_path == TINY:
        return _tiny(genres, overrides)
    name = arguments.model_name_or_path
    try:
        with hub.hub_errors_explained(name):
            model: PreTrainedModel = hub.retrying(
                AutoModelForAudioClassification.from_pretrained,
                name,
                revision=arguments.model_revision,
                trust_remote_code=False,
                # A base that was fine-tuned on other genres gets a new head.
                ignore_mismatched_sizes=True,
                # A base may have been fine-tuned for several labels a clip.
                problem_type="single_label_classification",
                id2label=dict(enumerate(genres)),
                label2id=_label2id(genres),
                **overrides,
            )
    except ValueError as error:
        raise TrainingError(_unusable(name, error)) from error
    if arguments.new_head:
        _renew_head(model)
    return model


def _tiny(genres: list[str], overrides: dict[str, Any]) -> PreTrainedModel:
    """A small HuBERT that learns from scratch in a minute. So short a training needs no regularisation yet.

    Its encoder has two convolutions, the first of which starts as a filterbank and learns on.
    """
    config = HubertConfig(
        conv_dim=(256, 192),
        conv_kernel=(400, 5),
        conv_stride=(160, 4),
        # The group norm of DistilHuBERT would take away how loud each band is.
        feat_extract_norm="layer",
        conv_bias=True,
        hidden_size=192,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=384,
        num_conv_pos_embeddings=16,
        # 48 channels a group, as DistilHuBERT has. With 12 (16 groups) torch 2.13 computes this convolution wrongly in
        # bf16 on CPUs with AMX: the model learns the wrong numbers, and is useless in float32.
        num_conv_pos_embedding_groups=4,
        hidden_dropout=0.0,
        activation_dropout=0.0,
        feat_proj_dropout=0.0,
        final_dropout=0.0,
        layerdrop=0.0,
        mask_time_prob=0.0,
        id2label=dict(enumerate(genres)),
        label2id=_label2id(genres),
        **({"attention_dropout": 0.0} | overrides),
    )
    model = HubertForSequenceClassification(config)
    first = model.get_submodule("hubert.feature_extractor.conv_layers.0.conv")
    assert isinstance(first, torch.nn.Conv1d)
    with torch.no_grad():
        first.weight.copy_(_filterbank(*first.weight.shape[::2]))
    return model


def _filterbank(filters: int, samples: int) -> torch.Tensor:
    """float32 (filters, 1, samples): windowed cosines and sines of frequencies spread evenly on the mel scale.

    As a first layer they learn several times faster than random numbers (Ravanelli and Bengio, "Speaker Recognition
    from Raw Waveform with SincNet", 2018; Zeghidour et al., "LEAF", 2021).
    """
    sampling_rate = Wav2Vec2FeatureExtractor().sampling_rate
    lowest, highest = (2595 * math.log10(1 + hertz / 700) for hertz in (40, 0.475 * sampling_rate))
    hertz = 700 * (10 ** (torch.linspace(lowest, highest, filters // 2) / 2595) - 1)
    angles = 2 * math.pi * hertz[:, None] * (torch.arange(samples) - samples / 2) / sampling_rate
    waves = torch.cat([angles.cos(), angles.sin()]) * torch.hann_window(samples)
    filterbank: torch.Tensor = (waves / waves.norm(dim=1, keepdim=True))[:, None]
    return filterbank


def _renew_head(model: PreTrainedModel) -> None:
    """Initialise the head as transformers does for a base without one; loading keeps the weights of a base with one."""
    for layer in (model.get_submodule("projector"), model.get_submodule("classifier")):
        assert isinstance(layer, torch.nn.Linear)
        torch.nn.init.normal_(layer.weight, std=model.config.initializer_range)
        torch.nn.init.zeros_(layer.bias)


def _unusable(name: str, error: ValueError) -> str:
    """Why a base cannot be loaded: transformers refuses to run its code, or to take it for an audio encoder."""
    if "trust_remote_code" in str(error):
        return f"{name} comes with code of its own, which is never run. Use a base that transformers knows by itself."
    return _no_audio_encoder(name)


def _no_audio_encoder(name: str) -> str:
    return f"{name} is no audio encoder that hears a waveform. Use a HuBERT, wav2vec2 or WavLM."


def _label2id(genres: list[str]) -> dict[str, int]:
    return {genre: index for index, genre in enumerate(genres)}
