"""Trains on clips that do not fit the disk: all that were not held out are read anew in each epoch."""

import hashlib
import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path

import datasets
import numpy as np
from torch.utils.data import IterableDataset, get_worker_info

from service.audio import AudioError
from training.arguments import DataArguments
from training.data import sources
from training.data.clips import Clips, data_set_name, open_clip
from training.data.held_out import HeldOutIndex, build_index
from training.data.inputs import EpochSeeded, Inputs, TrainingWindows
from training.data.splits import RANDOM_CAUTION, Part, Split, TrainingStream

logger = logging.getLogger(__name__)

SHUFFLED_BYTES = 128 * 2**20
"""Size of the shuffle buffer in bytes of encoded audio, per reader process."""


class Stream:
    """The clips of a stream that were not held out, in another order in each epoch.

    Shards (the files of a folder, those of a data set on the Hub) come in a random order, and clips are drawn from a
    buffer of so many bytes. An archive is one shard.
    """

    def __init__(self, clips: datasets.IterableDataset, index: HeldOutIndex, seed: int, shuffled_bytes: int) -> None:
        # The buffer of datasets counts clips, whatever their size.
        self._clips = clips.shuffle(seed=seed, buffer_size=1)
        self._index = index
        self._seed = seed
        self._shuffled_bytes = shuffled_bytes

    def __len__(self) -> int:
        return sum(self._index.trained.values())

    @property
    def counts(self) -> list[int]:
        """Clips of each genre in an epoch, in the order of the model's outputs."""
        return [self._index.trained.get(genre, 0) for genre in self._index.genres]

    def epoch(self, number: int) -> Iterator[tuple[str, sources.Example]]:
        """Each clip once with the hash of its file; a DataLoader worker reads its share. genre: index of the genre."""
        self._clips.set_epoch(number)
        worker = get_worker_info()
        rng = np.random.default_rng([self._seed, number, worker.id if worker else 0])
        return mixed(self._trained(), rng, self._shuffled_bytes)

    def sample(self, count: int, folder: Path) -> datasets.Dataset:
        """The first clips of the first epoch, whose files are written into a folder."""
        rows = []
        for digest, clip in islice(self.epoch(0), count):
            file = folder / digest
            file.write_bytes(open_clip(clip["audio"]).getbuffer())
            rows.append({"audio": {"bytes": None, "path": str(file)}, "genre": clip["genre"]})
        return datasets.Dataset.from_list(rows, features=sources.features(self._index.genres))

    def _trained(self) -> Iterator[tuple[str, sources.Example]]:
        left_out = self._index.held_out.keys() | self._index.skipped.keys()
        for clip in self._clips:
            if clip["problem"]:
                continue
            digest = hashlib.sha256(open_clip(clip["audio"]).getbuffer()).hexdigest()
            if digest not in left_out:
                yield digest, {"audio": clip["audio"], "genre": self._index.genres.index(clip["genre"])}


class StreamedWindows(EpochSeeded, IterableDataset[Inputs]):
    """Training windows of a stream, one of each clip.

    With several processes, accelerate reads in the first one and distributes the windows to the others.
    """

    def __init__(self, stream: TrainingStream, windows: TrainingWindows) -> None:
        super().__init__()
        self._stream = stream
        self._windows = windows

    def set_epoch(self, epoch: int) -> None:
        """Give the windows of that epoch, from 0."""
        super().set_epoch(epoch)
        self._windows.set_epoch(epoch)

    def __len__(self) -> int:
        return len(self._stream)

    def __iter__(self) -> Iterator[Inputs]:
        for digest, clip in self._stream.epoch(self.epoch):
            try:
                yield self._windows.cut(clip, int(digest, 16))
            except AudioError as error:
                logger.warning("Skipped %s: %s", clip["audio"]["path"], error)


def stream_clips(
    arguments: DataArguments,
    folder: Path,
    seed: int,
    known_genres: Sequence[str] | None = None,
    shuffled_bytes: int = SHUFFLED_BYTES,
) -> tuple[Clips, Split]:
    """The held-out clips of `--dataset`, and the split that trains on the stream of all others.

    folder: where the held-out clips are. known_genres: those that a fine-tuned base tells, in the order of its outputs.
    Raises TrainingError.
    """
    clips, revision = sources.stream_dataset(arguments)
    identity = json.dumps(asdict(arguments) | {"dataset_revision": revision or arguments.dataset_revision})
    index = build_index(clips, folder, seed, arguments.max_duration_s, known_genres, identity)
    if clips.num_shards == 1 and index.longest_run_bytes > shuffled_bytes / 2:
        logger.warning(
            "The clips come sorted by genre, and the buffer of %d MB hardly mixes them: training suffers. Unpack the "
            "archive into a folder, or mix it.",
            shuffled_bytes / 2**20,
        )
    held_out = datasets.Dataset.from_dict(
        {
            "audio": [{"bytes": None, "path": str(folder / digest)} for digest in index.held_out],
            "genre": [index.genres.index(genre) for genre in index.held_out.values()],
        },
        features=sources.features(index.genres),
    )
    skipped = tuple(index.skipped.values())
    found = Clips(held_out, tuple(index.held_out), data_set_name(arguments), revision, skipped, index.warnings)
    everything = list(range(len(held_out)))
    indices: dict[Part, list[int]] = {"train": [], "validation": everything, "test": everything}
    stream = Stream(clips, index, seed, shuffled_bytes)
    return found, Split("random", held_out, indices, chosen_on_test=True, caution=RANDOM_CAUTION, stream=stream)


def mixed(
    clips: Iterable[tuple[str, sources.Example]], rng: np.random.Generator, capacity_bytes: int
) -> Iterator[tuple[str, sources.Example]]:
    """The clips in another order, drawn from a buffer of so many bytes."""
    buffer: list[tuple[str, sources.Example]] = []
    held_bytes = 0
    for clip in clips:
        buffer.append(clip)
        held_bytes += len(clip[1]["audio"]["bytes"])
        while held_bytes > capacity_bytes and len(buffer) > 1:
            drawn = _drawn(buffer, rng)
            held_bytes -= len(drawn[1]["audio"]["bytes"])
            yield drawn
    while buffer:
        yield _drawn(buffer, rng)


def _drawn(buffer: list[tuple[str, sources.Example]], rng: np.random.Generator) -> tuple[str, sources.Example]:
    index = rng.integers(len(buffer))
    buffer[index], buffer[-1] = buffer[-1], buffer[index]
    return buffer.pop()
