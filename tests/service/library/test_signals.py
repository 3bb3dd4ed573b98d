"""Ctrl-C and SIGTERM, whatever the command is at."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from service.library import __main__ as command


def signalled(number: int) -> Callable[..., None]:
    return lambda *_, **__: os.kill(os.getpid(), number)


def test_a_signal_while_the_model_is_pulled_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # Imported late: huggingface_hub reads HF_ENDPOINT when it is imported, and tests/conftest.py sets it afterwards.
    from service.library import run

    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(run, "fetch", signalled(signal.SIGINT))
    assert command.main([str(tmp_path), "--out", str(tmp_path / "out"), "--model_id", "you/genre"]) == 130
    assert capsys.readouterr().err.startswith("Stopped. ")
    assert signal.getsignal(signal.SIGINT) is before


def test_a_signal_while_the_csv_is_written_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from service.library.output import summary

    (tmp_path / "part-000000-00000000.parquet").touch()
    monkeypatch.setattr(summary, "write_csv", signalled(signal.SIGTERM))
    assert command.main(["--summary", "--csv", "--out", str(tmp_path)]) == 143
    assert capsys.readouterr().err.startswith("Stopped. ")
