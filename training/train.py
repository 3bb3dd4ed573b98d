"""Trains a model: loads the data, fine-tunes, evaluates, saves and pushes."""

import copy
import logging
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from transformers import PreTrainedModel, Trainer, TrainerState, set_seed
from transformers.trainer import TRAINER_STATE_NAME

from service.model.serving_file import ServingFile, TrainedOn
from training import hub
from training.arguments import DataArguments, GenreTrainingArguments, ModelArguments
from training.data.clips import Clips
from training.data.sources import SYNTHETIC
from training.data.splits import Split
from training.errors import TrainingError
from training.evaluation.report import Report, SplitReport, measure
from training.evaluation.robustness import make_predictor, robustness
from training.finetuning import encoder_cache, run_folder
from training.finetuning.dry_run import plan
from training.finetuning.experiment import Experiment, prepare, with_encoder_cache
from training.finetuning.model import TINY, load_model
from training.finetuning.trainer import GenreTrainer, build, predict
from training.publishing import artefact, model_card

logger = logging.getLogger(__name__)

# What makes two runs the same: all that decides the weights, and nothing about where or how it is computed.
_RECIPE = (
    "seed",
    "learning_rate",
    "num_train_epochs",
    "max_steps",
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "warmup_steps",
    "weight_decay",
    "lr_scheduler_type",
    "label_smoothing_factor",
    "class_weights",
)

# Of these and the options of data and model, the card shows those that are set.
_SHOWN = {*_RECIPE, "random_crop", "feature_encoder", "attention_dropout"} - {"seed"}


def train(data: DataArguments, base: ModelArguments, arguments: GenreTrainingArguments) -> Path:
    """Train on each split that was asked for, evaluate, write the model folder, push it when asked to.

    Returns the model folder, which holds the model of the first split; of a cross-validation, which leaves no model,
    the folder of its metrics.json. Raises TrainingError when something must be changed first; what can be checked is
    checked before the first step.
    """
    output_dir = Path(str(arguments.output_dir))
    if data.folds and arguments.push_to_hub:
        raise TrainingError("--folds measures a recipe and leaves no model to push. Train once more without it.")
    if arguments.dry_run:
        arguments.push_to_hub = False
    else:
        with arguments.main_process_first(local=False, desc="the output folder"):
            run_folder.lock_settings(output_dir, _settings(data, base, arguments))
    hub_model_id = _preflight(arguments)
    job = prepare(data, base, arguments)
    if arguments.dry_run:
        logger.info("%s", plan(job))
        return output_dir
    job = with_encoder_cache(job)
    clips, splits = job.clips, job.splits
    folder = output_dir if data.folds else output_dir / run_folder.MODEL_FOLDER
    reports: list[SplitReport] = []
    for number, chosen in enumerate(splits):
        split_arguments = copy.copy(arguments)
        split_arguments.output_dir = str(output_dir if len(splits) == 1 else output_dir / chosen.name.replace(" ", "-"))
        trainer, report = _train_on(chosen, replace(job, arguments=split_arguments))
        reports.append(report)
        model = trainer.accelerator.unwrap_model(trainer.model)
        if number == 0 and not data.folds and trainer.is_world_process_zero():
            serving = ServingFile(
                schema_version=1,
                window_s=data.max_duration_s,
                temperature=report.temperature,
                confidence_threshold=report.threshold.uncertain_below,
                trained_on=TrainedOn(name=clips.name, synthetic=data.dataset == SYNTHETIC),
            )
            artefact.save(folder, model, job.extractor, serving)
    if arguments.process_index == 0:
        whole = _report(data, base, arguments, clips, model, tuple(reports))
        if data.folds:
            whole.write(folder)
        else:
            model_card.write(folder, whole, hub_model_id or output_dir.name)
        logger.info("Measured on %s:\n%s", clips.name, model_card.summary(whole))
        logger.info("The %s in %s", "figures are" if data.folds else "model is", folder)
        if hub_model_id is not None:
            _push(folder, hub_model_id)
    return folder


