"""The clips, wherever they are, as one `datasets.Dataset` of encoded audio bytes and genres.

Columns: `audio` = {"bytes": the file, "path": "<genre>/<name>"}, `genre` = ClassLabel, `artist` where the data set
tells it. Decoding happens on the fly, with the front end that the service uses, so that nothing of the size of the
decoded clips is ever held.
"""

import hashlib
import io
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import datasets

from service.audio import AudioError, WindowSpec, read_recording
from training.arguments import DataArguments
from training.data import sources
from training.errors import TrainingError

logger = logging.getLogger(__name__)

WarningCounts = dict[str, dict[str, int]]
"""Genre to the code of a warning to the number of clips that have it."""

SYNTHETIC_MUSIC = "synthetic music"
"""The name of the data set that `--dataset synthetic` makes."""


@dataclass(frozen=True)
class Clips:
    """Loaded clips, and their origin.

    dataset: columns audio and genre, and artist where the data set tells it. digests: a hash of each clip's file.
    name: the data set, as a reader of the card would look for it. revision: its commit on the Hub, None elsewhere.
    skipped: "path: why" of each clip that cannot be used. warnings: clips of each genre that are hard to judge, counted
    by the code of `service.audio.AudioWarning`.
    """

    dataset: datasets.Dataset
    digests: tuple[str, ...]
    name: str
    revision: str | None
    skipped: tuple[str, ...]
    warnings: WarningCounts

    @property
    def genres(self) -> list[str]:
        """Names of the genres, in the order of the model's outputs."""
        names: list[str] = self.dataset.features["genre"].names
        return names


def load_clips(arguments: DataArguments, known_genres: Sequence[str] | None = None) -> Clips:
    """Load `--dataset`, leave out what cannot be used with one warning each.

    known_genres: those that a fine-tuned base tells, in the order of its outputs, which becomes that of the clips.

    Raises TrainingError when the data set cannot be had, a genre has fewer than two usable clips, or the genres are not
    the known ones.
    """
    dataset, revision = sources.load_dataset(arguments)
    if known_genres is not None:
        dataset = _aligned(dataset, list(known_genres))
    dataset, digests, skipped, warnings = _usable(dataset, arguments.max_duration_s)
    return Clips(dataset, digests, data_set_name(arguments), revision, skipped, warnings)


def data_set_name(arguments: DataArguments) -> str:
    """The data set's name for the model card: a Hub id, or the last part of a local path."""
    source = arguments.dataset
    if source == sources.SYNTHETIC:
        return SYNTHETIC_MUSIC
    return Path(source).resolve().name if Path(source).exists() else source


def clip_name(path: str) -> str:
    """`jazz.00012` of `jazz/jazz.00012.wav`: the same for every format that a data set is distributed in."""
    return PurePosixPath(path).stem


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


def require_usable(counts: Mapping[str, int]) -> None:
    """Raise TrainingError unless there are two genres with two usable clips each. counts: usable clips by genre."""
    if poor := [genre for genre, count in counts.items() if count < 2]:
        raise TrainingError(f"The genre {poor[0]} has {counts[poor[0]]} usable clips. It needs at least two.")
    if len(counts) < 2:
        found = f"has the genre {next(iter(counts))} alone" if counts else "has no genres"
        raise TrainingError(f"The data set {found}. It needs at least two genres.")


def _aligned(dataset: datasets.Dataset, known: list[str]) -> datasets.Dataset:
    """The data set with its genres numbered as the base numbers them. Rewrites only their column:
    `align_labels_with_mapping` would write every clip again."""
    names = dataset.features["genre"].names
    require_known(names, known)
    if names == known:
        return dataset
    genres = [None if label is None else known.index(names[label]) for label in dataset["genre"]]
    feature = datasets.ClassLabel(names=known)
    return dataset.remove_columns("genre").add_column("genre", genres, feature=feature)


def _usable(
    dataset: datasets.Dataset, max_duration_s: float
) -> tuple[datasets.Dataset, tuple[str, ...], tuple[str, ...], WarningCounts]:
    """The clips that can be used, the hash of each, the problems of the others, and the warnings by genre."""
    checked = dataset.map(
        check,
        input_columns=["audio", "problem"],
        fn_kwargs={"max_duration_s": max_duration_s},
        remove_columns=dataset.column_names,
        desc="Checking clips",
    )
    problems, digests = checked["problem"][:], checked["digest"][:]
    skipped = tuple(problem for problem in problems if problem)
    for problem in skipped:
        logger.warning("Skipped %s", problem)
    usable = [index for index, problem in enumerate(problems) if not problem]
    dataset = dataset.remove_columns("problem")
    if skipped:
        dataset = dataset.select(usable)
    names = dataset.features["genre"].names
    counts = dict.fromkeys(names, 0)
    for label in dataset["genre"]:
        counts[names[label]] += 1
    require_usable(counts)
    warnings: WarningCounts = {}
    codes = checked["warnings"][:]
    for index, label in zip(usable, dataset["genre"], strict=True):
        count_warnings(warnings, names[label], codes[index])
    return dataset, tuple(digests[index] for index in usable), skipped, warnings


def count_warnings(counts: WarningCounts, genre: str, codes: str) -> None:
    """Add the warnings about one clip, as `check` gives them."""
    for code in codes.split():
        of_genre = counts.setdefault(genre, {})
        of_genre[code] = of_genre.get(code, 0) + 1


def check(audio: sources.Example, problem: str, max_duration_s: float) -> sources.Example:
    """problem: why the clip cannot be used, empty when it can. digest: the hash of its file, empty without one.
    warnings: their codes, as words of one string.

    The given problem is what its source found.
    """
    if problem:
        return {"problem": problem, "digest": "", "warnings": ""}
    file = open_clip(audio)
    digest = hashlib.sha256(file.getbuffer()).hexdigest()
    try:
        recording = read_recording(file, WindowSpec(16_000, max_duration_s), max_windows=1)
    except AudioError as error:
        return {"problem": f"{audio['path']}: {error}", "digest": digest, "warnings": ""}
    codes = " ".join(warning.code for warning in recording.warnings)
    return {"problem": "", "digest": digest, "warnings": codes}


def open_clip(audio: sources.Example) -> io.BytesIO:
    """The encoded bytes of one `audio` cell, as a file."""
    return io.BytesIO(audio["bytes"] if audio["bytes"] is not None else Path(audio["path"]).read_bytes())
