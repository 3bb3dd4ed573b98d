"""Run the training job.

    python -m training --dataset marsyas/gtzan --output_dir runs/gtzan --push_to_hub --hub_model_id you/genre
    python -m training --dataset synthetic --model_name_or_path tiny --output_dir runs/demo

The same command again resumes at the last checkpoint. `--help` explains every option.
"""

import logging
import sys
from pathlib import Path
from typing import Any

from transformers import HfArgumentParser

from training import storage
from training.arguments import DataArguments, GenreTrainingArguments, ModelArguments
from training.errors import TrainingError
from training.train import train


def main() -> int:
    """The exit code: 0 for a finished run, 1 when somebody must change something, 2 for a wrong option."""
    groups: list[Any] = [DataArguments, ModelArguments, GenreTrainingArguments]
    parser = HfArgumentParser(groups, prog="python -m training")
    try:
        data, base, arguments = parser.parse_args_into_dataclasses()
    except ValueError as error:
        parser.error(str(error))
    level = logging.INFO if arguments.process_index == 0 else logging.ERROR
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(message)s", datefmt="%H:%M:%S")
    logging.getLogger("httpx2").setLevel(logging.WARNING)
    try:
        with storage.explained(Path(str(arguments.output_dir))):
            train(data, base, arguments)
    except TrainingError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
