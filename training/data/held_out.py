"""Chooses held-out clips of a stream by a hash of their content.

One scan counts the clips, finds those that cannot be used, and stores the held-out ones in the output folder. The same
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

import datasets
from tqdm import tqdm

from training.data import sources
from training.data.clips import WarningCounts, check, count_warnings, open_clip, require_known, require_usable
from training.data.splits import HELD_OUT
from training.errors import TrainingError

logger = logging.getLogger(__name__)

MAX_HELD_OUT = 100
"""Clips of one genre: enough to measure accuracy to a few points, few enough to bound disk and time."""

_INDEX = "index.json"


@dataclass(frozen=True)
class HeldOutIndex:
    """Result of a scan of the stream.

    identity: of what was scanned, and how. genres: in the order of the model's outputs. trained: how many clips of each
    genre remain to train on. held_out: digest to genre.
    skipped: "path: why" of each clip that cannot be used, by its digest, or by this text where it has none.
    warnings: by genre and code. longest_run_bytes: of encoded clips of one genre in a row.
    """

    identity: str
    genres: list[str]
    trained: dict[str, int]
    held_out: dict[str, str]
    skipped: dict[str, str]
    warnings: WarningCounts
    longest_run_bytes: int


def build_index(
    clips: datasets.IterableDataset,
    folder: Path,
    seed: int,
    max_duration_s: float,
    known_genres: Sequence[str] | None = None,
    identity: str = "",
) -> HeldOutIndex:
    """Hold out 10 % of each genre's clips, at least one and at most MAX_HELD_OUT, in `folder`, each named by its hash.

    A scan of the same clips that came to its end is not repeated. known_genres: those that a fine-tuned base tells, in
    the order of its outputs. identity: tells these clips from those of another data set or commit.
    Raises TrainingError.
    """
    identity = json.dumps([identity, seed, max_duration_s])
    index = _stored(folder)
    if index and index.identity == identity and index.genres == list(known_genres or sources.in_order(index.trained)):
        return index
    return _scan(clips, folder, seed, max_duration_s, known_genres, identity)


def _stored(folder: Path) -> HeldOutIndex | None:
    """The index of an earlier scan of this version, if there is one."""
    try:
        return HeldOutIndex(**json.loads((folder / _INDEX).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _scan(
    clips: datasets.IterableDataset,
    folder: Path,
    seed: int,
    max_duration_s: float,
    known_genres: Sequence[str] | None,
    identity: str,
) -> HeldOutIndex:
    """Write the held-out clips, then the index: a scan that was cut short begins again."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    scan = _Scan(folder, seed)
    for clip in tqdm(clips, desc="Setting clips aside", unit="clip"):
        scan.add(clip, max_duration_s)
    genres = sources.in_order(scan.counts)
    _require_genres(genres, scan.counts, known_genres)
    index = scan.index(identity, genres, list(known_genres or genres))
    unfinished = folder / f"{_INDEX}.part"
    unfinished.write_text(json.dumps(asdict(index), indent=2), encoding="utf-8")
    os.replace(unfinished, folder / _INDEX)
    return index


class _Scan:
    """The running figures of a scan: clips by genre, copies of the held-out files, and the longest run of a genre."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.counts: Counter[str] = Counter()
        self._held: defaultdict[str, _LowestHashes] = defaultdict(lambda: _LowestHashes(folder, seed))
        self._copies: Counter[str] = Counter()
        self._skipped: dict[str, str] = {}
        self._warnings: WarningCounts = {}
        self._last_genre = ""
        self._run_bytes = self._longest_run_bytes = 0

    def add(self, clip: sources.Example, max_duration_s: float) -> None:
        """Count a clip, and keep its file while its hash is among the lowest of its genre."""
        audio, genre = clip["audio"], clip["genre"]
        checked = check(audio, clip["problem"], max_duration_s)
        digest, problem = checked["digest"], checked["problem"]
        if genre is not None:
            # A genre whose clips are all unusable is an error, not a genre less.
            self.counts[genre] += 0 if problem else 1
        if problem:
            logger.warning("Skipped %s", problem)
            self._skipped[digest or problem] = problem
            return
        count_warnings(self._warnings, genre, checked["warnings"])
        self._note_run(genre, len(audio["bytes"]))
        if digest in self._copies:
            self._copies[digest] += 1
        elif self._held[genre].offer(digest, audio):
            self._copies[digest] = 1
            for dropped in self._held[genre].shrink(MAX_HELD_OUT):
                del self._copies[dropped]

    def index(self, identity: str, genres: Sequence[str], outputs: list[str]) -> HeldOutIndex:
        """The index after the last clip, with 10 % of each genre held out. outputs: the genres in the model's order."""
        held_out: dict[str, str] = {}
        trained: dict[str, int] = {}
        for genre in genres:
            self._held[genre].shrink(max(1, round(HELD_OUT * self.counts[genre])))
            digests = self._held[genre].digests()
            trained[genre] = self.counts[genre] - sum(self._copies[digest] for digest in digests)
            if trained[genre] <= 0:
                raise TrainingError(f"The clips of the genre {genre} are all the same file. It needs others.")
            held_out |= dict.fromkeys(digests, genre)
        return HeldOutIndex(
            identity, outputs, trained, held_out, self._skipped, self._warnings, self._longest_run_bytes
        )

    def _note_run(self, genre: str, size: int) -> None:
        self._run_bytes = size + (self._run_bytes if genre == self._last_genre else 0)
        self._last_genre = genre
        self._longest_run_bytes = max(self._run_bytes, self._longest_run_bytes)


def _require_genres(genres: Sequence[str], counts: Counter[str], known_genres: Sequence[str] | None) -> None:
    sources.require_distinct(genres)
    if known_genres is not None:
        require_known(genres, known_genres)
    require_usable({genre: counts[genre] for genre in genres})


class _LowestHashes:
    """The clips of one genre with the lowest hashes of seed and content, as files: the same for any order of clips.

    A heap, the highest hash first.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self._folder = folder
        self._seed = seed
        self._ranked: list[tuple[int, str]] = []

    def offer(self, digest: str, audio: sources.Example) -> bool:
        """Keep the clip unless there are enough with lower hashes; tell whether it was kept."""
        rank = -int(hashlib.sha256(f"{self._seed}/{digest}".encode()).hexdigest(), 16)
        if len(self._ranked) == MAX_HELD_OUT and rank < self._ranked[0][0]:
            return False
        heapq.heappush(self._ranked, (rank, digest))
        (self._folder / digest).write_bytes(open_clip(audio).getbuffer())
        return True

    def shrink(self, count: int) -> list[str]:
        """Drop clips until at most `count` are left; returns the dropped ones."""
        dropped = [heapq.heappop(self._ranked)[1] for _ in range(len(self._ranked) - count)]
        for digest in dropped:
            (self._folder / digest).unlink()
        return dropped

    def digests(self) -> list[str]:
        """The kept clips, the lowest hash first."""
        return [digest for _, digest in sorted(self._ranked, reverse=True)]
