"""Search hyper-parameters with the Trainer's own backend, Optuna.

    python -m training.search --n_trials 20 --split artist --recipe best --output_dir runs/search

All options of training are accepted. A trial trains on the first split and is judged by the accuracy on validation
clips after its last epoch. The trials are kept in OUTPUT_DIR/trials.db: the same command again adds as many to them.
"""

import argparse
import logging
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import PreTrainedModel
from transformers.trainer_utils import BestRun, SaveStrategy

from training import cli
from training.arguments import DataArguments, GenreTrainingArguments, ModelArguments
from training.errors import TrainingError
from training.finetuning import encoder_cache
from training.finetuning.experiment import Experiment, prepare_experiment, with_encoder_cache
from training.finetuning.model import load_model
from training.finetuning.trainer import build

if TYPE_CHECKING:
    from optuna import Trial

logger = logging.getLogger(__name__)


def main() -> int:
    """The exit code: 0 when searched, 1 after an error that says what to change, 2 for a wrong option."""
    parser = argparse.ArgumentParser(prog="python -m training.search", description=__doc__.splitlines()[0])
    parser.add_argument("--n_trials", type=int, default=20, help="trainings to try")
    options, others = parser.parse_known_args()
    return cli.run("python -m training.search", partial(search, n_trials=options.n_trials), others)


def search(
    data: DataArguments, base: ModelArguments, arguments: GenreTrainingArguments, *, n_trials: int
) -> dict[str, Any]:
    """The options that did best. Raises TrainingError, also where only the test clips could judge."""
    if arguments.push_to_hub:
        raise TrainingError("A search leaves no model: leave out --push_to_hub.")
    if arguments.dry_run:
        raise TrainingError("A dry run times one training: python -m training --dry_run. Leave it out here.")
    # A trial leaves nothing but its figures.
    arguments.save_strategy, arguments.load_best_model_at_end = SaveStrategy.NO, False
    experiment = prepare_experiment(data, base, arguments)
    if experiment.splits[0].chosen_on_test:
        raise TrainingError("A search on the random split would choose by the test clips. Use --split artist.")
    experiment = with_encoder_cache(experiment)
    output_dir = Path(str(arguments.output_dir))
    output_dir.mkdir(parents=True, exist_ok=True)
    trainer = build(experiment, experiment.splits[0], model_init=partial(_model, experiment))
    best = trainer.hyperparameter_search(
        hp_space=_space,
        compute_objective=lambda measured: measured["eval_accuracy"],
        n_trials=n_trials,
        direction="maximize",
        backend="optuna",
        study_name="genre",
        storage=f"sqlite:///{output_dir / 'trials.db'}",
        load_if_exists=True,
    )
    # The other processes get None.
    if not isinstance(best, BestRun):
        return {}
    options = " ".join(f"--{name} {value:g}" for name, value in best.hyperparameters.items())
    count = experiment.splits[0].sizes["validation"]
    logger.info("Best accuracy on %d validation clips: %.3f, with %s", count, best.objective, options)
    return dict(best.hyperparameters)


def _model(experiment: Experiment) -> PreTrainedModel:
    model = load_model(experiment.base, experiment.clips.genres)
    if experiment.encoded is not None:
        encoder_cache.bypass(model)
    return model


def _space(trial: "Trial") -> dict[str, Any]:
    return {
        "learning_rate": trial.suggest_float("learning_rate", 1e-5, 1e-3, log=True),
        "warmup_steps": trial.suggest_float("warmup_steps", 0.0, 0.3),
        "weight_decay": trial.suggest_float("weight_decay", 1e-4, 0.1, log=True),
        "per_device_train_batch_size": trial.suggest_categorical("per_device_train_batch_size", [4, 8, 16]),
    }


if __name__ == "__main__":
    sys.exit(main())
