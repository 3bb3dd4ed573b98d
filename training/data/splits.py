"""Splits clips into those that train a model, those that choose its epoch, and those that test it."""

import hashlib
import logging
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Literal, Protocol

import datasets

from training.data.clips import SYNTHETIC_MUSIC, Clips, clip_name
from training.data.sources import Example
from training.errors import TrainingError

logger = logging.getLogger(__name__)

SplitName = Literal["random", "artist"]
Part = Literal["train", "validation", "test"]
Members = dict[Part, list[bool]]
"""Membership of each clip in each part, in the order of the clips."""

HELD_OUT = 0.1
"""Fraction of the clips of each genre that a random split holds out."""

# Artists are assigned to ten parts: one tests, one chooses the epoch, eight train.
_PARTS = 10

_LISTS = Path(__file__).parent / "gtzan"

RANDOM_CAUTION = (
    "the best epoch was chosen on the test clips themselves, and clips of one artist, even of one recording, are on "
    "both sides. On GTZAN that lifts accuracy by ten points and more over artists that were never heard (Sturm, 2013)."
)
_NO_ARTISTS = (
    "the artists of this data are not known (no `artist` column, no files named `artist - title`), so that clips of "
    "one artist are probably on both sides, which lifts the figures"
)


class TrainingStream(Protocol):
    """Training clips that are read again in each epoch instead of stored."""

    def __len__(self) -> int:
        """Clips of an epoch."""

    def epoch(self, number: int) -> Iterator[tuple[str, Example]]:
        """Each clip once, with the hash of its file."""

    def sample(self, count: int) -> datasets.Dataset:
        """A few clips, in memory."""


@dataclass(frozen=True)
class Split:
    """The clips of `dataset` that train a model, choose its epoch, and test it.

    name: for reports. indices: into `dataset`, ascending, by part. chosen_on_test: the test clips are the validation
    clips. caution: how the split flatters the figures, None when it does not. stream: trains in place of clips of
    `dataset`, where they do not fit the disk.
    """

    name: str
    dataset: datasets.Dataset
    indices: Mapping[Part, list[int]]
    chosen_on_test: bool
    caution: str | None
    stream: TrainingStream | None = None

    @property
    def train(self) -> datasets.Dataset:
        """Clips that train the model; none where a stream does."""
        return self.dataset.select(self.indices["train"])

    @property
    def validation(self) -> datasets.Dataset:
        """Clips that choose the epoch."""
        return self.dataset.select(self.indices["validation"])

    @property
    def test(self) -> datasets.Dataset:
        """Clips that test the model."""
        return self.dataset.select(self.indices["test"])

    @property
    def sizes(self) -> dict[str, int]:
        """Clips by part."""
        counts: dict[str, int] = {part: len(indices) for part, indices in self.indices.items()}
        return counts if self.stream is None else counts | {"train": len(self.stream)}


def split(clips: Clips, name: SplitName, seed: int) -> Split:
    """Split as `--split` says. Raises TrainingError when the clips do not allow it, or one is on two sides."""
    if name == "random":
        return _random(clips, seed)
    if _is_gtzan(clips):
        return _fault_filtered(clips)
    if not _has_artists(clips):
        logger.warning("--split artist falls back to random: %s", _NO_ARTISTS)
        return replace(_random(clips, seed), caution=f"{_NO_ARTISTS}; {RANDOM_CAUTION}")
    parts = _assign_artists(clips, _PARTS, seed)
    members: Members = {
        "train": [part > 1 for part in parts],
        "validation": [part == 1 for part in parts],
        "test": [part == 0 for part in parts],
    }
    return _build_split(clips, "artist", members, caution=None)


def folds(clips: Clips, count: int, seed: int) -> list[Split]:
    """Each clip tests in one of `count` splits and chooses the epoch in another; artists stay together where they are
    known. Raises TrainingError when a genre has too few of them."""
    parts = _assign_artists(clips, count, seed)
    caution = None if _has_artists(clips) else _NO_ARTISTS
    splits = []
    for fold in range(count):
        chooses = (fold + 1) % count
        members: Members = {
            "train": [part not in (fold, chooses) for part in parts],
            "validation": [part == chooses for part in parts],
            "test": [part == fold for part in parts],
        }
        splits.append(_build_split(clips, f"fold {fold + 1} of {count}", members, caution=caution))
    return splits


def _random(clips: Clips, seed: int) -> Split:
    """Hold out 10 % of each genre's clips (at least one), drawn by `seed`.

    The draw ranks a hash of seed and clip name, so that it is the same on any machine and library version, for any
    file format and order of the clips; a clip that is missing moves at most one other.
    """
    by_genre: dict[int, list[tuple[bytes, int]]] = defaultdict(list)
    for index, (name, genre) in enumerate(zip(_names(clips.dataset), clips.dataset["genre"], strict=True)):
        by_genre[genre].append((_hash_key(seed, name), index))
    held_out: set[int] = set()
    for ranked in by_genre.values():
        count = max(1, round(HELD_OUT * len(ranked)))
        held_out.update(index for _, index in sorted(ranked)[:count])
    test = [index in held_out for index in range(len(clips.dataset))]
    members: Members = {"train": [not held for held in test], "validation": test, "test": test}
    return _build_split(clips, "random", members, caution=RANDOM_CAUTION, chosen_on_test=True)


