"""Finds the clips that `--dataset` names: which kind of source it is, and what is in it."""

from pathlib import Path
from typing import NamedTuple

import datasets

from training.arguments import DataArguments
from training.data.sources.archive import archive_source, is_archive
from training.data.sources.clip_source import ClipSource
from training.data.sources.columns import TableSource
from training.data.sources.folder import folder_source
from training.data.sources.hub_repo import hub_source
from training.data.sources.synthetic_music import synthetic_source
from training.data.sources.tables import file_tables, is_table
from training.errors import TrainingError

SYNTHETIC = "synthetic"


class LoadedClips(NamedTuple):
    """Clips in the datasets cache, with the columns of `clip_source`; and their commit when they are on the Hub."""

    dataset: datasets.Dataset
    commit: str | None


class StreamedClips(NamedTuple):
    """The same clips, one after the other."""

    dataset: datasets.IterableDataset
    commit: str | None


def load_dataset(arguments: DataArguments) -> LoadedClips:
    """`--dataset` in the datasets cache. Raises TrainingError."""
    found, commit = _find(arguments)
    return LoadedClips(found.store(), commit)


def stream_dataset(arguments: DataArguments) -> StreamedClips:
    """The same clips one after the other, none of them stored; an archive on the Hub is downloaded all the same.

    Raises TrainingError.
    """
    found, commit = _find(arguments)
    return StreamedClips(found.stream(), commit)


def _find(arguments: DataArguments) -> tuple[ClipSource | TableSource, str | None]:
    path = Path(arguments.dataset)
    if arguments.dataset == SYNTHETIC:
        return synthetic_source(arguments.synthetic_clips_per_genre, arguments.synthetic_duration_s), None
    if path.exists() and arguments.dataset_config is not None:
        raise TrainingError(
            f"{path.name} is on this machine, where data sets have no configurations. Leave out --dataset_config, and "
            "name the folder or file of the one that is wanted."
        )
    if path.is_dir():
        return folder_source(path, arguments, streaming=arguments.streaming), None
    if path.is_file():
        return _file_source(path, arguments), None
    return hub_source(arguments)


def _file_source(path: Path, arguments: DataArguments) -> ClipSource | TableSource:
    if is_archive(path.name):
        return archive_source(path.name, [path], arguments)
    if is_table(path.name):
        return file_tables(path.parent, [path], arguments, streaming=arguments.streaming)
    raise TrainingError(
        f"{path.name} is no data set. It needs an archive (.zip, .tar, .tar.gz), a table (.parquet), or a folder "
        "<genre>/<clip>."
    )
