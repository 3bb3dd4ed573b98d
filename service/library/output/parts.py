"""The written results: a folder of parquet parts, each whole or not there, and what they say is done."""

import fcntl
import json
import os
import re
import secrets
import sys
from collections.abc import Iterator, Set
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet

from service.library.recordings.problems import LibraryError, telling
from service.library.schema import SCHEMA

_META = b"music-genre-library"
# A CSV of earlier versions has no dash.
_UNFINISHED = ".unfinished"
_NUMBER = re.compile(r"part-([0-9]+)-")
_KNOWN = ["path", "size", "mtime", "sha256", "error_type"]


@dataclass(frozen=True)
class Provenance:
    """What all rows of an output have in common: the model, and what was asked of it."""

    model_revision: str
    max_windows: int
    embedding: bool


@dataclass(frozen=True, slots=True)
class Known:
    """What the output says of a recording that it has a row of."""

    size: int | None
    mtime_ns: int | None
    sha256: str | None
    error_type: str | None


class Parts:
    """The parts of one output. One process writes them: `locked` sees to that."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def files(self) -> list[Path]:
        """The finished parts."""
        return sorted(self.folder.glob("part-*.parquet"))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Make the folder, keep other runs out of it, and remove what a killed one was writing. Raises LibraryError."""
        with self._writing():
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = os.open(self.folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            self._take(lock)
            yield
        finally:
            os.close(lock)

    def _take(self, lock: int) -> None:
        with self._writing():
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise LibraryError(
                    f"Another run writes to {self.folder}. Wait for it, or choose another --out."
                ) from None
            for left in self.folder.glob(f"{_UNFINISHED}*"):
                left.unlink()

    def _writing(self) -> AbstractContextManager[None]:
        return telling(f"{self.folder} cannot be written", "Mend that, or choose another --out.")

    def check(self, provenance: Provenance, *, allow_mixture: bool = False) -> None:
        """Raises LibraryError where a part is of another program or, unless a mixture is allowed, of another model or
        other options."""
        for file in self.files:
            found = self._provenance(file)
            if found != (wanted := asdict(provenance)) and not allow_mixture:
                name = next(name for name in wanted if found.get(name) != wanted[name])
                raise LibraryError(
                    f"{self.folder} holds results with {name} {found.get(name)}, and this run has {wanted[name]}. "
                    "Choose another --out, or the same model and options; --allow_mixture writes both into one."
                )

    def known(self) -> dict[str, Known]:
        """What is done, by path."""
        known = {}
        for file in self.files:
            table = self._read(file, _KNOWN)
            # As numbers, as Python's times have no nanoseconds.
            table = table.set_column(2, "mtime", table.column("mtime").cast(pa.int64()))
            for path, size, mtime_ns, sha256, error_type in zip(*(c.to_pylist() for c in table.columns), strict=True):
                known[path] = Known(size, mtime_ns, sha256, error_type and sys.intern(error_type))
        return known

    def drop(self, paths: Set[str]) -> None:
        """Remove the rows of recordings that are to be done again, so that none ever has two."""
        if not paths:
            return
        for file in self.files:
            # Arrow would make a table of all that is dropped for each part.
            is_kept = [path not in paths for path in self._read(file, ["path"]).column("path").to_pylist()]
            if all(is_kept):
                continue
            kept = self._read(file).filter(pa.array(is_kept))
            if len(kept):
                self._write(kept, file)
            else:
                with self._writing():
                    file.unlink()

    def next_name(self) -> str:
        """A name for one more part."""
        # What somebody else put there may be called otherwise.
        numbers = [int(found[1]) for file in self.files if (found := _NUMBER.match(file.name))]
        return f"part-{max(numbers, default=-1) + 1:06d}-{secrets.token_hex(4)}.parquet"

    def add(self, table: pa.Table, provenance: Provenance, name: str | None = None) -> Path:
        """Write one more part, which is there as a whole from when this returns; the same name again overwrites it."""
        meta = {_META: json.dumps(asdict(provenance)).encode()}
        return self._write(table.replace_schema_metadata(meta), self.folder / (name or self.next_name()))

    def _write(self, table: pa.Table, file: Path) -> Path:
        with self.whole(file.name) as unfinished, unfinished.open("wb") as target:
            pyarrow.parquet.write_table(table, target, compression="zstd")
        return file

    @contextmanager
    def whole(self, name: str) -> Iterator[Path]:
        """Where the block writes a file, which gets its name as a whole when the block ends, and goes where it fails.

        Raises LibraryError.
        """
        unfinished = self.folder / f"{_UNFINISHED}-{name}"
        with self._writing():
            try:
                yield unfinished
                _sync(unfinished)
                unfinished.replace(self.folder / name)
            except BaseException:
                unfinished.unlink(missing_ok=True)
                raise
            _sync(self.folder)

    def _read(self, file: Path, columns: list[str] | None = None) -> pa.Table:
        try:
            return pyarrow.parquet.read_table(file, columns=columns, partitioning=None)
        except (OSError, pa.ArrowException, KeyError) as error:
            raise LibraryError(f"{file} cannot be read. Delete it: its recordings are classified anew.") from error

    def _provenance(self, file: Path) -> dict[str, Any]:
        try:
            metadata = pyarrow.parquet.read_schema(file).metadata or {}
            found: dict[str, Any] = json.loads(metadata[_META])
        except (OSError, pa.ArrowException, KeyError, ValueError) as error:
            raise LibraryError(f"{file} is no result of this program. Choose another --out.") from error
        return found

    def rows(self, columns: list[str] | None = None) -> Iterator[pa.Table]:
        """The rows, part by part."""
        for file in self.files:
            yield self._read(file, columns or SCHEMA.names)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
