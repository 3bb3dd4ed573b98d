"""Tells genre and artist of clips from the folders they lie in: `<genre>/<clip>`, `<genre>/<artist>/<album>/<clip>`.

Above the genres there may be folders that hold everything, such as `Data/genres_original`, and parts of the data set,
such as `train`, `test` and `fold1`.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from service.audio.formats import AUDIO_SUFFIXES
from training.data.sources.clip_source import Member
from training.errors import TrainingError

Parts = tuple[str, ...]
"""The names in a path, outermost first."""

NEEDED = "It needs folders <genre>/<clip>, such as jazz/jazz.00001.wav."

# Words in the names of a data set's parts, and words that stand beside them.
_PARTS = frozenset(
    {"train", "training", "test", "testing", "valid", "validation", "val", "dev", "devel", "development", "eval"}
    | {"evaluation", "hold", "held", "holdout", "heldout", "unseen", "fold", "folds", "kfold", "cv", "split", "splits"}
    | {"part", "partition"}
)
_FILLERS = frozenset(
    {"the", "set", "sets", "data", "clean", "other", "full", "small", "audio", "clips", "wav", "mp3", "files", "and"}
    | {"of", "out", "k", "a", "b", "c", "d", "e", "i", "ii", "iii", "iv", "v"}
    | {"one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"}
)
_WORD = re.compile(r"[^\W\d_]+")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")


@dataclass(frozen=True)
class Tree:
    """The files of a folder, an archive or a repo.

    name: of the data set, for messages. clips: audio files. folders: those listed, some of them maybe empty.
    """

    name: str
    clips: Sequence[PurePosixPath]
    folders: frozenset[PurePosixPath] = field(default_factory=frozenset)


def is_clip(name: PurePosixPath) -> bool:
    """Whether a file is audio by its name, and no leftover of a system."""
    # macOS leaves a `._jazz.00001.wav` of attributes beside each file that it archives.
    hidden = name.name.startswith("._") or "__MACOSX" in name.parts
    return not hidden and name.suffix.lower() in AUDIO_SUFFIXES


def is_part_name(name: str) -> bool:
    """Whether a folder is named as a part of a data set: train, Test_set, validation-1, fold_a."""
    words = _words(name)
    return _names_part(name) and all(word in _PARTS or word in _FILLERS for word in words)


def label_by_folders(tree: Tree) -> list[tuple[Member, str]]:
    """Each clip with its genre and artist, and the part of the data set that it lies in (empty where there is none).

    Raises TrainingError when clips have no genre folder, or a folder beside the genres holds no audio.
    """
    if not tree.clips:
        raise TrainingError(f"{tree.name} holds no audio. {NEEDED}")
    paths = [clip.parent.parts for clip in tree.clips]
    genre_at = _genre_depths(tree.name, paths)
    artists = _artist_names(path[depth + 1 :] for path, depth in zip(paths, genre_at, strict=True))
    _require_filled(tree, paths, genre_at)
    labelled = []
    for clip, path, depth, artist in zip(tree.clips, paths, genre_at, artists, strict=True):
        part = next(filter(_names_part, path[:depth]), "")
        shown = "/".join([path[depth], *([part] if part else []), *path[depth + 1 :], clip.name])
        labelled.append((Member(str(clip), shown, path[depth], artist), part))
    return labelled


def _names_part(name: str) -> bool:
    return not _PARTS.isdisjoint(_words(name))


def _words(name: str) -> list[str]:
    words = _WORD.findall(_CAMEL.sub(" ", name).casefold())
    return [re.sub(r"(?<=.)(set|data|split)$", "", word) for word in words]


def _genre_depths(name: str, paths: Sequence[Parts]) -> list[int]:
    """Where in each path the genre stands: below folders that hold everything, and below parts of the data set."""
    starts = [0] * len(paths)
    while True:
        first = {path[start] for path, start in zip(paths, starts, strict=True) if start < len(path)}
        # `fma_train` and `fma_test` together are parts, and alone might be genres.
        are_parts = all(map(_names_part, first))
        moved = [
            start + (start < len(path) and (are_parts or is_part_name(path[start])))
            for path, start in zip(paths, starts, strict=True)
        ]
        if moved == starts:
            depths = [len(path) - start for path, start in zip(paths, starts, strict=True)]
            if min(depths) == 0 or (len(first) == 1 and min(depths) == 1 < max(depths)):
                _refuse(name, paths, starts)
            if len(first) > 1 or min(depths) == 1:
                return starts
            moved = [start + 1 for start in starts]
        starts = moved


def _refuse(name: str, paths: Sequence[Parts], starts: Sequence[int]) -> None:
    """Raise TrainingError: some clips have no genre folder."""
    placed = list(zip(paths, starts, strict=True))
    shallow = min(placed, key=lambda item: len(item[0]) - item[1])
    if parts := sorted({folder for path, start in placed for folder in filter(_names_part, path[:start])}):
        raise TrainingError(
            f"{name} has clips in {', '.join(parts[:8])} and in no genre folder: these are parts of a data set, not "
            f"genres. It needs folders <part>/<genre>/<clip>, such as {parts[0]}/jazz/jazz.00001.wav."
        )
    deeper = [path for path, _ in placed if len(path) > len(shallow[0]) and path[: len(shallow[0])] == shallow[0]]
    if deeper:
        raise TrainingError(
            f"In {name}, clips lie both in {shallow[0][-1] if shallow[0] else 'the top folder'} and in the folder "
            f"{deeper[0][len(shallow[0])]} inside it. Keep each genre's clips in one folder of its own."
        )
    raise TrainingError(f"The clips of {name} lie in no genre folder. {NEEDED}")


def _artist_names(below_genre: Iterable[Parts]) -> list[str | None]:
    """The artist of each clip from the folders below its genre; None where that level does not tell artists."""
    below = list(below_genre)
    first = {path[0] for path in below if path}
    # `jazz/wav/1.wav`, or `jazz/train/1.wav`, tells no artist.
    tells = len(first) > 1 and not all(map(is_part_name, first))
    return [path[0] if path and tells else None for path in below]


def _require_filled(tree: Tree, paths: Sequence[Parts], genre_at: Sequence[int]) -> None:
    """Raise TrainingError for a folder beside the genres that holds no audio: a genre whose clips are missing."""
    holding = {path[:depth] for path in set(paths) for depth in range(len(path) + 1)}
    genres = {path[depth] for path, depth in zip(paths, genre_at, strict=True)}
    above = {path[:depth] for path, depth in zip(paths, genre_at, strict=True)}
    empty = sorted(
        folder.name
        for folder in tree.folders
        if folder.parent.parts in above
        and folder.parts not in holding
        and folder.name not in genres
        and not folder.name.startswith((".", "__MACOSX"))
        and not is_part_name(folder.name)
    )
    if empty:
        raise TrainingError(f"The genre folder {empty[0]} of {tree.name} holds no audio. Fill it or remove it.")
