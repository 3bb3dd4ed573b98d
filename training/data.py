"""The clips, wherever they are, as one `datasets.Dataset` of encoded audio bytes and genres.

Columns: `audio` = {"bytes": the file, "path": "<genre>/<name>"}, `genre` = ClassLabel. Decoding happens on the fly,
with the front end that the service uses, so that nothing of the size of the decoded clips is ever held.
"""

import hashlib
import io
import logging
import os
import re
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import datasets
from huggingface_hub import HfApi, hf_hub_download

from service.audio import AudioError, read_recording
from training import hub, styles, synthetic
from training.arguments import DataArguments
from training.errors import TrainingError

logger = logging.getLogger(__name__)

SYNTHETIC = "synthetic"
MADE_MUSIC = "made music"
"""The name of the data set that `--dataset synthetic` makes."""

_GTZAN_ARCHIVE = "data/genres.tar.gz"
_AUDIO_SUFFIXES = {".wav", ".au", ".mp3", ".flac", ".ogg", ".opus", ".m4a", ".aac", ".aif", ".aiff", ".wma", ".webm"}
_AUDIO_BYTES = {"bytes": datasets.Value("large_binary"), "path": datasets.Value("string")}
# Clips in one Arrow batch: few enough that whole songs stay far below Arrow's and the memory's limits.
_WRITER_BATCH = 64

Example = dict[str, Any]


@dataclass(frozen=True)
class Clips:
    """What was loaded, and from where.

    dataset: columns audio and genre, and artist where the data set tells it. digests: a hash of each clip's file.
    name: the data set, as a reader of the card would look for it. revision: its commit on the Hub, None elsewhere.
    skipped: "path: why" of each clip that cannot be used.
    """

    dataset: datasets.Dataset
    digests: tuple[str, ...]
    name: str
    revision: str | None
    skipped: tuple[str, ...]

    @property
    def genres(self) -> list[str]:
        names: list[str] = self.dataset.features["genre"].names
        return names


def load_clips(arguments: DataArguments, known_genres: Sequence[str] | None = None) -> Clips:
    """Load `--dataset`, leave out what cannot be decoded with one warning each.

    known_genres: those that a fine-tuned base tells, in the order of its outputs, which becomes that of the clips.

    Raises TrainingError when the data set cannot be had, a genre has fewer than two usable clips, or the genres are not
    the known ones.
    """
    source = arguments.dataset
    revision = None
    if source == SYNTHETIC:
        dataset = _from_synthetic(arguments.synthetic_clips_per_genre, arguments.synthetic_duration_s)
    elif Path(source).is_dir():
        dataset = _from_folder(Path(source))
    elif Path(source).is_file():
        dataset = _from_archive(Path(source))
    else:
        dataset, revision = _from_hub(source, arguments.dataset_revision)
    require_distinct(dataset.features["genre"].names)
    if known_genres is not None:
        dataset = _aligned(dataset, list(known_genres))
    dataset, digests, skipped = _usable(dataset, arguments.max_duration_s)
    name = PurePosixPath(source).name if Path(source).exists() else source
    return Clips(dataset, digests, MADE_MUSIC if source == SYNTHETIC else name, revision, skipped)


def clip_name(path: str) -> str:
    """`jazz.00012` of `jazz/jazz.00012.wav`: the same for every format that a data set is distributed in."""
    return PurePosixPath(path).stem


# --- where clips come from ---


def _from_synthetic(clips_per_genre: int, duration_s: float) -> datasets.Dataset:
    jobs = [f"{genre}/{seed}" for seed in range(clips_per_genre) for genre in synthetic.GENRES]
    source = b"".join(Path(str(module.__file__)).read_bytes() for module in (styles, synthetic))
    return _build(
        _synthetic_clips,
        {"jobs": jobs, "duration_s": duration_s},
        list(synthetic.GENRES),
        identity=[hashlib.sha256(source).hexdigest(), str(duration_s), *jobs],
        processes=len(os.sched_getaffinity(0)),
    )


def _synthetic_clips(jobs: list[str], duration_s: float) -> Iterator[Example]:
    for job in jobs:
        genre, seed = job.split("/")
        content = synthetic.encode(synthetic.render(genre, int(seed), duration_s))
        yield _example(genre, f"{genre}.{int(seed):05}.flac", content)


