"""Splits clips into those that train a model, those that choose its epoch, and those that test it."""

import logging
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Protocol

import datasets

from training.data.artists import assign_artists, clip_names, has_artists, hash_key, is_gtzan, listed
from training.data.clips import Clips
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

    @property
    def counts(self) -> list[int]:
        """Clips of each genre in an epoch, in the order of the model's outputs."""

    def epoch(self, number: int) -> Iterator[tuple[str, Example]]:
        """Each clip once, with the hash of its file."""

    def sample(self, count: int, folder: Path) -> datasets.Dataset:
        """A few clips, whose files are written into a folder."""


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
    if is_gtzan(clips):
        return _fault_filtered(clips)
    if not has_artists(clips):
        logger.warning("--split artist falls back to random: %s", _NO_ARTISTS)
        return replace(_random(clips, seed), caution=f"{_NO_ARTISTS}; {RANDOM_CAUTION}")
    parts = assign_artists(clips, _PARTS, seed)
    members: Members = {
        "train": [part > 1 for part in parts],
        "validation": [part == 1 for part in parts],
        "test": [part == 0 for part in parts],
    }
    return _build_split(clips, "artist", members, caution=None)


def split_folds(clips: Clips, count: int, seed: int) -> list[Split]:
    """Each clip tests in one of `count` splits and chooses the epoch in another; artists stay together where they are
    known. Raises TrainingError when a genre has too few of them."""
    parts = assign_artists(clips, count, seed)
    caution = None if has_artists(clips) else _NO_ARTISTS
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
    for index, (name, genre) in enumerate(zip(clip_names(clips.dataset), clips.dataset["genre"], strict=True)):
        by_genre[genre].append((hash_key(seed, name), index))
    held_out: set[int] = set()
    for ranked in by_genre.values():
        count = max(1, round(HELD_OUT * len(ranked)))
        held_out.update(index for _, index in sorted(ranked)[:count])
    test = [index in held_out for index in range(len(clips.dataset))]
    members: Members = {"train": [not held for held in test], "validation": test, "test": test}
    return _build_split(clips, "random", members, caution=RANDOM_CAUTION, chosen_on_test=True)


def _fault_filtered(clips: Clips) -> Split:
    """GTZAN's fault-filtered lists (Kereliuk, Sturm and Larsen, 2015): 443, 197 and 290 clips."""
    names = clip_names(clips.dataset)
    lists: dict[Part, str] = {"train": "train", "validation": "valid", "test": "test"}
    members: Members = {part: [name in listed(file) for name in names] for part, file in lists.items()}
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
    names = clip_names(clips.dataset)
    # GTZAN repeats clips. The random split keeps them, as the published figures do, and its caution says so.
    known = listed("excluded") if is_gtzan(clips) else frozenset()
    seen = {digest: index for index, digest in enumerate(clips.digests) if train[index] and names[index] not in known}
    for index, digest in enumerate(clips.digests):
        if held_out[index] and digest in seen and names[index] not in known:
            raise TrainingError(
                f"{names[seen[digest]]} and {names[index]} are the same file, one to train on and one held out. "
                "Remove one of them."
            )
