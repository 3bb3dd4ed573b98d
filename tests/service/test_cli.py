"""The client for a terminal, against a service with a key."""

import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from service.cli import KEY_VARIABLE, URL_VARIABLE, main
from tests.service.application import MP3, application
from tests.support.serving import serving

_KEY = "a-key-of-a-terminal"


@pytest.fixture(scope="module")
def url(model_folder: Path) -> Iterator[str]:
    with serving(application(model_folder, page=False, api_keys=_KEY, decoders=1)) as url:
        yield url


@pytest.fixture
def song(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str) -> str:
    """A recording in the folder where the client runs, which finds service and key in its environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(URL_VARIABLE, url)
    monkeypatch.setenv(KEY_VARIABLE, _KEY)
    (tmp_path / "söng.mp3").write_bytes(MP3)
    return "söng.mp3"


def test_a_recording_is_shown_with_its_genres_and_its_timeline(song: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["classify", song, "--timeline"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("söng.mp3: ")
    assert lines[0].endswith("; 0:03 of 0:03 heard)")
    assert len([line for line in lines if "%" in line]) == 12
    assert lines[-1].startswith("  0:00-0:03  ")


def test_each_recording_is_a_line_of_json_and_one_bad_file_fails_no_other(
    song: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("text.mp3").write_text("no audio " * 100)
    assert main(["classify", "gone.mp3", "text.mp3", song, "--json", "--top_k", "2"]) == 1
    gone, text, good = map(json.loads, capsys.readouterr().out.splitlines())
    assert gone == {"file": "gone.mp3", "detail": "The file cannot be read: No such file or directory."}
    assert (text["file"], text["type"]) == ("text.mp3", "urn:music-genre:unsupported-media")
    assert (good["file"], len(good["scores"])) == (song, 2)


def test_refusal_of_the_service_is_printed_in_its_words(
    song: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(KEY_VARIABLE)
    assert main(["classify", song]) == 1
    assert capsys.readouterr().err.startswith(f"{song}: Send an API key")


def test_a_name_that_is_not_in_utf_8_is_escaped(song: str, capsys: pytest.CaptureFixture[str]) -> None:
    name = os.fsdecode(b"s\xf6ng.mp3")
    Path(name).write_bytes(MP3)
    assert main(["classify", name]) == 0
    assert capsys.readouterr().out.startswith("s\\xf6ng.mp3: ")


def test_an_address_of_something_else_is_one_line(song: str, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["classify", song, "--url", f"{url}/v2"]) == 1
    assert "answers 404 and no genre. Is this the service?" in capsys.readouterr().err


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "nowhere", "ftp://localhost"])
def test_unreachable_service_is_one_line(url: str, song: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["classify", song, "--url", url]) == 1
    assert "Start one, or name it with --url." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        (KEY_VARIABLE, "schlüssel", f"{KEY_VARIABLE} holds characters that no key has."),
        (KEY_VARIABLE, "two words", f"{KEY_VARIABLE} holds characters that no key has."),
        (URL_VARIABLE, "http://[::1", "http://[::1 is no address of a service. Name one with --url."),
        (
            "ALL_PROXY",
            "socks://localhost:1",
            "The proxy that the environment names cannot be used: Unknown scheme for proxy URL "
            "URL('socks://localhost:1')",
        ),
    ],
)
def test_a_variable_that_cannot_be_used_is_one_line(
    variable: str,
    value: str,
    message: str,
    song: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv(variable, value)
    assert main(["classify", song]) == 1
    assert capsys.readouterr().err == f"{message}\n"


def test_a_terminal_that_lacks_letters_shows_question_marks(song: str) -> None:
    command = [sys.executable, "-m", "service.cli", "classify", song]
    environment = os.environ | {"PYTHONIOENCODING": "latin-1"}
    result = subprocess.run(command, env=environment, capture_output=True, timeout=60)
    assert (result.returncode, result.stderr) == (0, b"")
    assert result.stdout.startswith("söng.mp3: ".encode("latin-1"))


def test_no_genres_at_all_are_refused_by_the_service(song: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["classify", song, "--top_k", "0"]) == 1
    assert "top_k" in capsys.readouterr().err


def test_a_recording_comes_from_standard_input(
    song: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(MP3)))
    assert main(["classify", "-", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["file"] == "-"


@pytest.mark.parametrize("name", ["-", "/dev/stdin"])
def test_a_recording_comes_out_of_a_pipe(name: str, song: str) -> None:
    command = [sys.executable, "-m", "service.cli", "classify", name, "--json"]
    result = subprocess.run(command, input=MP3, capture_output=True, timeout=60)
    assert (result.returncode, result.stderr) == (0, b"")
    assert json.loads(result.stdout)["duration_s"] == pytest.approx(3.0, abs=0.1)


def test_a_recording_out_of_a_pipe_is_sent_again_to_a_busy_service(
    song: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Busy(BaseHTTPRequestHandler):
        bodies: ClassVar[list[bytes]] = []

        def do_POST(self) -> None:
            self.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            answer = b'{"detail": "busy"}' if len(self.bodies) == 1 else b'{"genre": "jazz"}'
            self.send_response(429 if len(self.bodies) == 1 else 200)
            self.send_header("Retry-After", "0")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    reader, writer = os.pipe()
    os.write(writer, MP3)
    os.close(writer)
    with ThreadingHTTPServer(("127.0.0.1", 0), Busy) as server, open(reader) as stdin:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(sys, "stdin", stdin)
        assert main(["classify", "-", "--json", "--url", f"http://127.0.0.1:{server.server_port}"]) == 0
        server.shutdown()
    assert json.loads(capsys.readouterr().out)["genre"] == "jazz"
    assert [MP3 in body for body in Busy.bodies] == [True, True]


def test_a_reader_that_has_enough_is_no_error(song: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "service.cli", "classify", song, song], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0
