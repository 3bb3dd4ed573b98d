"""A one-layer HuBERT with random weights, as somebody might have pushed it: quick to load, quick to compute."""

from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import HubertConfig, HubertForSequenceClassification, Wav2Vec2FeatureExtractor


def save(folder: Path, genres: Sequence[str], *, width: int = 16) -> None:
    """Write the model folder, the same each time. width: of the convolutions; 128 are slow."""
    config = HubertConfig(
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        conv_dim=(width,) * 7,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=4,
        classifier_proj_size=16,
        id2label=dict(enumerate(genres)),
        label2id={genre: index for index, genre in enumerate(genres)},
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        HubertForSequenceClassification(config).save_pretrained(folder)
    Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=True).save_pretrained(folder)
