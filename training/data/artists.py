"""Artists of clips: who they are, and to which part of a split each is assigned."""

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import datasets

from training.data.clips import SYNTHETIC_MUSIC, Clips, clip_name
from training.data.sources.clip_source import audio_paths

_LISTS = Path(__file__).parent / "gtzan"


def assign_artists(clips: Clips, parts: int, seed: int) -> list[int]:
    """The part of each clip. Whole artists are assigned, in a seeded order, each to the part with the fewest clips of
    its main genre. A clip without an artist counts as its own artist."""
    names, genres = clip_names(clips.dataset), clips.dataset["genre"][:]
    artists = _artists(clips) or names
    indices: dict[str, list[int]] = defaultdict(list)
    for index, artist in enumerate(artists):
        indices[artist].append(index)
    filled: dict[int, Counter[int]] = defaultdict(Counter)
    assigned = [0] * len(names)
    for artist in sorted(indices, key=lambda artist: hash_key(seed, artist)):
        counts = filled[Counter(genres[index] for index in indices[artist]).most_common(1)[0][0]]
        part = min(range(parts), key=lambda part: (counts[part], part))
        for index in indices[artist]:
            assigned[index] = part
            filled[genres[index]][part] += 1
    return assigned


def _artists(clips: Clips) -> list[str] | None:
    """The artist of each clip, from GTZAN's index, a column, or the files' names; None when none of them tells."""
    names = clip_names(clips.dataset)
    if is_gtzan(clips):
        index = _gtzan_artists()
        return [index.get(name) or name for name in names]
    if "artist" in clips.dataset.column_names:
        return [artist or name for artist, name in zip(clips.dataset["artist"], names, strict=True)]
    titles = [PurePosixPath(name).name for name in names]
    if clips.name != SYNTHETIC_MUSIC and all(" - " in title for title in titles):
        first = [title.split(" - ")[0].strip().casefold() for title in titles]
        # Files of albums begin with the number of the track.
        are_tracks = [re.fullmatch(r"[\W\d_]*", text) is not None for text in first]
        if 2 * sum(are_tracks) < len(titles):
            return [name if is_track else text for name, text, is_track in zip(names, first, are_tracks, strict=True)]
    return None


def has_artists(clips: Clips) -> bool:
    """Whether artists are known. Each clip of synthetic music is composed anew, as if by an artist of its own."""
    return clips.name == SYNTHETIC_MUSIC or _artists(clips) is not None


def is_gtzan(clips: Clips) -> bool:
    """Whether nearly all names of the fault-filtered lists are there. Synthetic music bears the same names."""
    if clips.name == SYNTHETIC_MUSIC:
        return False
    expected = listed("train") | listed("valid") | listed("test")
    return len(expected & set(clip_names(clips.dataset))) > 0.9 * len(expected)


def listed(part: str) -> frozenset[str]:
    """Names of the clips in one of GTZAN's fault-filtered lists."""
    return frozenset((_LISTS / f"gtzan_{part}.txt").read_text(encoding="utf-8").split())


def _gtzan_artists() -> dict[str, str]:
    lines = (_LISTS / "gtzan_artists.txt").read_text(encoding="utf-8").splitlines()
    fields = [line.split(":::") for line in lines if not line.startswith("#")]
    return {PurePosixPath(name.strip()).stem: artist.strip() for name, artist, *_ in fields}


def hash_key(seed: int, name: str) -> bytes:
    """Sort key of a draw: the same on any machine and library version."""
    return hashlib.sha256(f"{seed}/{name}".encode()).digest()


def clip_names(dataset: datasets.Dataset) -> Sequence[str]:
    """The clips' names, without reading their bytes. Clips of one name are told apart by the folders they lie in, then
    by their index; a clip without a name is named by its index."""
    paths = audio_paths(dataset)
    names = [clip_name(path) if path else str(index) for index, path in enumerate(paths)]
    count = Counter(names)
    names = [
        str(PurePosixPath(path).with_suffix("")) if path and count[name] > 1 else name
        for path, name in zip(paths, names, strict=True)
    ]
    count = Counter(names)
    return [f"{name} {index}" if count[name] > 1 else name for index, name in enumerate(names)]