def _train_on(chosen: Split, job: Experiment) -> tuple[GenreTrainer, SplitReport]:
    """Train a model on one split, keep its best epoch, test it once."""
    logger.info("Split %s: %s", chosen.name, ", ".join(f"{count} {part}" for part, count in chosen.sizes.items()))
    arguments = job.arguments
    with arguments.main_process_first(local=False, desc="the checkpoints"):
        checkpoint = arguments.resume_from_checkpoint or run_folder.last_checkpoint(Path(str(arguments.output_dir)))
    if checkpoint is not None:
        logger.info("Resuming at %s", checkpoint)
    set_seed(arguments.seed)
    model = load_model(job.base, job.clips.genres)
    with encoder_cache.bypassed(model, wanted=job.encoded is not None):
        trainer = build(job, chosen, model=model)
        _fit(trainer, checkpoint)
    # From here on the whole model, as it will be served.
    trainer.compute_metrics = None
    validation = job.windows(chosen.validation)
    validated = predict(trainer, validation)
    tested = validated if chosen.chosen_on_test else predict(trainer, job.windows(chosen.test))
    robust: dict[str, npt.NDArray[np.bool_]] = {}
    # By the first process alone, which alone reports it.
    if arguments.robustness and trainer.is_world_process_zero():
        model = trainer.accelerator.unwrap_model(trainer.model)
        robust = robustness(
            chosen.test, make_predictor(model, job.extractor, job.window), sampling_rate=job.window.sampling_rate
        )
    report = measure(
        tested,
        None if chosen.chosen_on_test else validated,
        chosen,
        job.clips.genres,
        curve=_curve(trainer),
        robustness=robust,
    )
    return trainer, report


def _fit(trainer: Trainer, checkpoint: Path | str | None) -> None:
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
    # By its name: the folder may have moved since.
    trainer._load_from_checkpoint(str(Path(checkpoint).with_name(Path(best or checkpoint).name)))


def _curve(trainer: Trainer) -> list[dict[str, float]]:
    """Loss and accuracy by step, as the Trainer logged them."""
    points: dict[float, dict[str, float]] = {}
    for entry in trainer.state.log_history:
        for logged, name in (("loss", "loss"), ("eval_accuracy", "accuracy")):
            if logged in entry:
                points.setdefault(entry["step"], {"epoch": entry["epoch"]})[name] = entry[logged]
    return list(points.values())


def _push(folder: Path, hub_model_id: str) -> None:
    try:
        commit = hub.push(folder, hub_model_id)
    except TrainingError as error:
        again = f"python -m training.push {folder.parent} --hub_model_id {hub_model_id}"
        raise TrainingError(f"{error} The model is safe in {folder}; push it later with: {again}") from error
    logger.info("Pushed %s, commit %s", hub_model_id, commit)


def _settings(data: DataArguments, base: ModelArguments, arguments: GenreTrainingArguments) -> dict[str, Any]:
    return asdict(data) | asdict(base) | {name: _plain(getattr(arguments, name)) for name in _RECIPE}


def _plain(value: Any) -> Any:
    """The value of an enumeration, for JSON and the model card; other values as they are."""
    return getattr(value, "value", value)


def _preflight(arguments: GenreTrainingArguments) -> str | None:
    """The id of the repo to push to, proven writable; None when nothing is pushed."""
    if not arguments.push_to_hub:
        return None
    # The Trainer's own push would send checkpoints and training_args.bin, and hide its failures.
    arguments.push_to_hub = False
    repo_id = str(arguments.hub_model_id)
    return hub.preflight(repo_id, private=arguments.hub_private_repo) if arguments.process_index == 0 else repo_id


def _report(
    data: DataArguments,
    base: ModelArguments,
    arguments: GenreTrainingArguments,
    clips: Clips,
    model: PreTrainedModel,
    splits: tuple[SplitReport, ...],
) -> Report:
    tiny = base.model_name_or_path == TINY
    local = Path(base.model_name_or_path).is_dir()
    return Report(
        dataset=clips.name,
        dataset_id=data.dataset if clips.revision else None,
        dataset_revision=clips.revision,
        base_model=_base_name(base.model_name_or_path),
        base_model_id=None if tiny or local else base.model_name_or_path,
        recipe={name: value for name, value in _settings(data, base, arguments).items() if name in _SHOWN and value},
        seed=arguments.seed,
        skipped=clips.skipped,
        window_s=data.max_duration_s,
        parameters=model.num_parameters(),
        splits=splits,
    )


def _base_name(model_name_or_path: str) -> str:
    """The base model's name for the model card: a Hub id, or the name of a local folder."""
    if model_name_or_path == TINY:
        return "none: a small HuBERT, trained from scratch"
    return Path(model_name_or_path).name if Path(model_name_or_path).is_dir() else f"`{model_name_or_path}`"
