"""Run the training job.

    python -m training --dataset marsyas/gtzan --output_dir runs/gtzan --push_to_hub --hub_model_id you/genre
    python -m training --dataset synthetic --model_name_or_path tiny --output_dir runs/demo

The same command again resumes at the last checkpoint. `--help` explains every option.
"""

import sys

from training import cli
from training.train import train


def main(arguments: list[str] | None = None) -> int:
    """The exit code: 0 for a finished run, 1 after an error that says what to change, 2 for a wrong option."""
    return cli.run("python -m training", train, arguments)


if __name__ == "__main__":
    sys.exit(main())
