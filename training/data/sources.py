"""Reads clips from the Hub, a folder, an archive, or a program that composes music.

Columns: `audio` = {"bytes": the file, "path": "<genre>/<name>"}, `genre` = ClassLabel, and `artist` where a data set on
the Hub tells it.
"""

import hashlib
import os
import re
import tarfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import datasets
from huggingface_hub import HfApi, hf_hub_download

from service.audio.formats import AUDIO_SUFFIXES
from training import hub
from training.arguments import DataArguments
from training.errors import TrainingError
from training.synthetic import render, styles

SYNTHETIC = "synthetic"

_GTZAN_ARCHIVE = "data/genres.tar.gz"
_AUDIO_BYTES = {"bytes": datasets.Value("large_binary"), "path": datasets.Value("string")}
# Clips in one Arrow batch: few enough that whole songs stay far below Arrow's and the memory's limits.
_WRITER_BATCH = 64

Example = dict[str, Any]


@dataclass(frozen=True)
class ClipSource:
    """Clips that a generator makes when they are stored or streamed.

    generator: called with `parameters`; yields examples. identity: tells these clips from all others. is_cpu_bound:
    whether several processes make the clips faster, as for music that is composed.
    """

    generator: Callable[..., Iterator[Example]]
    parameters: dict[str, Any]
    genres: list[str]
    identity: list[str]
    is_cpu_bound: bool = False

    def store(self) -> datasets.Dataset:
        """Write the clips to an Arrow file of the datasets cache, once for the same identity."""
        processes = _cores() if self.is_cpu_bound else 1
        identity = "\n".join([self.generator.__name__, *self.genres, *self.identity])
        return datasets.Dataset.from_generator(
            self.generator,
            features=features(self.genres),
            gen_kwargs=self.parameters,
            num_proc=processes if processes > 1 else None,
            fingerprint=hashlib.sha256(identity.encode()).hexdigest()[:32],
            writer_batch_size=_WRITER_BATCH,
        )

    def stream(self) -> datasets.IterableDataset:
        """The clips one after the other, none of them stored."""
        return datasets.IterableDataset.from_generator(
            self.generator, features=features(self.genres), gen_kwargs=self.parameters
        )


def load_dataset(arguments: DataArguments) -> tuple[datasets.Dataset, str | None]:
    """`--dataset` in the datasets cache, and its commit when it is on the Hub. Raises TrainingError."""
    found, commit = _find(arguments, streaming=False)
    return found.store() if isinstance(found, ClipSource) else _from_columns(arguments.dataset, found), commit


def stream_dataset(arguments: DataArguments) -> tuple[datasets.IterableDataset, str | None]:
    """The same clips one after the other, none of them stored; an archive on the Hub is downloaded all the same.

    `genre` may be text, where a data set on the Hub does not list its genres. Raises TrainingError.
    """
    found, commit = _find(arguments, streaming=True)
    return found.stream() if isinstance(found, ClipSource) else _stream_columns(arguments.dataset, found), commit


def _find(arguments: DataArguments, *, streaming: bool) -> tuple[Any, str | None]:
    """A ClipSource, or the splits of a data set with columns; and the commit of what is on the Hub."""
    source = arguments.dataset
    if source == SYNTHETIC:
        return _synthetic_source(arguments.synthetic_clips_per_genre, arguments.synthetic_duration_s), None
    if Path(source).is_dir():
        return _folder_source(Path(source)), None
    if Path(source).is_file():
        return _archive_source(Path(source)), None
    with hub.hub_errors_explained(source):
        info = hub.retrying(HfApi().dataset_info, source, revision=arguments.dataset_revision)
        commit = str(info.sha)
        if any(file.rfilename == _GTZAN_ARCHIVE for file in info.siblings or []):
            # marsyas/gtzan: `datasets` refuses its loading script, so the archive beside it is read directly.
            archive = hub.retrying(hf_hub_download, source, _GTZAN_ARCHIVE, repo_type="dataset", revision=commit)
            return _archive_source(Path(archive)), commit
        return hub.retrying(datasets.load_dataset, source, revision=commit, streaming=streaming), commit


def _synthetic_source(clips_per_genre: int, duration_s: float) -> ClipSource:
    jobs = [f"{genre}/{seed}" for seed in range(clips_per_genre) for genre in render.GENRES]
    source = b"".join(Path(str(module.__file__)).read_bytes() for module in (styles, render))
    return ClipSource(
        _synthetic_clips,
        {"jobs": jobs, "duration_s": duration_s},
        list(render.GENRES),
        [hashlib.sha256(source).hexdigest(), str(duration_s), *jobs],
        is_cpu_bound=True,
    )


def _synthetic_clips(jobs: list[str], duration_s: float) -> Iterator[Example]:
    for job in jobs:
        genre, seed = job.split("/")
        content = render.encode(render.render(genre, int(seed), duration_s))
        yield _example(genre, f"{genre}.{int(seed):05}.flac", content)


def _folder_source(root: Path) -> ClipSource:
    files = sorted(path for path in root.rglob("*") if _is_clip(path.name) and path.is_file())
    folders = {path for path in root.rglob("*") if path.is_dir()}
    genres = _genres(root, {path.parent for path in files}, folders)
    identity = [f"{path.relative_to(root)} {path.stat().st_size} {path.stat().st_mtime_ns}" for path in files]
    return ClipSource(_folder_clips, {"files": [str(path) for path in files]}, genres, identity)


def _folder_clips(files: list[str]) -> Iterator[Example]:
    for path in map(Path, files):
        yield _example(path.parent.name, path.name, path.read_bytes())


