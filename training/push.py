"""Push a trained model again, from its folder alone: `python -m training.push runs/gtzan --hub_model_id you/genre`."""

import argparse
import sys
from pathlib import Path

from training import hub
from training.errors import TrainingError
from training.finetuning import run_folder


def main(arguments: list[str] | None = None) -> int:
    """The exit code: 0 after the push, 1 after an error that says what to change."""
    parser = argparse.ArgumentParser(prog="python -m training.push", description=__doc__)
    parser.add_argument("output_dir", type=Path, help="the --output_dir of the training run")
    parser.add_argument("--hub_model_id", required=True, help="the model repo to push to, such as you/genre")
    parser.add_argument("--hub_private_repo", action="store_true", help="make the repo private when it is created")
    options = parser.parse_args(arguments)
    folder = options.output_dir / run_folder.MODEL_FOLDER
    if not (folder / "README.md").is_file():
        parser.error(f"{folder} holds no finished model. Run the training to its end first.")
    try:
        repo_id = hub.preflight(options.hub_model_id, private=options.hub_private_repo or None)
        commit = hub.push(folder, repo_id)
        hub.tag_release(repo_id, commit)
        sys.stdout.write(f"{commit}\n")
    except TrainingError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
