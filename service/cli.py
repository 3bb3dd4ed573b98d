"""Client for a terminal: `python -m service.cli classify song.mp3`, or `music-genre classify song.mp3`."""

import argparse
import json
import os
import re
import shutil
import sys
import time
from contextlib import ExitStack
from io import TextIOWrapper
from tempfile import TemporaryFile
from typing import Any, BinaryIO

import httpx2

URL_VARIABLE = "MUSIC_GENRE_URL"
KEY_VARIABLE = "MUSIC_GENRE_API_KEY"

_DEFAULT_URL = "http://localhost:8000"
_TIMEOUT_S = 600.0
# A service that is busy or still loads its model says when to come back.
_TRIES = 5
_MAX_WAIT_S = 60.0
_BAR_WIDTH = 30
_STDIN = "-"

Answer = dict[str, Any]


class ClientError(Exception):
    """A recording that got no answer, or a setting that cannot be used.

    problem: what the service said, as problem+json, if it said anything.
    """

    def __init__(self, message: str, problem: Answer | None = None) -> None:
        super().__init__(message)
        self.problem = problem


def main(arguments: list[str] | None = None) -> int:
    """The exit code: 0 when all recordings are classified, 1 when one is not, 130 after Ctrl-C."""
    options = _parser().parse_args(arguments)
    if isinstance(sys.stdout, TextIOWrapper):
        # Not every terminal has the letters of all names, or the bars.
        sys.stdout.reconfigure(errors="replace")
    failed = False
    query = {"top_k": options.top_k, "timeline": options.timeline or None}
    query = {name: value for name, value in query.items() if value is not None}
    try:
        with _client(options.url) as client:
            for path in options.files:
                try:
                    answer = _classify(client, path, query)
                except ClientError as error:
                    failed = True
                    _tell(path, error, as_json=options.json)
                else:
                    sys.stdout.write(f"{_line(path, answer) if options.json else _text(path, answer)}\n")
                    sys.stdout.flush()
    except ClientError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read the output, such as `head`, has enough. Python would complain when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return int(failed)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="music-genre", description=__doc__)
    classify = parser.add_subparsers(required=True, metavar="COMMAND").add_parser(
        "classify",
        help="tell the genre of recordings",
        description=f"Tell the genre of recordings. A key, where the service asks for one, comes from {KEY_VARIABLE}.",
    )
    classify.add_argument("files", nargs="+", metavar="FILE", help=f"an audio file; {_STDIN} for standard input")
    classify.add_argument(
        "--url",
        default=os.environ.get(URL_VARIABLE) or _DEFAULT_URL,
        help=f"of the service; by default {URL_VARIABLE}, else {_DEFAULT_URL}",
    )
    classify.add_argument("--timeline", action="store_true", help="also the genre of each part of a recording")
    classify.add_argument("--top_k", type=int, help="how many genres to show; all by default")
    classify.add_argument("--json", action="store_true", help="a line of JSON for each recording")
    return parser


def _client(url: str) -> httpx2.Client:
    """A client of the service. Raises ClientError when the address, the key or a proxy cannot be used."""
    key = os.environ.get(KEY_VARIABLE, "").strip()
    if not re.fullmatch("[!-~]*", key):
        raise ClientError(f"{KEY_VARIABLE} holds characters that no key has.")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        return httpx2.Client(base_url=url, headers=headers, timeout=_TIMEOUT_S)
    except httpx2.InvalidURL as error:
        raise ClientError(f"{url} is no address of a service. Name one with --url.") from error
    except (ValueError, ImportError) as error:
        raise ClientError(f"The proxy that the environment names cannot be used: {error}") from error


def _classify(client: httpx2.Client, path: str, query: dict[str, Any]) -> Answer:
    """The service's answer about a file. Raises ClientError."""
    with ExitStack() as stack:
        try:
            file = sys.stdin.buffer if path == _STDIN else stack.enter_context(open(path, "rb"))
            if not file.seekable():
                file = stack.enter_context(_copy(file))
            response = _post(client, _printable(os.path.basename(path)), file, query)
        except OSError as error:
            raise ClientError(f"The file cannot be read: {error.strerror}.") from error
        except (httpx2.TransportError, httpx2.InvalidURL, httpx2.UnsupportedProtocol) as error:
            raise ClientError(f"No service answers at {client.base_url}. Start one, or name it with --url.") from error
    try:
        answer: Answer = response.json()
    except ValueError:
        answer = {}
    if not isinstance(answer, dict) or not {"genre", "detail"} & answer.keys():
        raise ClientError(f"{client.base_url} answers {response.status_code} and no genre. Is this the service?")
    if response.status_code != 200:
        raise ClientError(str(answer.get("detail")), answer)
    return answer


def _copy(pipe: BinaryIO) -> BinaryIO:
    """What comes out of a pipe as a file: a form tells the length of its files, and may be sent again."""
    # The caller closes it.
    file = TemporaryFile()  # noqa: SIM115
    shutil.copyfileobj(pipe, file)
    file.seek(0)
    return file


def _post(client: httpx2.Client, name: str, file: BinaryIO, query: dict[str, Any]) -> httpx2.Response:
    """The response; asked again where the service is busy."""
    for _ in range(_TRIES - 1):
        response = client.post("/classify", files={"file": (name, file)}, params=query)
        if response.status_code not in (429, 503):
            return response
        seconds = response.headers.get("retry-after", "")
        # A proxy may give a date.
        time.sleep(min(int(seconds) if seconds.isdecimal() else 1, _MAX_WAIT_S))
    return client.post("/classify", files={"file": (name, file)}, params=query)


def _tell(path: str, error: ClientError, *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(f"{_line(path, error.problem or {'detail': str(error)})}\n")
    else:
        sys.stderr.write(f"{_printable(path)}: {error}\n")


def _line(path: str, answer: Answer) -> str:
    return json.dumps({"file": _printable(path)} | answer, ensure_ascii=False)


def _text(path: str, answer: Answer) -> str:
    """The answer for people: genre and confidence, a bar for each genre, warnings, the timeline."""
    unsure = ", uncertain" if answer["decision"] == "uncertain" else ""
    analysed = f"{_time(answer['analysed_s'])} of {_time(answer['duration_s'])} heard"
    lines = [f"{_printable(path)}: {answer['genre']} ({answer['confidence']:.0%}{unsure}; {analysed})"]
    width = max(len(score["label"]) for score in answer["scores"])
    for score in answer["scores"]:
        bar = "█" * round(score["score"] * _BAR_WIDTH)
        lines.append(f"  {score['label']:{width}}  {score['score']:4.0%}  {bar}".rstrip())
    lines += [f"  ! {warning['code']}: {warning['detail']}" for warning in answer["warnings"]]
    lines += [
        f"  {_time(span['start_s'])}-{_time(span['end_s'])}  {span['genre']:{width}}  {span['confidence']:4.0%}"
        for span in answer.get("timeline") or ()
    ]
    return "\n".join(lines)


def _printable(path: str) -> str:
    """A path whose bytes that are not in UTF-8 are escaped."""
    return os.fsencode(path).decode(errors="backslashreplace")


def _time(seconds: float) -> str:
    """Such as 3:07."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02}"


if __name__ == "__main__":
    sys.exit(main())