def _from_folder(root: Path) -> datasets.Dataset:
    files = sorted(path for path in root.rglob("*") if _is_clip(path.name) and path.is_file())
    folders = {path for path in root.rglob("*") if path.is_dir()}
    genres = _genres(root, {path.parent for path in files}, folders)
    identity = [f"{path.relative_to(root)} {path.stat().st_size} {path.stat().st_mtime_ns}" for path in files]
    return _build(_folder_clips, {"files": [str(path) for path in files]}, genres, identity)


def _folder_clips(files: list[str]) -> Iterator[Example]:
    for path in map(Path, files):
        yield _example(path.parent.name, path.name, path.read_bytes())


def _from_archive(path: Path) -> datasets.Dataset:
    """Two passes over the archive, neither of which unpacks it: first the names, then the clips."""
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
    return _build(_archive_clips, {"path": str(path)}, genres, identity)


def _archive_clips(path: str) -> Iterator[Example]:
    with tarfile.open(path) as archive:
        for member in archive:
            name = PurePosixPath(member.name)
            if member.isfile() and _is_clip(name.name) and (file := archive.extractfile(member)):
                yield _example(name.parent.name, name.name, file.read())


def _from_hub(dataset_id: str, revision: str) -> tuple[datasets.Dataset, str]:
    with hub.explained(dataset_id):
        info = hub.retrying(HfApi().dataset_info, dataset_id, revision=revision)
        commit = str(info.sha)
        if any(file.rfilename == _GTZAN_ARCHIVE for file in info.siblings or []):
            # marsyas/gtzan: `datasets` refuses its loading script, so the archive beside it is read directly.
            archive = hub.retrying(hf_hub_download, dataset_id, _GTZAN_ARCHIVE, repo_type="dataset", revision=commit)
            return _from_archive(Path(archive)), commit
        return _from_columns(dataset_id, hub.retrying(datasets.load_dataset, dataset_id, revision=commit)), commit


def _from_columns(name: str, splits: datasets.DatasetDict) -> datasets.Dataset:
    """A data set with an audio column and a genre column, its own splits joined: ours is drawn anew."""
    dataset = datasets.concatenate_datasets(list(splits.values()))
    audio = next((column for column, feature in dataset.features.items() if _is_audio(feature)), None)
    genre = next((column for column in ("genre", "label", "genres", "labels") if column in dataset.features), None)
    if audio is None or genre is None:
        raise TrainingError(
            f"{name} has the columns {', '.join(dataset.column_names)}. It needs one of audio, and `genre` or `label`."
        )
    # decode=False: datasets' own decoder needs torchcodec, and is not the one that serves.
    artist = ["artist"] if dataset.features.get("artist") == datasets.Value("string") else []
    dataset = dataset.select_columns([audio, genre, *artist]).cast_column(audio, datasets.Audio(decode=False))
    dataset = dataset.rename_columns({audio: "audio", genre: "genre"})
    # class_encode_column would make a genre named None of it.
    if unlabelled := sum(genre is None or genre == -1 for genre in dataset["genre"]):
        raise TrainingError(f"{unlabelled} clips of {name} have no genre (none or -1). Remove or label them.")
    if not isinstance(dataset.features["genre"], datasets.ClassLabel):
        dataset = dataset.class_encode_column("genre")
    return dataset


def _is_audio(feature: object) -> bool:
    return isinstance(feature, datasets.Audio) or (isinstance(feature, dict) and {"bytes", "path"} <= feature.keys())


def _is_clip(name: str) -> bool:
    """macOS leaves a `._jazz.00001.wav` of attributes beside each file that it archives."""
    return not name.startswith("._") and PurePosixPath(name).suffix.lower() in _AUDIO_SUFFIXES


def _genres(source: PurePosixPath | Path, with_clips: set[Any], folders: set[Any]) -> list[str]:
    """The genres: the names of the folders that hold clips. A folder beside them without any is a mistake."""
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
    """`hip-hop` and `Hiphop` are one genre, written twice by mistake. Raises TrainingError."""
    spelt: dict[str, str] = {}
    for genre in genres:
        other = spelt.setdefault(re.sub(r"[\W_]+", "", genre.casefold()) or genre, genre)
        if other != genre:
            raise TrainingError(f"{other!r} and {genre!r} look like one genre. Give its clips one spelling.")


