"""How clips are held out."""

import hashlib
from collections import defaultdict

import datasets

from training.data import clip_name

HELD_OUT = 0.1


def split_random(dataset: datasets.Dataset, seed: int) -> datasets.DatasetDict:
    """Hold out 10 % of each genre's clips (at least one), drawn by `seed`.

    The draw ranks a hash of seed and clip name, so that it is the same on any machine and library version, for any
    file format and order of the clips; a clip that is missing moves at most one other.
    """
    by_genre: dict[int, list[tuple[bytes, int]]] = defaultdict(list)
    for index, (audio, genre) in enumerate(zip(_paths(dataset), dataset["genre"], strict=True)):
        rank = hashlib.sha256(f"{seed}/{audio}".encode()).digest()
        by_genre[genre].append((rank, index))
    held_out: set[int] = set()
    for ranked in by_genre.values():
        count = max(1, round(HELD_OUT * len(ranked)))
        held_out.update(index for _, index in sorted(ranked)[:count])
    return datasets.DatasetDict(
        train=dataset.select([index for index in range(len(dataset)) if index not in held_out]),
        test=dataset.select(sorted(held_out)),
    )


def _paths(dataset: datasets.Dataset) -> list[str]:
    """The clips' names, without reading their bytes. A clip that has none is named by its place."""
    paths = dataset.flatten().select_columns("audio.path")["audio.path"]
    return [clip_name(path) if path else str(index) for index, path in enumerate(paths)]
