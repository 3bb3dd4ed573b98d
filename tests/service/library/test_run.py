"""`python -m service.library` on a Ray of its own: rows, resuming, and the ways to end it."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pyarrow as pa
import pyarrow.parquet
import pytest

from service.library import options
from service.library.output.parts import Parts
from service.library.output.summary import summarise
from tests.support.service_process import environment

pytestmark = pytest.mark.thorough

RUN_S = 150


def command(*arguments: Path | str) -> list[str]:
    return [sys.executable, "-m", "service.library", *map(str, arguments)]


def settings(model: Path, **others: str) -> dict[str, str]:
    paths = {name: os.environ[name] for name in ("PYTHONPATH", "HOME") if name in os.environ}
    return environment(MODEL_ID=str(model), **paths, **others)


def run(model: Path, *arguments: Path | str, code: int = 0, **others: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command(*arguments), env=settings(model, **others), capture_output=True, text=True, timeout=RUN_S
    )
    assert done.returncode == code, done.stderr
    return done


def table(out: Path) -> pa.Table:
    """The rows as everybody reads them, each recording once."""
    rows = pyarrow.parquet.read_table(out)
    paths = rows.column("path").to_pylist()
    assert len(paths) == len(set(paths))
    return rows


def by_path(out: Path, column: str) -> dict[str, object]:
    rows = table(out).select(["path", column]).to_pylist()
    return {Path(row["path"]).name: row[column] for row in rows}


@pytest.fixture
def library(tmp_path: Path, music: Path) -> Path:
    folder = tmp_path / "library"
    folder.mkdir()
    for song in music.iterdir():
        (folder / song.name).write_bytes(song.read_bytes())
    (folder / "text.mp3").write_text("no audio " * 100)
    return folder


@pytest.mark.slow
def test_a_list_becomes_rows(music: Path, model_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "gone.mp3").symlink_to(tmp_path / "nowhere")
    listed = tmp_path / "list.csv"
    listed.write_text(f"path\n{music / '1.flac'}\n{music / '3.mp3'}\n{tmp_path / 'gone.mp3'}\n")
    out = tmp_path / "out"
    done = run(model_folder, listed, "--out", out)
    assert "3 of 3 files" in done.stderr
    assert by_path(out, "error_type") == {"1.flac": None, "3.mp3": None, "gone.mp3": "not-found"}
    assert summarise(Parts(out)) == done.stdout


def test_a_ray_that_does_not_start_is_one_line(music: Path, model_folder: Path, tmp_path: Path) -> None:
    told = run(model_folder, music, "--out", tmp_path / "out", code=1, RAY_TMPDIR="/dev/null/ray").stderr
    assert told.splitlines()[-1].startswith("error: Ray did not start: ")
    assert told.endswith(". Mend that, or run the same command when the machine is less busy.\n")


def test_ray_is_started_once_more_where_it_did_not(monkeypatch: pytest.MonkeyPatch) -> None:
    from service.library import pipeline

    tries: list[str] = []

    class Busy(ModuleType):
        def init(self, address: str, **_: object) -> None:
            tries.append(address)
            if len(tries) == 1:
                raise RuntimeError("The current node timed out during startup.")

        def shutdown(self) -> None:
            tries.append("shutdown")

    monkeypatch.setitem(sys.modules, "ray", Busy("ray"))
    pipeline._start("local", {})
    assert tries == ["local", "shutdown", "local"]


@pytest.mark.slow
def test_a_folder_becomes_rows_and_the_same_command_does_what_is_new(
    library: Path, model_folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    first = run(model_folder, library, "--out", out, "--csv")
    assert "10 recordings to classify, 0 done before." in first.stderr
    assert "10 of 10 files" in first.stderr
    assert "10 recordings" in first.stdout
    assert "unsupported-media" in first.stdout
    errors = by_path(out, "error_type")
    assert {name for name, error in errors.items() if error} == {"text.mp3"}
    assert len(errors) == 10
    with (out / "_results.csv").open(encoding="utf-8-sig", newline="") as file:
        assert {Path(row["path"]).name for row in csv.DictReader(file)} == errors.keys()
    assert run(model_folder, "--summary", "--out", out).stdout == first.stdout

    before = table(out).sort_by("path")
    changed = library / "1.flac"
    changed.write_bytes((library / "4.flac").read_bytes())
    (library / "new.mp3").write_bytes((library / "0.mp3").read_bytes())
    second = run(model_folder, library, "--out", out)
    assert "2 recordings to classify, 9 done before." in second.stderr
    after = table(out).sort_by("path")
    hashes = by_path(out, "sha256")
    assert hashes["1.flac"] == hashes["4.flac"]
    assert hashes["new.mp3"] == hashes["0.mp3"]
    kept = [str(path) for path in library.iterdir() if path.name not in ("1.flac", "new.mp3")]
    assert after.filter(pa.compute.field("path").isin(kept)) == before.filter(pa.compute.field("path").isin(kept))


@pytest.mark.slow
def test_content_option_compares_hashes_and_not_times(library: Path, model_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(model_folder, library, "--out", out)
    os.utime(library / "0.mp3")
    song = library / "3.mp3"
    status = song.stat()
    content = bytearray(song.read_bytes())
    content[-1] ^= 1
    song.write_bytes(content)
    os.utime(song, ns=(status.st_atime_ns, status.st_mtime_ns))
    again = run(model_folder, library, "--out", out, "--content")
    assert "1 recordings to classify, 9 done before." in again.stderr


@pytest.mark.slow
def test_content_option_keeps_the_answers_of_files_that_are_not_there_now(
    library: Path, model_folder: Path, tmp_path: Path
) -> None:
    """As when a disk is not mounted."""
    out, listed = tmp_path / "out", tmp_path / "list.txt"
    listed.write_text("".join(f"{path}\n" for path in sorted(library.iterdir())))
    run(model_folder, listed, "--out", out)
    before = table(out).sort_by("path")
    library.rename(tmp_path / "elsewhere")
    again = run(model_folder, listed, "--out", out, "--content")
    assert f"0 recordings to classify, {len(before)} done before." in again.stderr
    assert table(out).sort_by("path") == before


@pytest.mark.slow
def test_another_model_or_option_in_one_output_is_refused(library: Path, model_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    listed = tmp_path / "one.txt"
    listed.write_text(f"{library / '1.flac'}\n")
    run(model_folder, listed, "--out", out)
    refused = run(model_folder, library, "--out", out, "--max_windows", "2", code=1)
    assert refused.stderr.startswith("error: ")
    assert "max_windows" in refused.stderr
    mixed = run(model_folder, library, "--out", out, "--max_windows", "2", "--allow_mixture")
    assert "9 recordings to classify, 1 done before." in mixed.stderr
    assert len(table(out)) == 10


def test_a_run_that_cannot_begin_leaves_the_rows_of_before(music: Path, model_folder: Path, tmp_path: Path) -> None:
    from service.library.output.parts import Provenance
    from service.library.schema import to_table
    from service.model.artefact import read_artefact

    parts, song = Parts(tmp_path / "out"), music / "1.flac"
    revision = read_artefact(model_folder, model_id="tiny", revision=None).revision
    with parts.locked():
        # Of another size than the file has now.
        parts.add(to_table([{"path": str(song), "size": 1, "genre": "rock"}]), Provenance(revision, 3, False))
    failed = run(model_folder, song, "--out", parts.folder, code=1, RAY_ADDRESS="127.0.0.1:1")
    assert "1 recordings to classify, 0 done before." in failed.stderr
    assert by_path(parts.folder, "genre") == {"1.flac": "rock"}


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_run_that_is_ended_goes_on_where_it_was(
    number: signal.Signals, music: Path, model_folder: Path, tmp_path: Path
) -> None:
    library, out = tmp_path / "library", tmp_path / "out"
    library.mkdir()
    song = (music / "1.flac").read_bytes()
    for index in range(300):
        (library / f"{index}.flac").write_bytes(song)
    with subprocess.Popen(
        command(library, "--out", out), env=settings(model_folder), stderr=subprocess.PIPE, text=True,
        start_new_session=True, stdout=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        assert process.stderr is not None
        assert process.stderr.readline() == "300 recordings to classify, 0 done before.\n"
        assert any("of 300 files" in line for line in process.stderr), "it ended"
        # As a terminal does: to the whole group.
        (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number)
        told = process.stderr.read()
        code = process.wait(RUN_S)
    if number != signal.SIGKILL:
        assert code == 128 + number
        assert "Stopped. What is done is written" in told
        assert 0 < len(table(out)) < 300
    run(model_folder, library, "--out", out)
    assert len(table(out)) == 300
    assert list(out.glob(".unfinished-*")) == []


def test_a_wrong_source_model_or_option_is_one_line(model_folder: Path, tmp_path: Path) -> None:
    gone = run(model_folder, tmp_path / "gone", "--out", tmp_path / "out", code=1)
    assert gone.stderr.splitlines()[-1].startswith(f"error: {tmp_path / 'gone'} is not there.")
    no_model = run(tmp_path, tmp_path, "--out", tmp_path / "out", code=1)
    assert no_model.stderr.startswith("error: The model repo holds no config.json")
    assert "name a SOURCE" in run(model_folder, "--out", tmp_path / "out", code=2).stderr
    assert "MODEL_ID" in run(model_folder, tmp_path, "--out", tmp_path / "out", "--model_id", "", code=2).stderr


@pytest.mark.slow
def test_error_of_ray_is_one_line(model_folder: Path, music: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    crowded = run(model_folder, music, "--out", out, "--num_cpus", "1000", code=1)
    assert crowded.stderr.splitlines()[-1].startswith("error: No machine has 1000 cores and 0 GPUs for an actor.")
    nowhere = run(model_folder, music, "--out", out, code=1, RAY_ADDRESS="127.0.0.1:1")
    assert nowhere.stderr.splitlines()[-1].startswith("error: Nothing listens at RAY_ADDRESS=127.0.0.1:1.")
    client = run(model_folder, music, "--out", out, code=1, RAY_ADDRESS="ray://127.0.0.1:10001")
    assert "is no address of a node" in client.stderr.splitlines()[-1]
    shutil.copytree(model_folder, tmp_path / "bad")
    config = json.loads((model_folder / "config.json").read_text())
    # Weights of other shapes are found out by the actor, which loads them.
    (tmp_path / "bad" / "config.json").write_text(json.dumps(config | {"classifier_proj_size": 7}))
    broken = run(tmp_path / "bad", music, "--out", out, code=1)
    assert broken.stderr.splitlines()[-1].startswith("error: Ray gave up. The weights of bad do not load")
    assert "Traceback" not in broken.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["--out", "results"],
        ["music"],
        ["music", "--out", "s3://bucket/results"],
        ["music", "--out", "results", "--num_cpus", "0"],
        ["music", "--out", "results", "--deadline_s", "0"],
        ["music", "--out", "results", "--num_gpus", "-1"],
        ["music", "--out", "results", "--max_file_mb", "many"],
        ["music", "--out", "results", "--max_file_mb", "inf"],
        ["music", "--out", "m\udcfcsic"],
    ],
)
def test_a_wrong_option_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        options.parse(arguments)
    assert ended.value.code == 2
    assert "error: " in capsys.readouterr().err


def test_without_ray_one_line_says_how_to_install_it(tmp_path: Path, model_folder: Path) -> None:
    hiding = "import sys; sys.modules['ray'] = None; from service.library.__main__ import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", hiding, ".", "--out", tmp_path / "out"],
        env=settings(model_folder), capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "pip install 'music-genre-service[serve,cluster]'" in done.stderr


def test_the_service_imports_no_ray() -> None:
    code = "import sys, service.app, service.inference.loading; sys.exit('ray' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