def require_known(genres: Sequence[str], known: Sequence[str]) -> None:
    """Raises TrainingError, which names what differs, unless both are the same genres in whatever order."""
    if set(genres) == set(known):
        return
    unknown, missing = sorted(set(genres) - set(known)), sorted(set(known) - set(genres))
    differ = [f"it does not know {', '.join(unknown)}"] if unknown else []
    differ += [f"the data has no {', '.join(missing)}"] if missing else []
    raise TrainingError(
        f"The base model is fine-tuned for other genres: {'; '.join(differ)}. Rename the genres of the data, or let "
        "the base learn new ones with --new_head."
    )


def _aligned(dataset: datasets.Dataset, known: list[str]) -> datasets.Dataset:
    """The genres numbered as the base numbers them. Only their column is made anew: `align_labels_with_mapping` would
    write every clip again."""
    names = dataset.features["genre"].names
    require_known(names, known)
    if names == known:
        return dataset
    genres = [known.index(names[label]) for label in dataset["genre"]]
    feature = datasets.ClassLabel(names=known)
    return dataset.remove_columns("genre").add_column("genre", genres, feature=feature)


def _example(genre: str, name: str, content: bytes) -> Example:
    return {"audio": {"bytes": content, "path": f"{genre}/{name}"}, "genre": genre}


def _build(
    clips: Any, parameters: dict[str, Any], genres: list[str], identity: list[str], processes: int = 1
) -> datasets.Dataset:
    """Write the clips to an Arrow file of the datasets cache, once for the same `identity`."""
    features = datasets.Features({"audio": _AUDIO_BYTES, "genre": datasets.ClassLabel(names=genres)})
    fingerprint = hashlib.sha256("\n".join([clips.__name__, *genres, *identity]).encode()).hexdigest()[:32]
    return datasets.Dataset.from_generator(
        clips,
        features=features,
        gen_kwargs=parameters,
        num_proc=processes if processes > 1 else None,
        fingerprint=fingerprint,
        writer_batch_size=_WRITER_BATCH,
    )


# --- which of them can be used ---


def _usable(
    dataset: datasets.Dataset, max_duration_s: float
) -> tuple[datasets.Dataset, tuple[str, ...], tuple[str, ...]]:
    """The clips that can be decoded, the hash of each, and the problems of the others."""
    checked = dataset.map(
        _checked,
        input_columns=["audio"],
        fn_kwargs={"max_duration_s": max_duration_s},
        remove_columns=dataset.column_names,
        desc="Checking clips",
    )
    problems, digests = checked["problem"][:], checked["digest"][:]
    skipped = tuple(problem for problem in problems if problem)
    for problem in skipped:
        logger.warning("Skipped %s", problem)
    usable = [index for index, problem in enumerate(problems) if not problem]
    if skipped:
        dataset = dataset.select(usable)
    names = dataset.features["genre"].names
    counts = dict.fromkeys(names, 0)
    for label in dataset["genre"]:
        counts[names[label]] += 1
    if poor := [name for name, count in counts.items() if count < 2]:
        raise TrainingError(f"The genre {poor[0]} has {counts[poor[0]]} usable clips. It needs at least two.")
    if len(names) < 2:
        raise TrainingError(f"The data set has the genre {names[0]} alone. It needs at least two genres.")
    return dataset, tuple(digests[index] for index in usable), skipped


def _checked(audio: Example, max_duration_s: float) -> Example:
    file = open_clip(audio)
    digest = hashlib.sha256(file.getbuffer()).hexdigest()
    try:
        read_recording(file, sampling_rate=16_000, window_s=max_duration_s, max_windows=1)
    except AudioError as error:
        return {"problem": f"{audio['path']}: {error}", "digest": digest}
    return {"problem": "", "digest": digest}


def open_clip(audio: Example) -> io.BytesIO:
    """The encoded bytes of one `audio` cell, as a file."""
    return io.BytesIO(audio["bytes"] if audio["bytes"] is not None else Path(audio["path"]).read_bytes())
