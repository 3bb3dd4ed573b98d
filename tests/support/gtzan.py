"""GTZAN's shape without its music: the archive as it lies on the Hub, with its known flaws, of synthetic music."""

import io
import tarfile
from functools import cache

from training.synthetic import render

SCRIPT = b"""import datasets

class GTZAN(datasets.GeneratorBasedBuilder):
    pass
"""
CORRUPT = "jazz.00054"


@cache
def clip(genre: str, seed: int, format: str = "wav", duration_s: float = 2.0) -> bytes:
    """One encoded clip of synthetic music."""
    return render.encode(render.render(genre, seed, duration_s), "wav" if format == "wav" else "flac")


@cache
def archive(clips_per_genre: int) -> bytes:
    """genres.tar.gz: genres/<genre>/<genre>.NNNNN.wav, macOS leftovers, and the corrupt jazz.00054."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        for genre in render.GENRES:
            _add_folder(tar, f"genres/{genre}")
            for seed in range(clips_per_genre):
                _add(tar, f"genres/{genre}/{genre}.{seed:05}.wav", clip(genre, seed))
            _add(tar, f"genres/{genre}/._{genre}.00000.wav", b"Mac OS X attributes")
        _add(tar, f"genres/jazz/{CORRUPT}.wav", b"RIFF corrupt")
        _add(tar, "genres/bextract_single.mf", b"a list that the original archive holds")
    return file.getvalue()


def files(clips_per_genre: int) -> dict[str, bytes]:
    """The repo marsyas/gtzan: a README, a loading script that `datasets` refuses, and the archive."""
    return {"README.md": b"# GTZAN\n", "gtzan.py": SCRIPT, "data/genres.tar.gz": archive(clips_per_genre)}


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


def _add_folder(tar: tarfile.TarFile, name: str) -> None:
    member = tarfile.TarInfo(name)
    member.type = tarfile.DIRTYPE
    tar.addfile(member)
