"""One training run, from the data to the pushed model, read from top to bottom."""

import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from datasets import DatasetDict
from transformers import PreTrainedModel, Trainer, set_seed
from transformers.trainer_utils import PredictionOutput

from training import artefact, card, hub, runs
from training.arguments import DataArguments, GenreTrainingArguments, ModelArguments
from training.data import Clips, load_clips
from training.errors import TrainingError
from training.export import export_graph
from training.features import evaluation_features, training_features
from training.metrics import accuracy, compute_metrics, confusion_matrix, macro_f1
from training.model import TINY, load_extractor, load_model, window_samples
from training.splits import split_random

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
)


def train(data: DataArguments, base: ModelArguments, arguments: GenreTrainingArguments) -> Path:
    """Train, evaluate, write the model folder, push it when asked to. Returns the model folder.

    Raises TrainingError when something must be changed first; what can be checked is checked before the first step.
    """
    output_dir = Path(str(arguments.output_dir))
    with arguments.main_process_first(local=False, desc="the output folder"):
        runs.claim(output_dir, _settings(data, base, arguments))
        checkpoint = arguments.resume_from_checkpoint or runs.last_checkpoint(output_dir)
    hub_model_id = _preflight(arguments)
    with arguments.main_process_first(local=False, desc="the clips"):
        clips = load_clips(data)
    splits = split_random(clips.dataset, arguments.seed)
    logger.info("%d clips to train on, %d held out", len(splits["train"]), len(splits["test"]))

    if checkpoint is not None:
        logger.info("Resuming at %s", checkpoint)

    set_seed(arguments.seed)
    window_s = data.max_duration_s
    extractor = load_extractor(base, max_duration_s=window_s)
    model = load_model(base, clips.genres)
    held_out = splits["test"].with_transform(evaluation_features(extractor, window_s=window_s))
    trainer = Trainer(
        model=model,
        args=arguments,
        train_dataset=splits["train"].with_transform(
            training_features(extractor, window_s=window_s, random_crop=data.random_crop)
        ),
        eval_dataset=held_out,
        compute_metrics=compute_metrics,
        processing_class=extractor,
    )
    trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))

    prediction = trainer.predict(held_out, metric_key_prefix="eval")
    folder = output_dir / runs.MODEL_FOLDER
    if trainer.is_world_process_zero():
        report = _report(data, base, arguments, clips, splits, model, prediction)
        artefact.save(folder, model, extractor, window_s=window_s)
        export_graph(folder, samples=window_samples(extractor, window_s))
        artefact.stamp_graphs(folder)
        card.write(folder, report, hub_model_id or output_dir.name)
        logger.info("Accuracy %.3f on %d held-out clips of %s", report.accuracy, len(splits["test"]), clips.name)
        logger.info("The model is in %s", folder)
        if hub_model_id is not None:
            _push(folder, hub_model_id)
    return folder


def _push(folder: Path, hub_model_id: str) -> None:
    try:
        commit = hub.push(folder, hub_model_id)
    except TrainingError as error:
        again = f"python -m training.push {folder.parent} --hub_model_id {hub_model_id}"
        raise TrainingError(f"{error} The model is safe in {folder}; push it later with: {again}") from error
    logger.info("Pushed %s, commit %s", hub_model_id, commit)


def _settings(data: DataArguments, base: ModelArguments, arguments: GenreTrainingArguments) -> dict[str, Any]:
    return asdict(data) | asdict(base) | {name: getattr(arguments, name) for name in _RECIPE}


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
    splits: DatasetDict,
    model: PreTrainedModel,
    prediction: PredictionOutput,
) -> card.Report:
    logits, references = np.asarray(prediction.predictions), np.asarray(prediction.label_ids)
    counts = confusion_matrix(logits, references)
    tiny = base.model_name_or_path == TINY
    local = Path(base.model_name_or_path).is_dir()
    return card.Report(
        dataset=clips.name,
        dataset_id=data.dataset if clips.revision else None,
        dataset_revision=clips.revision,
        base_model=_base_name(base.model_name_or_path),
        base_model_id=None if tiny or local else base.model_name_or_path,
        genres=clips.genres,
        split=data.split,
        seed=arguments.seed,
        clips={part: len(rows) for part, rows in splits.items()},
        skipped=clips.skipped,
        window_s=data.max_duration_s,
        parameters=model.num_parameters(),
        accuracy=accuracy(counts),
        macro_f1=macro_f1(counts),
        counts=counts,
    )


def _base_name(model_name_or_path: str) -> str:
    """How a reader of the card would call the base model; nobody else has our folders."""
    if model_name_or_path == TINY:
        return "none: a small HuBERT, trained from scratch"
    return Path(model_name_or_path).name if Path(model_name_or_path).is_dir() else f"`{model_name_or_path}`"
