"""Fits a model to one split: trains, keeps the best epoch, and tests it once."""

import logging
from pathlib import Path

import numpy as np
import numpy.typing as npt
from transformers import Trainer, TrainerState, set_seed
from transformers.trainer import TRAINER_STATE_NAME

from training.data.splits import Split
from training.evaluation.report import SplitReport, measure
from training.evaluation.robustness import make_predictor, robustness
from training.finetuning import encoder_cache, run_folder
from training.finetuning.experiment import Experiment
from training.finetuning.model import load_model
from training.finetuning.trainer import GenreTrainer, build, predict

logger = logging.getLogger(__name__)


def fit(experiment: Experiment, split: Split) -> tuple[GenreTrainer, SplitReport]:
    """Train a model on one split, keep its best epoch, test it once. Its checkpoints are in the output folder."""
    logger.info("Split %s: %s", split.name, ", ".join(f"{count} {part}" for part, count in split.sizes.items()))
    arguments = experiment.arguments
    with arguments.main_process_first(local=False, desc="the checkpoints"):
        checkpoint = arguments.resume_from_checkpoint or run_folder.last_checkpoint(Path(str(arguments.output_dir)))
    if checkpoint is not None:
        logger.info("Resuming at %s", checkpoint)
    set_seed(arguments.seed)
    model = load_model(experiment.base, experiment.clips.genres)
    with encoder_cache.bypassed(model, wanted=experiment.encoded is not None):
        trainer = build(experiment, split, model=model)
        _train(trainer, checkpoint)
    # From here on the Trainer predicts with the whole model, as it will be served.
    trainer.compute_metrics = None
    validation = experiment.windows(split.validation)
    validated = predict(trainer, validation)
    tested = validated if split.chosen_on_test else predict(trainer, experiment.windows(split.test))
    robust: dict[str, npt.NDArray[np.bool_]] = {}
    # The first process alone tests and reports robustness.
    if arguments.robustness and trainer.is_world_process_zero():
        model = trainer.accelerator.unwrap_model(trainer.model)
        robust = robustness(
            split.test,
            make_predictor(model, experiment.extractor, experiment.window),
            sampling_rate=experiment.window.sampling_rate,
        )
    report = measure(
        tested,
        None if split.chosen_on_test else validated,
        split,
        experiment.clips.genres,
        curve=_curve(trainer),
        robustness=robust,
    )
    return trainer, report


def _train(trainer: Trainer, checkpoint: Path | str | None) -> None:
    if checkpoint is None:
        trainer.train()
        return
    state = TrainerState.load_from_json(str(Path(checkpoint, TRAINER_STATE_NAME)))
    if state.global_step < state.max_steps:
        trainer.train(resume_from_checkpoint=str(checkpoint))
        return
    # The Trainer would take one step more when --max_steps ended the run within an epoch.
    trainer.state = state
    best = state.best_model_checkpoint if trainer.args.load_best_model_at_end else None
    # The checkpoint is found by its name, as the folder may have moved since.
    trainer._load_from_checkpoint(str(Path(checkpoint).with_name(Path(best or checkpoint).name)))


def _curve(trainer: Trainer) -> list[dict[str, float]]:
    """Loss and accuracy by step, as the Trainer logged them."""
    points: dict[float, dict[str, float]] = {}
    for entry in trainer.state.log_history:
        for logged, name in (("loss", "loss"), ("eval_accuracy", "accuracy")):
            if logged in entry:
                points.setdefault(entry["step"], {"epoch": entry["epoch"]})[name] = entry[logged]
    return list(points.values())