def _fault_filtered(clips: Clips) -> Split:
    """GTZAN's fault-filtered lists (Kereliuk, Sturm and Larsen, 2015): 443, 197 and 290 clips."""
    names = _names(clips.dataset)
    lists: dict[Part, str] = {"train": "train", "validation": "valid", "test": "test"}
    members: Members = {part: [name in _listed(file) for name in names] for part, file in lists.items()}
    left_out = len(names) - sum(map(sum, members.values()))
    logger.info("%d clips left out by the fault-filtered lists", left_out)
    return _build_split(clips, "artist", members, caution=None)


def _build_split(
    clips: Clips, name: str, members: Members, *, caution: str | None, chosen_on_test: bool = False
) -> Split:
    _require_genres(clips, members)
    held_out = [tests or chooses for tests, chooses in zip(members["test"], members["validation"], strict=True)]
    _require_disjoint(clips, members["train"], held_out)
    indices = {part: [index for index, is_in in enumerate(member) if is_in] for part, member in members.items()}
    return Split(name, clips.dataset, indices, chosen_on_test, caution)


def _require_genres(clips: Clips, members: Members) -> None:
    for part, chosen in members.items():
        present = {genre for genre, is_chosen in zip(clips.dataset["genre"], chosen, strict=True) if is_chosen}
        if missing := [name for index, name in enumerate(clips.genres) if index not in present]:
            raise TrainingError(
                f"The genre {missing[0]} has no clip in the {part} part: it has too few clips or artists. Add some, "
                "or use --split random."
            )


def _require_disjoint(clips: Clips, train: list[bool], held_out: list[bool]) -> None:
    """Raise TrainingError when one file is on both sides: the test would ask what was learnt by heart."""
    names = _names(clips.dataset)
    # GTZAN repeats clips. The random split keeps them, as the published figures do, and its caution says so.
    known = _listed("excluded") if _is_gtzan(clips) else frozenset()
    seen = {digest: index for index, digest in enumerate(clips.digests) if train[index] and names[index] not in known}
    for index, digest in enumerate(clips.digests):
        if held_out[index] and digest in seen and names[index] not in known:
            raise TrainingError(
                f"{names[seen[digest]]} and {names[index]} are the same file, one to train on and one held out. "
                "Remove one of them."
            )


# --- artists ---


def _assign_artists(clips: Clips, parts: int, seed: int) -> list[int]:
    """The part of each clip. Whole artists are assigned, in a seeded order, each to the part with the fewest clips of
    its main genre. A clip without an artist counts as its own artist."""
    names, genres = _names(clips.dataset), clips.dataset["genre"][:]
    artists = _artists(clips) or names
    indices: dict[str, list[int]] = defaultdict(list)
    for index, artist in enumerate(artists):
        indices[artist].append(index)
    filled: dict[int, Counter[int]] = defaultdict(Counter)
    assigned = [0] * len(names)
    for artist in sorted(indices, key=lambda artist: _hash_key(seed, artist)):
        counts = filled[Counter(genres[index] for index in indices[artist]).most_common(1)[0][0]]
        part = min(range(parts), key=lambda part: (counts[part], part))
        for index in indices[artist]:
            assigned[index] = part
            filled[genres[index]][part] += 1
    return assigned


def _artists(clips: Clips) -> list[str] | None:
    """The artist of each clip, from GTZAN's index, a column, or the files' names; None when none of them tells."""
    names = _names(clips.dataset)
    if _is_gtzan(clips):
        index = _gtzan_artists()
        return [index.get(name) or name for name in names]
    if "artist" in clips.dataset.column_names:
        return [artist or name for artist, name in zip(clips.dataset["artist"], names, strict=True)]
    if clips.name != SYNTHETIC_MUSIC and all(" - " in name for name in names):
        return [name.split(" - ")[0].strip().casefold() for name in names]
    return None


def _has_artists(clips: Clips) -> bool:
    """Whether artists are known. Each clip of synthetic music is composed anew, as if by an artist of its own."""
    return clips.name == SYNTHETIC_MUSIC or _artists(clips) is not None


def _is_gtzan(clips: Clips) -> bool:
    """Whether nearly all names of the fault-filtered lists are there. Synthetic music bears the same names."""
    if clips.name == SYNTHETIC_MUSIC:
        return False
    listed = _listed("train") | _listed("valid") | _listed("test")
    return len(listed & set(_names(clips.dataset))) > 0.9 * len(listed)


def _listed(part: str) -> frozenset[str]:
    return frozenset((_LISTS / f"gtzan_{part}.txt").read_text(encoding="utf-8").split())


def _gtzan_artists() -> dict[str, str]:
    lines = (_LISTS / "gtzan_artists.txt").read_text(encoding="utf-8").splitlines()
    fields = [line.split(":::") for line in lines if not line.startswith("#")]
    return {PurePosixPath(name.strip()).stem: artist.strip() for name, artist, *_ in fields}


def _hash_key(seed: int, name: str) -> bytes:
    return hashlib.sha256(f"{seed}/{name}".encode()).digest()


def _names(dataset: datasets.Dataset) -> Sequence[str]:
    """The clips' names, without reading their bytes. A clip without a name is named by its index."""
    paths = dataset.flatten().select_columns("audio.path")["audio.path"]
    return [clip_name(path) if path else str(index) for index, path in enumerate(paths)]
