"""Describes a run: the settings that decide its weights, and the report of what it trained."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from training.arguments import DataArguments, GenreTrainingArguments, ModelArguments
from training.evaluation.report import Report, SplitReport
from training.finetuning.experiment import Experiment
from training.finetuning.model import TINY

# Options of the Trainer that determine the weights; nothing about where or how they are computed.
_RECIPE = (
    "seed",
    "learning_rate",
    "num_train_epochs",
    "max_steps",
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "warmup_steps",
    "weight_decay",
    "optim",
    "adam_beta1",
    "adam_beta2",
    "adam_epsilon",
    "max_grad_norm",
    "lr_scheduler_kwargs",
    "data_seed",
    "lr_scheduler_type",
    "label_smoothing_factor",
    "class_weights",
    "load_best_model_at_end",
    "metric_for_best_model",
    "greater_is_better",
)

# The card shows these options, and those of data and model, where they are set.
_SHOWN = {*_RECIPE, "random_crop", "feature_encoder", "attention_dropout"} - {
    "seed",
    "load_best_model_at_end",
    "greater_is_better",
}


def settings_of(data: DataArguments, base: ModelArguments, arguments: GenreTrainingArguments) -> dict[str, Any]:
    """Options that determine the weights. A run folder is resumed only if they are unchanged."""
    return asdict(data) | asdict(base) | {name: _plain(getattr(arguments, name)) for name in _RECIPE}


def describe(experiment: Experiment, reports: list[SplitReport], *, parameters: int) -> Report:
    """The report of a run. parameters: of its model."""
    data, base, arguments = experiment.data, experiment.base, experiment.arguments
    name = base.model_name_or_path
    is_on_hub = name != TINY and not Path(name).is_dir()
    settings = settings_of(data, base, arguments)
    return Report(
        dataset=experiment.clips.name,
        dataset_id=data.dataset if experiment.clips.revision else None,
        dataset_revision=experiment.clips.revision,
        base_model=_base_name(name),
        base_model_id=name if is_on_hub else None,
        recipe={name: value for name, value in settings.items() if name in _SHOWN and value},
        seed=arguments.seed,
        skipped=experiment.clips.skipped,
        warnings=experiment.clips.warnings,
        window_s=data.max_duration_s,
        parameters=parameters,
        splits=tuple(reports),
    )


def _plain(value: Any) -> Any:
    """The value of an enumeration, for JSON and the model card; other values as they are."""
    return getattr(value, "value", value)


def _base_name(model_name_or_path: str) -> str:
    """The base model's name for the model card: a Hub id, or the name of a local folder."""
    if model_name_or_path == TINY:
        return "none: a small HuBERT, trained from scratch"
    return Path(model_name_or_path).name if Path(model_name_or_path).is_dir() else f"`{model_name_or_path}`"
