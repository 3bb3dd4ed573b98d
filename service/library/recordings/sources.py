"""Lists the recordings of a source: a folder, a bucket, or a list of paths and URLs in a file."""

import codecs
import csv
import logging
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import TextIO

import pyarrow.fs
import pyarrow.parquet

from service.audio.formats import AUDIO_SUFFIXES
from service.library.recordings import paths
from service.library.recordings.problems import LibraryError, telling

logger = logging.getLogger(__name__)

_LISTS = (".txt", ".csv", ".parquet")
_COLUMNS = ("path", "file", "url", "filename")


@dataclass(frozen=True, slots=True)
class Listed:
    """A recording of a source. size, mtime_ns: None where the listing does not tell them."""

    path: str
    size: int | None = None
    mtime_ns: int | None = None


def list_recordings(source: str, path_column: str | None = None) -> Iterator[Listed]:
    """The recordings of a source, in no order, each as often as the source names it.

    source: a folder or a bucket, of which the files with a suffix of audio are taken, or a list. path_column: of a
    list in csv or parquet. Raises LibraryError for a source that is none.
    """
    if not paths.is_local(source):
        yield from _bucket(source)
        return
    path = Path(paths.local(source))
    if _is_folder(path):
        yield from _folder(path)
    elif path.suffix.lower() in _LISTS:
        for entry in _entries(path, path_column):
            yield _listed(entry)
    elif path.suffix.lower() in AUDIO_SUFFIXES:
        yield _listed(str(path))
    else:
        raise LibraryError(f"{source} is neither a recording nor a list. Lists are called .txt, .csv or .parquet.")


def _is_folder(path: Path) -> bool:
    """Whether this is a folder, which can be read, and no file. Raises LibraryError where it is neither."""
    with telling(f"{path} cannot be read", "Mend that, or name another SOURCE."):
        try:
            if not stat.S_ISDIR(path.stat().st_mode):
                return False
            # A folder below that cannot be read is left out, after a line.
            os.scandir(path).close()
        except (FileNotFoundError, NotADirectoryError):
            raise LibraryError(
                f"{path} is not there. Name a folder, a list (.txt, .csv, .parquet) or a bucket."
            ) from None
    return True


def _folder(folder: Path) -> Iterator[Listed]:
    """The recordings in a folder and the folders in it, links followed.

    Links come last, and all in the order of their names, so that a recording has the same path in each run.
    """
    visited: set[tuple[int, int]] = set()
    waiting = [str(folder)]
    while waiting:
        linked: list[str] = []
        for place, folders, files in chain.from_iterable(os.walk(top, onerror=_tell) for top in waiting):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            if _is_new(place, visited):
                linked += (link for name in folders if os.path.islink(link := os.path.join(place, name)))
                yield from (_listed(os.path.join(place, name)) for name in files if _is_audio(name))
            else:
                folders.clear()
        waiting = linked


def _is_new(place: str, visited: set[tuple[int, int]]) -> bool:
    """Whether the folder was not visited before; it is from now on."""
    try:
        status = os.stat(place)
    except OSError as error:
        _tell(error)
        return False
    before = len(visited)
    visited.add((status.st_dev, status.st_ino))
    return len(visited) > before


def _tell(error: OSError) -> None:
    logger.warning("%s is left out: %s.", error.filename, error.strerror)


def _is_audio(name: str) -> bool:
    return not name.startswith(".") and PurePosixPath(name).suffix.lower() in AUDIO_SUFFIXES


def _listed(path: str) -> Listed:
    """A path of this machine or a URL, with what can be told of it now."""
    if not paths.is_local(path):
        return Listed(paths.escaped(path))
    try:
        status = os.stat(paths.local(path))
    except (OSError, ValueError):
        # Reading it will tell why.
        return Listed(paths.portable(paths.local(path)))
    return Listed(paths.portable(paths.local(path)), status.st_size, status.st_mtime_ns)


def _bucket(url: str) -> Iterator[Listed]:
    try:
        system, path = paths.file_system(url)
        found = system.get_file_info(pyarrow.fs.FileSelector(path, recursive=True))
    except Exception as error:
        # Each kind of bucket has errors of its own.
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise LibraryError(f"{url} cannot be listed: {reason[:200]}") from error
    root = paths.root(url, path)
    for info in found:
        is_hidden = "/." in f"/{info.path.removeprefix(path).lstrip('/')}"
        if info.type == pyarrow.fs.FileType.File and not is_hidden and _is_audio(info.base_name):
            yield Listed(root + info.path, info.size, info.mtime_ns)


def _entries(path: Path, column: str | None) -> Iterator[str]:
    """The entries of a list. Raises LibraryError where it cannot be read, or has no such column."""
    try:
        match path.suffix.lower():
            case ".txt":
                yield from _lines(path)
            case ".csv":
                yield from _csv_column(path, column)
            case _:
                yield from _parquet_column(path, column)
    except (OSError, UnicodeDecodeError, csv.Error, pyarrow.ArrowException) as error:
        raise LibraryError(f"{path} cannot be read: {str(error).splitlines()[0][:200]}") from error


def _lines(path: Path) -> Iterator[str]:
    with _text(path, newline="\n") as lines:
        for line in lines:
            if entry := line.rstrip("\r\n"):
                yield entry


def _csv_column(path: Path, column: str | None) -> Iterator[str]:
    with _text(path, newline="") as file:
        rows = csv.DictReader(file)
        name = _column(path, list(rows.fieldnames or ()), column)
        yield from (row[name] for row in rows if row[name])


def _text(path: Path, newline: str) -> TextIO:
    """A list as text: in UTF-8, or in the UTF-16 of programs on Windows."""
    with path.open("rb") as file:
        is_utf16 = file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    # Names that are not in UTF-8 stay what they are.
    return path.open(encoding="utf-16" if is_utf16 else "utf-8-sig", errors="surrogateescape", newline=newline)


def _parquet_column(path: Path, column: str | None) -> Iterator[str]:
    with pyarrow.parquet.ParquetFile(path) as file:
        name = _column(path, file.schema_arrow.names, column)
        for batch in file.iter_batches(columns=[name]):
            yield from (str(entry) for entry in batch.column(0).to_pylist() if entry)


def _column(path: Path, names: list[str], wanted: str | None) -> str:
    for name in (wanted,) if wanted else _COLUMNS:
        if name in names:
            return name
    raise LibraryError(f"{path} has no column {wanted or _COLUMNS[0]!r}. Choose one with --path_column: {names}.")
