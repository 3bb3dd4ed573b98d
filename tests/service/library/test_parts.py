"""The written parts, and the plan that follows from them."""

import errno
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest

from service.library.output.parts import Known, Parts, Provenance
from service.library.output.summary import write_csv
from service.library.planning import plan
from service.library.recordings.problems import LibraryError
from service.library.recordings.sources import Listed
from service.library.schema import SCHEMA, to_table
from service.library.signals import Ended

PROVENANCE = Provenance("c" * 40, 3, False)


def row(path: str, **values: Any) -> dict[str, Any]:
    return {"path": path, "size": 1, "mtime": 1_700_000_000_123_456_789, "sha256": "00", "seconds": 0.1} | values


def paths(parts: Parts) -> list[str]:
    return sorted(path for table in parts.rows(["path"]) for path in table.column("path").to_pylist())


def test_every_part_has_the_same_schema_whatever_is_null_in_it(tmp_path: Path) -> None:
    parts = Parts(tmp_path)
    with parts.locked():
        parts.add(to_table([row("a", genre="rock", scores=[{"label": "rock", "score": 0.5}])]), PROVENANCE)
        parts.add(to_table([row("b", error_type="unreadable")]), PROVENANCE)
    assert all(pyarrow.parquet.read_schema(file).equals(SCHEMA) for file in parts.files)
    # As a folder, as everybody reads it, in spite of the lock.
    assert len(pyarrow.parquet.read_table(tmp_path)) == 2


def test_modification_times_are_kept_to_the_nanosecond(tmp_path: Path) -> None:
    parts = Parts(tmp_path)
    with parts.locked():
        parts.add(to_table([row("a"), row("b", size=None, mtime=None, error_type="not-found")]), PROVENANCE)
    assert parts.known() == {
        "a": Known(1, 1_700_000_000_123_456_789, "00", None),
        "b": Known(None, None, "00", "not-found"),
    }


def test_dropped_rows_leave_the_others_and_empty_parts_go(tmp_path: Path) -> None:
    parts = Parts(tmp_path)
    with parts.locked():
        parts.add(to_table([row("a"), row("b")]), PROVENANCE)
        parts.add(to_table([row("c")]), PROVENANCE)
        parts.drop({"b", "c", "never"})
        assert paths(parts) == ["a"]
        assert len(parts.files) == 1
        parts.check(PROVENANCE)
        parts.add(to_table([row("d")]), PROVENANCE)
    assert paths(parts) == ["a", "d"]


def test_many_rows_are_dropped_from_many_parts_at_once(tmp_path: Path) -> None:
    """As after a change of all files: Arrow's `is_in` took half a second a part for so many."""
    parts = Parts(tmp_path)
    with parts.locked():
        for index in range(30):
            parts.add(to_table([row(f"{index}"), row("kept")]), PROVENANCE)
        gone = {str(index) for index in range(500_000)}
        started = time.process_time()
        parts.drop(gone)
        assert time.process_time() - started < 3
    assert paths(parts) == ["kept"] * 30


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (Provenance("d" * 40, 3, False), f"model_revision {'c' * 40}, and this run has {'d' * 40}"),
        (Provenance("c" * 40, 5, False), "max_windows 3, and this run has 5"),
        (Provenance("c" * 40, 3, True), "embedding False, and this run has True"),
    ],
)
def test_a_mixture_is_refused(tmp_path: Path, other: Provenance, message: str) -> None:
    parts = Parts(tmp_path)
    with parts.locked():
        parts.add(to_table([row("a")]), PROVENANCE)
        parts.check(PROVENANCE)
        with pytest.raises(LibraryError, match=message):
            parts.check(other)
        parts.check(other, allow_mixture=True)


def test_two_runs_never_write_to_one_output(tmp_path: Path) -> None:
    with (
        Parts(tmp_path).locked(),
        pytest.raises(LibraryError, match="Another run writes"),
        Parts(tmp_path).locked(),
    ):
        pass


def test_foreign_and_damaged_parts_are_named(tmp_path: Path) -> None:
    pyarrow.parquet.write_table(pa.table({"path": ["a"]}), tmp_path / "part-000000-foreign.parquet")
    for allow_mixture in (False, True):
        with pytest.raises(LibraryError, match="no result of this program"):
            Parts(tmp_path).check(PROVENANCE, allow_mixture=allow_mixture)
    (tmp_path / "part-000000-foreign.parquet").write_bytes(b"PAR1")
    with pytest.raises(LibraryError, match="Delete it"):
        Parts(tmp_path).known()


