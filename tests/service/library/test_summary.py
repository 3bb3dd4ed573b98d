"""What people read of an output: the tables, the CSV, and the progress of a run."""

import csv
import io
from pathlib import Path

import pytest

from service.library.__main__ import main
from service.library.output.parts import Parts, Provenance
from service.library.output.progress import Progress
from service.library.output.summary import summarise, write_csv
from service.library.schema import to_table

ROWS = [
    {
        "path": "/a.mp3",
        "genre": "rock",
        "decision": "accepted",
        "confidence": 0.9,
        "duration_s": 3600.0,
        "seconds": 0.5,
    },
    {
        "path": "/b.mp3",
        "genre": "rock",
        "decision": "uncertain",
        "confidence": 0.4,
        "duration_s": 3600.0,
        "seconds": 2.0,
    },
    {"path": "=cmd()", "genre": "jazz", "decision": "accepted", "warnings": ["quiet", "short"], "seconds": 0.25},
    {"path": "/d.mp3", "error_type": "undecodable-audio", "error_detail": "Export it again.", "seconds": 0.125},
]


def output(folder: Path) -> Parts:
    parts = Parts(folder)
    with parts.locked():
        for row in ROWS:
            parts.add(to_table([row]), Provenance("c" * 40, 3, False))
    return parts


def test_the_tables_count_genres_and_errors_and_name_the_slowest(tmp_path: Path) -> None:
    assert summarise(output(tmp_path)) == (
        "4 recordings, 2.0 hours of audio, 1 errors\n"
        "\n"
        "genre  recordings  share  accepted\n"
        "rock            2  66.7%         1\n"
        "jazz            1  33.3%         1\n"
        "\n"
        "error              recordings\n"
        "undecodable-audio           1\n"
        "\n"
        "seconds  slowest recordings\n"
        "   2.00  /b.mp3\n"
        "   0.50  /a.mp3\n"
        "   0.25  =cmd()\n"
        "   0.12  /d.mp3\n"
    )


def test_an_output_of_nothing_has_a_summary(tmp_path: Path) -> None:
    assert summarise(Parts(tmp_path)) == "0 recordings, 0.0 hours of audio, 0 errors\n"


@pytest.mark.parametrize("more", [[], ["--csv"]])
def test_a_summary_of_nowhere_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str]) -> None:
    assert main(["--summary", "--out", str(tmp_path / "typo"), *more]) == 1
    assert capsys.readouterr().err == f"error: {tmp_path / 'typo'} holds no results. Name the --out of a run.\n"
    assert list(tmp_path.iterdir()) == []


def test_the_csv_opens_in_a_spreadsheet_and_runs_nothing_there(tmp_path: Path) -> None:
    with write_csv(output(tmp_path)).open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows] == ["/a.mp3", "/b.mp3", "'=cmd()", "/d.mp3"]
    assert (rows[0]["confidence"], rows[2]["warnings"]) == ("0.9", "quiet short")


def test_progress_tells_rates_errors_and_the_time_left() -> None:
    stream = io.StringIO()
    progress = Progress(8, stream)
    progress.add(to_table(ROWS))
    assert "4 of 8 files" in stream.getvalue()
    assert "1 errors" in stream.getvalue()
    assert stream.getvalue().endswith("? left\n")
    progress.add(to_table(ROWS[:1]))
    assert "min" in progress.line()
    progress.add(to_table(ROWS[1:]))
    progress.close()
    assert "8 of 8 files" in stream.getvalue().splitlines()[-1]
    assert "left" not in stream.getvalue().splitlines()[-1]
