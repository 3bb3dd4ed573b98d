"""Cross-validates a recipe: each clip tests once, and no model is left.

python -m training.crossvalidate --folds 5 --dataset marsyas/gtzan --recipe best --output_dir runs/folds
"""

import argparse
import logging
import sys
from functools import partial
from pathlib import Path

from training import cli
from training.arguments import DataArguments, GenreTrainingArguments, ModelArguments
from training.errors import TrainingError
from training.evaluation.report import SplitReport
from training.finetuning import run_folder
from training.finetuning.description import describe, settings_of
from training.finetuning.experiment import prepare_experiment, with_encoder_cache
from training.finetuning.fit import fit

logger = logging.getLogger(__name__)

_PROGRAM = "python -m training.crossvalidate"


def main() -> int:
    """The exit code: 0 when measured, 1 after an error that says what to change, 2 for a wrong option."""
    parser = argparse.ArgumentParser(prog=_PROGRAM, description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--folds", type=int, default=5, help="train so many times, 3 or more, and test each clip once")
    options, others = parser.parse_known_args()
    if options.folds < 3:
        parser.error("--folds must be 3 or more: one to test, one to choose the epoch, the rest to train on.")
    return cli.run(_PROGRAM, partial(crossvalidate, folds=options.folds), others)


def crossvalidate(data: DataArguments, base: ModelArguments, arguments: GenreTrainingArguments, *, folds: int) -> Path:
    """Train on each fold and write metrics.json into the output folder, which is returned. Raises TrainingError."""
    if arguments.push_to_hub:
        raise TrainingError("Cross-validation leaves no model to push. Train once more with python -m training.")
    if arguments.dry_run:
        raise TrainingError("A dry run times one training: python -m training --dry_run. Leave it out here.")
    if data.streaming:
        raise TrainingError("Cross-validation needs clips that are stored. Leave out --streaming.")
    output_dir = Path(str(arguments.output_dir))
    with arguments.main_process_first(local=False, desc="the output folder"):
        run_folder.lock_settings(output_dir, settings_of(data, base, arguments) | {"folds": folds})
    experiment = prepare_experiment(data, base, arguments, folds=folds)
    with arguments.main_process_first(local=False, desc="the clips of the run"):
        run_folder.lock_clips(output_dir, experiment.clips.digests)
    experiment = with_encoder_cache(experiment)
    reports: list[SplitReport] = []
    for split in experiment.splits:
        trainer, report = fit(experiment.in_own_folder(split), split)
        reports.append(report)
    if arguments.process_index == 0:
        parameters = trainer.accelerator.unwrap_model(trainer.model).num_parameters()
        report_of_run = describe(experiment, reports, parameters=parameters)
        report_of_run.write(output_dir)
        for report in reports:
            logger.info("%s of %s: accuracy %s", report.split, experiment.clips.name, report.accuracy)
        logger.info("The figures are in %s", output_dir)
    return output_dir


if __name__ == "__main__":
    sys.exit(main())
