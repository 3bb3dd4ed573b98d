"""Reads clips from whatever `--dataset` names: folders, archives, tables, the Hub, or a program that composes music."""

from training.data.sources.clip_source import Example, features
from training.data.sources.finding import SYNTHETIC, LoadedClips, StreamedClips, load_dataset, stream_dataset
from training.data.sources.genres import in_order, require_distinct

__all__ = [
    "SYNTHETIC",
    "Example",
    "LoadedClips",
    "StreamedClips",
    "features",
    "in_order",
    "load_dataset",
    "require_distinct",
    "stream_dataset",
]
