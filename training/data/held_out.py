"""The clips of a stream that are set aside for evaluation, told by their content.

One pass counts the clips, finds those that cannot be used, and stores the held-out ones in the output folder. The same
file is never on both sides, whatever it is called and in whatever order the clips come.
"""

import hashlib
import heapq
import json
import logging
import os
import shutil
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import datasets
from tqdm import tqdm

from training.data import sources
from training.data.clips import check, open_clip, require_known
from training.data.splits import HELD_OUT
from training.errors import TrainingError

logger = logging.getLogger(__name__)

MAX_HELD_OUT = 100
"""Of one genre: so many tell an accuracy to within a few points, and bound disk and time of the evaluation."""

_INDEX = "index.json"


@dataclass(frozen=True)
class HeldOutIndex:
    """What the pass over the stream found.

    genres: in the order of the model's outputs. trained: how many clips remain to train on. held_out: digest to genre.
    skipped: digest to "path: why" of each clip that cannot be used. longest_run_bytes: of encoded clips of one genre
    that came one after the other.
    """

    genres: list[str]
    trained: int
    held_out: dict[str, str]
    skipped: dict[str, str]
    longest_run_bytes: int


def build_index(
    clips: datasets.IterableDataset,
    folder: Path,
    seed: int,
    max_duration_s: float,
    known_genres: Sequence[str] | None = None,
) -> HeldOutIndex:
    """Hold out 10 % of each genre's clips, at least one and at most MAX_HELD_OUT, in `folder`, each named by its hash.

    A pass that came to its end is not repeated. known_genres: those that a fine-tuned base tells, in the order of its
    outputs. Raises TrainingError.
    """
    if not (folder / _INDEX).is_file():
        _scan(clips, folder, seed, max_duration_s, known_genres)
    return HeldOutIndex(**json.loads((folder / _INDEX).read_text(encoding="utf-8")))


def genre_names(clips: datasets.IterableDataset) -> list[str] | None:
    """The names of the genres, where the data set lists them; else they are text."""
    feature = clips.features["genre"]
    return list(feature.names) if isinstance(feature, datasets.ClassLabel) else None


def genre_of(clip: sources.Example, names: list[str] | None) -> str:
    """The name of a clip's genre. Raises TrainingError when it has none."""
    genre: Any = clip["genre"]
    if genre is None or genre == -1:
        raise TrainingError(f"The clip {clip['audio']['path']} has no genre (none or -1). Remove or label it.")
    return str(genre) if names is None else names[genre]


def _scan(
    clips: datasets.IterableDataset,
    folder: Path,
    seed: int,
    max_duration_s: float,
    known_genres: Sequence[str] | None,
) -> None:
    """Write the held-out clips and the index, which comes last, so that a pass that was cut short begins again."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    names = genre_names(clips)
    held: defaultdict[str, _LowestHashes] = defaultdict(lambda: _LowestHashes(folder, seed))
    counts: Counter[str] = Counter()
    copies: Counter[str] = Counter()
    skipped: dict[str, str] = {}
    last_genre, run_bytes, longest_run_bytes = "", 0, 0
    for clip in tqdm(clips, desc="Setting clips aside", unit="clip"):
        genre = genre_of(clip, names)
        run_bytes = len(clip["audio"]["bytes"]) + (run_bytes if genre == last_genre else 0)
        last_genre, longest_run_bytes = genre, max(run_bytes, longest_run_bytes)
        found = check(clip["audio"], max_duration_s)
        digest = found["digest"]
        if found["problem"]:
            logger.warning("Skipped %s", found["problem"])
            skipped[digest] = found["problem"]
            continue
        counts[genre] += 1
        if digest in copies:
            copies[digest] += 1
        elif held[genre].offer(digest, clip["audio"]):
            copies[digest] = 1
            for dropped in held[genre].shrink(MAX_HELD_OUT):
                del copies[dropped]
    genres = sorted(counts) if names is None else names
    _require_genres(genres, counts, known_genres)
    held_out: dict[str, str] = {}
    for genre in genres:
        held[genre].shrink(max(1, round(HELD_OUT * counts[genre])))
        of_genre = held[genre].digests()
        if sum(copies[digest] for digest in of_genre) >= counts[genre]:
            raise TrainingError(f"The clips of the genre {genre} are all the same file. It needs others.")
        held_out |= dict.fromkeys(of_genre, genre)
    trained = counts.total() - sum(copies[digest] for digest in held_out)
    aside = HeldOutIndex(list(known_genres or genres), trained, held_out, skipped, longest_run_bytes)
    unfinished = folder / f"{_INDEX}.part"
    unfinished.write_text(json.dumps(asdict(aside), indent=2), encoding="utf-8")
    os.replace(unfinished, folder / _INDEX)


def _require_genres(genres: Sequence[str], counts: Counter[str], known_genres: Sequence[str] | None) -> None:
    sources.require_distinct(genres)
    if known_genres is not None:
        require_known(genres, known_genres)
    if poor := [genre for genre in genres if counts[genre] < 2]:
        raise TrainingError(f"The genre {poor[0]} has {counts[poor[0]]} usable clips. It needs at least two.")
    if len(genres) < 2:
        raise TrainingError(f"The data set has {len(genres)} genres. It needs at least two.")


class _LowestHashes:
    """The clips of one genre whose hash of seed and content is lowest, as files: the same in whatever order they come.

    Kept as a heap, the highest hash first.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self._folder = folder
        self._seed = seed
        self._ranked: list[tuple[int, str]] = []

    def offer(self, digest: str, audio: sources.Example) -> bool:
        """Take the clip, unless there are enough that rank before it."""
        rank = -int(hashlib.sha256(f"{self._seed}/{digest}".encode()).hexdigest(), 16)
        if len(self._ranked) == MAX_HELD_OUT and rank < self._ranked[0][0]:
            return False
        heapq.heappush(self._ranked, (rank, digest))
        (self._folder / digest).write_bytes(open_clip(audio).getbuffer())
        return True

    def shrink(self, count: int) -> list[str]:
        """Drop clips until there are no more than `count`, and tell which."""
        dropped = [heapq.heappop(self._ranked)[1] for _ in range(len(self._ranked) - count)]
        for digest in dropped:
            (self._folder / digest).unlink()
        return dropped

    def digests(self) -> list[str]:
        return [digest for _, digest in sorted(self._ranked, reverse=True)]
