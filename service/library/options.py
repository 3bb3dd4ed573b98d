"""The options of `python -m service.library`."""

import argparse
import math
from dataclasses import dataclass
from pathlib import Path

_DEFAULT_FILE_MB = 2_000.0
_DEFAULT_DEADLINE_S = 300.0


@dataclass(frozen=True)
class Options:
    """The command line. Its help says what each option means."""

    source: str | None
    out: Path
    path_column: str | None
    embedding: bool
    content: bool
    retry_errors: bool
    allow_mixture: bool
    csv: bool
    summary: bool
    model_id: str | None
    model_revision: str | None
    max_windows: int | None
    max_file_mb: float
    deadline_s: float
    num_cpus: int | None
    num_gpus: float
    actors: int | None


def parse(arguments: list[str] | None = None) -> Options:
    """The options. Exits with 2 and a line that says why when one is wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m service.library",
        description="Classify a whole library of recordings, on this machine or, with RAY_ADDRESS, on a cluster.",
        epilog="The same command again does only what is missing or has changed. MODEL_ID names the model.",
        allow_abbrev=False,
    )
    _add_what(parser)
    _add_how(parser)
    options = Options(**vars(parser.parse_args(arguments)))
    if options.source is None and not options.summary:
        parser.error("name a SOURCE: a folder, a list (.txt, .csv, .parquet) or a bucket (s3://, gs://, hf://)")
    if "://" in str(options.out) or ":/" in str(options.out):
        parser.error("--out is a folder of this machine; copy it to a bucket afterwards")
    try:
        str(options.out).encode()
    except UnicodeEncodeError:
        parser.error("--out must have a name in UTF-8, as Arrow takes no other")
    return options


def _add_what(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", metavar="SOURCE", nargs="?", help="folder, list of paths or URLs, or bucket")
    parser.add_argument("--out", type=Path, required=True, help="folder of the results: parquet, one row a recording")
    parser.add_argument("--path_column", help="column of the paths in a list; by default path, file, url or filename")
    parser.add_argument("--embedding", action="store_true", help="also write the vector that the classifier gets")
    parser.add_argument("--content", action="store_true", help="tell changed files by sha256, not by size and time")
    parser.add_argument("--retry_errors", action="store_true", help="do recordings again that had a lasting error")
    parser.add_argument("--allow_mixture", action="store_true", help="add to results of another model or other options")
    parser.add_argument("--csv", action="store_true", help="also write _results.csv, for people")
    parser.add_argument("--summary", action="store_true", help="only print the tables of an output")


def _add_how(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model_id", help="model repo or folder; MODEL_ID by default")
    parser.add_argument("--model_revision", help="branch, tag or commit; MODEL_REVISION or main by default")
    parser.add_argument("--max_windows", type=_at_least_one, help="windows analysed of a recording; MAX_WINDOWS or 3")
    parser.add_argument("--max_file_mb", type=_positive, default=_DEFAULT_FILE_MB, help="largest file that is read")
    parser.add_argument(
        "--deadline_s", type=_positive, default=_DEFAULT_DEADLINE_S, help="seconds to read, and again to classify"
    )
    parser.add_argument("--num_cpus", type=_at_least_one, help="cores, and threads, of an actor; at most 4 by default")
    parser.add_argument("--num_gpus", type=_not_negative, default=0.0, help="GPUs of an actor, or a fraction of one")
    parser.add_argument("--actors", type=_at_least_one, help="actors at most; by default as many as the cluster holds")


def _at_least_one(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def _positive(text: str) -> float:
    if not 0 < (number := float(text)) < math.inf:
        raise argparse.ArgumentTypeError("must be a finite number above 0")
    return number


def _not_negative(text: str) -> float:
    if not (number := float(text)) >= 0:
        raise argparse.ArgumentTypeError("must not be negative")
    return number
