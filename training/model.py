"""The feature extractor and the model, with window and labels stamped into what will be pushed."""

from typing import Any, cast

from transformers import (
    AutoFeatureExtractor,
    AutoModelForAudioClassification,
    HubertConfig,
    HubertForSequenceClassification,
    PreTrainedModel,
    Wav2Vec2FeatureExtractor,
)

from training import hub
from training.arguments import ModelArguments
from training.errors import TrainingError

TINY = "tiny"
"""The name of a new small HuBERT of about 1.8 million parameters, for the demo and the tests."""


def load_extractor(arguments: ModelArguments, *, max_duration_s: float) -> Wav2Vec2FeatureExtractor:
    """The base model's own feature extractor, set up as in the audio course and stamped with the window.

    It normalises each window to zero mean and unit variance and answers attention masks. The window is an attribute,
    as `from_pretrained(max_length=...)` drops it silently. Raises TrainingError.
    """
    if arguments.model_name_or_path == TINY:
        extractor = Wav2Vec2FeatureExtractor()
    else:
        with hub.explained(arguments.model_name_or_path):
            extractor = hub.retrying(
                AutoFeatureExtractor.from_pretrained,
                arguments.model_name_or_path,
                revision=arguments.model_revision,
            )
    if not isinstance(extractor, Wav2Vec2FeatureExtractor):
        raise TrainingError(f"{arguments.model_name_or_path} does not hear raw audio. Use a HuBERT, wav2vec2 or WavLM.")
    extractor.do_normalize = True
    extractor.return_attention_mask = True
    setattr(extractor, "max_length", window_samples(extractor, max_duration_s))  # noqa: B010
    return extractor


def window_samples(extractor: Wav2Vec2FeatureExtractor, window_s: float) -> int:
    """Samples of a window of `window_s` seconds at the extractor's rate."""
    return round(window_s * extractor.sampling_rate)


def load_model(arguments: ModelArguments, genres: list[str]) -> PreTrainedModel:
    """The base model with a new classification head for `genres`. Raises TrainingError."""
    overrides: dict[str, Any] = {}
    if arguments.attention_dropout is not None:
        overrides["attention_dropout"] = arguments.attention_dropout
    if arguments.mask_time_prob:
        overrides |= {"apply_spec_augment": True, "mask_time_prob": arguments.mask_time_prob}
    model = _load(arguments, genres, overrides)
    if arguments.feature_encoder != "trained":
        cast(Any, model).freeze_feature_encoder()
    return model


def _load(arguments: ModelArguments, genres: list[str], overrides: dict[str, Any]) -> PreTrainedModel:
    if arguments.model_name_or_path == TINY:
        return _tiny(genres, overrides)
    name = arguments.model_name_or_path
    try:
        with hub.explained(name):
            model: PreTrainedModel = hub.retrying(
                AutoModelForAudioClassification.from_pretrained,
                name,
                revision=arguments.model_revision,
                # A base that was fine-tuned on other genres gets a new head.
                ignore_mismatched_sizes=True,
                id2label=dict(enumerate(genres)),
                label2id=_label2id(genres),
                **overrides,
            )
            return model
    except ValueError as error:
        raise TrainingError(f"{name} is no audio encoder that transformers can classify with.") from error


def _tiny(genres: list[str], overrides: dict[str, Any]) -> PreTrainedModel:
    """DistilHuBERT's architecture, an eighth as wide. A few minutes of training need no regularisation yet."""
    config = HubertConfig(
        conv_dim=(96,) * 7,
        hidden_size=192,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=768,
        num_conv_pos_embeddings=32,
        # 48 channels a group, as DistilHuBERT has. With 12 (16 groups) torch 2.13 computes this convolution wrongly in
        # bf16 on CPUs with AMX: the model learns the wrong numbers, and is useless in float32.
        num_conv_pos_embedding_groups=4,
        hidden_dropout=0.0,
        activation_dropout=0.0,
        feat_proj_dropout=0.0,
        final_dropout=0.0,
        layerdrop=0.0,
        id2label=dict(enumerate(genres)),
        label2id=_label2id(genres),
        **({"attention_dropout": 0.0, "mask_time_prob": 0.0} | overrides),
    )
    return HubertForSequenceClassification(config)


def _label2id(genres: list[str]) -> dict[str, int]:
    return {genre: index for index, genre in enumerate(genres)}