def test_a_part_that_somebody_named_takes_no_number(tmp_path: Path) -> None:
    parts = Parts(tmp_path)
    with parts.locked():
        parts.add(to_table([row("a")]), PROVENANCE, "part-all.parquet")
        parts.add(to_table([row("b")]), PROVENANCE, "part-000007-rest.parquet")
        assert parts.add(to_table([row("c")]), PROVENANCE).name.startswith("part-000008-")
    assert paths(parts) == ["a", "b", "c"]


def test_an_output_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LibraryError, match="cannot be written"), Parts(tmp_path / "file" / "out").locked():
        pass


def _refuse(number: int) -> Callable[..., None]:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    return refuse


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EIO])
def test_a_disk_that_fails_is_told_and_leaves_no_half_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    parts = Parts(tmp_path)
    with parts.locked():
        parts.add(to_table([row("a")]), PROVENANCE)
        with monkeypatch.context() as broken:
            broken.setattr(os, "fsync", _refuse(number))
            with pytest.raises(LibraryError, match=f"cannot be written: {os.strerror(number)}. Mend that"):
                parts.add(to_table([row("b")]), PROVENANCE)
            with pytest.raises(LibraryError, match=os.strerror(number)):
                write_csv(parts)
        with monkeypatch.context() as broken:
            broken.setattr(Path, "unlink", _refuse(number))
            with pytest.raises(LibraryError, match=os.strerror(number)):
                parts.drop({"a"})
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", parts.files[0].name]


def test_a_disk_without_locks_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fcntl, "flock", _refuse(errno.ENOLCK))
    with pytest.raises(LibraryError, match="No locks available"), Parts(tmp_path).locked():
        pass


def test_what_goes_wrong_behind_the_lock_is_not_taken_for_another_run(tmp_path: Path) -> None:
    with pytest.raises(BlockingIOError), Parts(tmp_path).locked():
        raise BlockingIOError


def test_what_a_killed_run_was_writing_goes(tmp_path: Path) -> None:
    for name in (".unfinished.csv", ".unfinished-_results.csv", ".unfinished-part-000000-00000000.parquet"):
        (tmp_path / name).touch()
    with Parts(tmp_path).locked():
        assert [path.name for path in tmp_path.iterdir()] == [".lock"]


WRITE_FOR_EVER = """
import sys
from pathlib import Path
from service.library.output.parts import Parts, Provenance
from service.library.schema import to_table
parts = Parts(Path(sys.argv[1]))
with parts.locked():
    rows = to_table({"path": str(index)} for index in range(20_000))
    while True:
        parts.add(rows, Provenance("c" * 40, 3, False))
        print("x", flush=True)
"""