def _archive_source(path: Path) -> ClipSource:
    """Clips of an archive, which is read twice and never unpacked: first the names, then the clips."""
    try:
        with tarfile.open(path) as archive:
            members = [(PurePosixPath(member.name), member.isdir()) for member in archive]
    except (tarfile.TarError, EOFError, OSError) as error:
        raise TrainingError(f"{path.name} is no readable .tar.gz. Download it again.") from error
    clips = [name for name, is_folder in members if not is_folder and _is_clip(name.name)]
    folders = {name for name, is_folder in members if is_folder}
    genres = _genres(PurePosixPath(path.name), {clip.parent for clip in clips}, folders)
    stat = path.stat()
    identity = [f"{path.resolve()} {stat.st_size} {stat.st_mtime_ns}"]
    return ClipSource(_archive_clips, {"path": str(path)}, genres, identity)


def _archive_clips(path: str) -> Iterator[Example]:
    with tarfile.open(path) as archive:
        for member in archive:
            name = PurePosixPath(member.name)
            if member.isfile() and _is_clip(name.name) and (file := archive.extractfile(member)):
                yield _example(name.parent.name, name.name, file.read())


def _from_columns(name: str, splits: datasets.DatasetDict) -> datasets.Dataset:
    """A data set with an audio column and a genre column, its own splits joined, as clips are split anew."""
    dataset = _clip_columns(name, datasets.concatenate_datasets(list(splits.values())))
    # class_encode_column would make a genre named None of it.
    if unlabelled := sum(genre is None or genre == -1 for genre in dataset["genre"]):
        raise TrainingError(f"{unlabelled} clips of {name} have no genre (none or -1). Remove or label them.")
    if not isinstance(dataset.features["genre"], datasets.ClassLabel):
        dataset = dataset.class_encode_column("genre")
    require_distinct(dataset.features["genre"].names)
    return dataset


def _stream_columns(name: str, splits: datasets.IterableDatasetDict) -> datasets.IterableDataset:
    return _clip_columns(name, datasets.concatenate_datasets(list(splits.values())))


def _clip_columns(name: str, dataset: Any) -> Any:
    columns = dataset.features or {}
    audio = next((column for column, feature in columns.items() if _is_audio(feature)), None)
    genre = next((column for column in ("genre", "label", "genres", "labels") if column in columns), None)
    if audio is None or genre is None:
        raise TrainingError(
            f"{name} has the columns {', '.join(columns)}. It needs one of audio, and `genre` or `label`."
        )
    # datasets' own decoder needs torchcodec, and is not the one that serves.
    plain = _AUDIO_BYTES if isinstance(dataset, datasets.IterableDataset) else datasets.Audio(decode=False)
    artist = ["artist"] if columns.get("artist") == datasets.Value("string") else []
    dataset = dataset.cast_column(audio, plain).select_columns([audio, genre, *artist])
    # A stream refuses to rename a column to what it is.
    return dataset.rename_columns({old: new for old, new in ((audio, "audio"), (genre, "genre")) if old != new})


def _is_audio(feature: object) -> bool:
    return isinstance(feature, datasets.Audio) or (isinstance(feature, dict) and {"bytes", "path"} <= feature.keys())


def _is_clip(name: str) -> bool:
    # macOS leaves a `._jazz.00001.wav` of attributes beside each file that it archives.
    return not name.startswith("._") and PurePosixPath(name).suffix.lower() in AUDIO_SUFFIXES


def _genres(source: PurePosixPath | Path, with_clips: set[Any], folders: set[Any]) -> list[str]:
    """Names of the folders that hold clips. Raises TrainingError for a folder beside them without any."""
    if not with_clips:
        raise TrainingError(
            f"{source.name} holds no audio. It needs folders <genre>/<clip>, such as jazz/jazz.00001.wav."
        )
    for folder in sorted(with_clips):
        if inside := sorted(other for other in with_clips if folder in other.parents):
            raise TrainingError(
                f"In {source.name}, clips lie both in {folder.name or 'the top folder'} and in the folder "
                f"{inside[0].name} inside it. Keep each genre's clips in one folder of its own."
            )
    if with_clips <= {source, PurePosixPath(".")}:
        raise TrainingError(f"The clips of {source.name} lie in no genre folder. It needs folders <genre>/<clip>.")
    holding = with_clips | {parent for folder in with_clips for parent in folder.parents}
    beside = {folder for folder in folders if folder.parent in {clips.parent for clips in with_clips}}
    if empty := sorted(folder.name for folder in beside - holding if not folder.name.startswith((".", "__MACOSX"))):
        raise TrainingError(f"The genre folder {empty[0]} of {source.name} holds no audio. Fill it or remove it.")
    return sorted({folder.name for folder in with_clips})


def require_distinct(genres: Sequence[str]) -> None:
    """Raise TrainingError when two genres are spellings of one, such as `hip-hop` and `Hiphop`."""
    spelt: dict[str, str] = {}
    for genre in genres:
        other = spelt.setdefault(re.sub(r"[\W_]+", "", genre.casefold()) or genre, genre)
        if other != genre:
            raise TrainingError(f"{other!r} and {genre!r} look like one genre. Give its clips one spelling.")


def _example(genre: str, name: str, content: bytes) -> Example:
    return {"audio": {"bytes": content, "path": f"{genre}/{name}"}, "genre": genre}


def _cores() -> int:
    # macOS has no scheduler mask.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def features(genres: list[str]) -> datasets.Features:
    """The features of a data set of clips. Raises TrainingError when two genres are spellings of one."""
    require_distinct(genres)
    return datasets.Features({"audio": _AUDIO_BYTES, "genre": datasets.ClassLabel(names=genres)})
