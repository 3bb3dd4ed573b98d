"""Clips that a generator reads one by one, and the columns that all sources of clips have.

Columns: `audio` = {"bytes": the file, "path": "<genre>/<name>"}, `genre` = ClassLabel, or text where clips are
streamed; `artist` where the data set tells it; `problem` = "<clip>: why it cannot be used", empty where it can.
"""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, Self

import datasets

from training.data.sources.genres import in_order, require_distinct

Example = dict[str, Any]

AUDIO_BYTES = {"bytes": datasets.Value("large_binary"), "path": datasets.Value("string")}
STREAMED_FEATURES = datasets.Features(
    {
        "audio": AUDIO_BYTES,
        "genre": datasets.Value("string"),
        "artist": datasets.Value("string"),
        "problem": datasets.Value("string"),
    }
)

WRITER_BATCH = 64
"""Number of clips in one Arrow batch: few enough that whole songs stay far below Arrow's and the memory's limits."""

MAX_CLIP_BYTES = 512 * 2**20
"""Maximum size of an encoded clip: half an hour of stereo as it lies on a studio's disk. Larger ones are left out
unread."""


class FileReader(Protocol):
    """Reads the files that rows name."""

    def __call__(self, name: str) -> bytes | None:
        """The content of a file; None where the data set has no such file."""

    def state(self, name: str) -> str:
        """What changes when the file does."""


class Member(NamedTuple):
    """A clip that a source lists before reading it.

    place: where the source finds it. path: its name for reports, `<genre>/<name>`. genre: None when none is known.
    problem: why it cannot be used, which is known without reading it.
    """

    place: str
    path: str
    genre: str | None
    artist: str | None = None
    problem: str = ""

    def in_utf8(self) -> Self:
        """The clip as a table can name it; its place stays what the system calls it. A byte of a name that is not in
        UTF-8, as of old disks, becomes a replacement character."""
        return self._replace(
            path=_in_utf8(self.path),
            genre=self.genre and _in_utf8(self.genre),
            artist=self.artist and _in_utf8(self.artist),
            problem=_in_utf8(self.problem),
        )

    def example(self, content: bytes | None, problem: str = "") -> Example:
        """The row of this clip. problem: what was wrong when it was read."""
        why = self.problem or problem
        return {
            "audio": {"bytes": content, "path": self.path},
            "genre": self.genre,
            "artist": self.artist,
            "problem": f"{self.path}: {why}" if why else "",
        }


@dataclass(frozen=True)
class ClipSource:
    """Clips that a generator makes when they are stored or streamed.

    generator: called with `parameters`; yields examples. A list among the parameters is shared out by its elements.
    identity: tells these clips from all others. has_artists: whether any clip has an artist. is_cpu_bound: whether
    several processes make the clips faster, as for music that is composed.
    """

    generator: Callable[..., Iterator[Example]]
    parameters: dict[str, Any]
    genres: Sequence[str]
    identity: Sequence[str]
    has_artists: bool = False
    is_cpu_bound: bool = False

    def store(self) -> datasets.Dataset:
        """Write the clips to an Arrow file of the datasets cache, once for the same identity."""
        processes = _cores() if self.is_cpu_bound else 1
        columns = datasets.Features({**STREAMED_FEATURES, "genre": features(in_order(self.genres))["genre"]})
        identity = "\n".join([self.generator.__name__, str(columns), *self.identity])
        stored = datasets.Dataset.from_generator(
            self.generator,
            features=columns,
            gen_kwargs=self.parameters,
            num_proc=processes if processes > 1 else None,
            fingerprint=hashlib.sha256(identity.encode(errors="surrogateescape")).hexdigest()[:32],
            writer_batch_size=WRITER_BATCH,
        )
        return stored if self.has_artists else stored.remove_columns("artist")

    def stream(self) -> datasets.IterableDataset:
        """The clips one after the other, none of them stored."""
        require_distinct(self.genres)
        return datasets.IterableDataset.from_generator(
            self.generator, features=STREAMED_FEATURES, gen_kwargs=self.parameters
        )


def _in_utf8(text: str) -> str:
    return text.encode(errors="surrogateescape").decode(errors="replace")


def members_source(
    generator: Callable[..., Iterator[Example]], parameters: dict[str, Any], members: Iterable[Member], *identity: str
) -> ClipSource:
    """The source of clips that were listed. identity: tells the content of these files from that of others."""
    listed = list(members)
    return ClipSource(
        generator,
        parameters,
        in_order({member.genre for member in listed if member.genre is not None}),
        [*identity, *map(str, listed)],
        has_artists=any(member.artist for member in listed),
    )


def audio_paths(dataset: datasets.Dataset) -> list[str | None]:
    """The path of each clip, without reading its bytes."""
    # Joined tables keep a list of their columns, in which one that is flattened out of another is missing.
    paths: list[str | None] = dataset.with_format(None).flatten().select_columns("audio.path")["audio.path"][:]
    return paths


def features(genres: list[str]) -> datasets.Features:
    """The features of a data set of clips. Raises TrainingError when two genres are spellings of one."""
    require_distinct(genres)
    return datasets.Features({"audio": AUDIO_BYTES, "genre": datasets.ClassLabel(names=genres)})


def _cores() -> int:
    # macOS has no scheduler mask.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