def test_a_writer_that_is_killed_leaves_whole_parts_and_no_half_one(tmp_path: Path) -> None:
    for delay_s in (0.0, 0.005, 0.02):
        with subprocess.Popen([sys.executable, "-c", WRITE_FOR_EVER, tmp_path], stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            assert writer.stdout.read(2)
            time.sleep(delay_s)
            writer.send_signal(signal.SIGKILL)
    parts = Parts(tmp_path)
    with parts.locked():
        assert list(tmp_path.glob(".unfinished-*")) == []
        assert all(len(table) == 20_000 for table in parts.rows(["path"]))
        assert len(parts.files) >= 3


class _Interrupted(Parts):
    """A signal arrives when the first part is whole."""

    ended = False

    def add(self, table: pa.Table, provenance: Provenance, name: str | None = None) -> Path:
        path = super().add(table, provenance, name)
        if not self.ended:
            self.ended = True
            raise Ended(signal.SIGTERM)
        return path


def test_a_signal_while_a_part_is_written_doubles_no_row(tmp_path: Path) -> None:
    # Imported late: huggingface_hub reads HF_ENDPOINT when it is imported, and tests/conftest.py sets it afterwards.
    from service.library.run import Writer

    parts = _Interrupted(tmp_path)
    with parts.locked():
        with pytest.raises(Ended), Writer(parts, PROVENANCE) as writer:  # noqa: PT012 - the signal comes in the first
            writer.add(to_table([row("a"), row("b")]))
            writer._flush()
        assert [table.column("path").to_pylist() for table in parts.rows(["path"])] == [["a", "b"]]


def test_a_signal_while_the_last_part_is_written_loses_no_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from service.library.run import Writer

    parts = Parts(tmp_path)
    write = pyarrow.parquet.write_table

    def interrupt(*_: object, **__: object) -> None:
        monkeypatch.setattr(pyarrow.parquet, "write_table", write)
        raise Ended(signal.SIGTERM)

    with parts.locked():
        writer = Writer(parts, PROVENANCE)
        writer.add(to_table([row("a")]))
        monkeypatch.setattr(pyarrow.parquet, "write_table", interrupt)
        with pytest.raises(Ended), writer:
            pass
        assert paths(parts) == ["a"]


def test_rows_of_before_go_when_there_are_new_ones(tmp_path: Path) -> None:
    from service.library.run import Writer

    parts = Parts(tmp_path)
    with parts.locked():
        parts.add(to_table([row("a", genre="rock"), row("b")]), PROVENANCE)
        with Writer(parts, PROVENANCE, {"a"}):
            """No row comes, as where no model loads."""
        assert paths(parts) == ["a", "b"]
        with Writer(parts, PROVENANCE, {"a"}) as writer:
            writer.add(to_table([row("a", genre="jazz")]))
            writer._flush()
            writer.add(to_table([row("c")]))
        assert paths(parts) == ["a", "b", "c"]


def test_the_plan_is_what_is_missing_changed_or_may_have_passed() -> None:
    known = {
        "same": Known(1, 5, "00", None),
        "grown": Known(1, 5, "00", None),
        "touched": Known(1, 5, "00", None),
        "bad": Known(1, 5, "00", "undecodable-audio"),
        "was-locked": Known(None, None, None, "permission-denied"),
        "too-large": Known(9, 5, None, "payload-too-large"),
        "too-large-before": Known(9, 5, None, "payload-too-large"),
        "https://a/too-large-before.mp3": Known(8, None, None, "payload-too-large"),
        "https://a/endless.mp3": Known(None, None, None, "payload-too-large"),
        "was-a-folder": Known(4, 5, None, "not-a-file"),
        "https://a/b.mp3": Known(1, None, "00", None),
        "elsewhere": Known(1, 5, "00", None),
    }
    listed = [
        Listed("same", 1, 5),
        Listed("grown", 2, 5),
        Listed("touched", 1, 6),
        Listed("bad", 1, 5),
        Listed("was-locked", 1, 5),
        Listed("too-large", 9, 5),
        Listed("too-large-before", 8, 6),
        Listed("https://a/too-large-before.mp3"),
        Listed("https://a/endless.mp3"),
        Listed("was-a-folder", 7, 6),
        Listed("https://a/b.mp3"),
        Listed("new", 1, 1),
        Listed("new", 1, 1),
    ]
    made = plan(listed, known, 8)
    again = {"grown", "touched", "was-locked", "too-large-before", "https://a/too-large-before.mp3", "was-a-folder"}
    assert (made.todo, made.again, made.done) == (["new", *sorted(again)], again, 5)
    every = again | {"bad", "too-large", "https://a/endless.mp3"}
    assert plan(listed, known, 8, retry_errors=True).again == every
    by_content = plan(listed, known, 8, changed=lambda paths: {"same"} & set(paths))
    assert by_content.again == {"same", "was-locked", "too-large-before", "https://a/too-large-before.mp3"}


def test_times_of_a_bucket_are_compared_in_whole_seconds() -> None:
    """MinIO and Ceph list milliseconds, and tell seconds of an object."""
    listed = [Listed("s3://bucket/a.mp3", 4, 1_767_323_045_678_000_000), Listed("/a.mp3", 4, 1_767_323_045_678_000_000)]
    known = {recording.path: Known(4, 1_767_323_045_000_000_000, "00", None) for recording in listed}
    assert plan(listed, known, 8).again == {"/a.mp3"}
    later = [Listed("s3://bucket/a.mp3", 4, 1_767_323_046_000_000_000)]
    assert plan(later, known, 8).again == {"s3://bucket/a.mp3"}
