"""The options of a training program: the recipe's defaults first, then what the command line says."""

import argparse
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import HfArgumentParser

from training.arguments import RECIPES, DataArguments, GenreTrainingArguments, ModelArguments
from training.errors import TrainingError, disk_full_as_error, memory_full_as_error


def run(
    program: str,
    work: Callable[[DataArguments, ModelArguments, GenreTrainingArguments], object],
    arguments: list[str] | None = None,
) -> int:
    """Parse and work. The exit code: 0 when done, 1 after an error that says what to change, 2 for a wrong option."""
    parsed = parse(program, arguments)
    logging.basicConfig(
        level=logging.INFO if parsed[2].process_index == 0 else logging.ERROR,
        format="%(asctime)s %(levelname)s %(message)s",
        datefmt="%H:%M:%S",
    )
    logging.getLogger("httpx2").setLevel(logging.WARNING)
    try:
        with disk_full_as_error(Path(str(parsed[2].output_dir))), memory_full_as_error():
            work(*parsed)
    except TrainingError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


def parse(
    program: str, arguments: list[str] | None = None
) -> tuple[DataArguments, ModelArguments, GenreTrainingArguments]:
    """Exits with 2 and a line that says why when an option is wrong."""
    groups: list[Any] = [DataArguments, ModelArguments, GenreTrainingArguments]
    parser = HfArgumentParser(groups, prog=program)
    recipe = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    recipe.add_argument("--recipe", choices=RECIPES, default="course")
    parser.set_defaults(**RECIPES[recipe.parse_known_args(arguments)[0].recipe])
    try:
        data, base, training = parser.parse_args_into_dataclasses(arguments)
    except ValueError as error:
        parser.error(str(error))
    return data, base, training
