"""The Trainer of one model on one split: its training windows, its loss and the metrics of an epoch."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset
from transformers import (
    EvalPrediction,
    PreTrainedModel,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
    default_data_collator,
)

from training.data.inputs import ClipWindows, EpochSeeded, Inputs, TrainingWindows
from training.data.splits import Split
from training.data.streaming import StreamedWindows
from training.evaluation import metrics
from training.evaluation.predictions import Labels, Predictions
from training.finetuning.encoder_cache import OneWindow
from training.finetuning.experiment import Experiment


def build(
    experiment: Experiment,
    split: Split,
    *,
    model: PreTrainedModel | None = None,
    model_init: Callable[[], PreTrainedModel] | None = None,
) -> "GenreTrainer":
    """The Trainer of a model, or of models of one kind, whose encoder is bypassed where its output is cached."""
    windows = experiment.windows(split.validation)
    training = _training(experiment, split)
    return GenreTrainer(
        model=model,
        model_init=model_init,
        args=experiment.arguments,
        train_dataset=training,
        eval_dataset=validation(experiment, split),
        data_collator=default_data_collator,
        compute_metrics=lambda prediction: _epoch_metrics(prediction, windows),
        callbacks=[ExactResume(training)],
        class_weights=class_weights(split) if experiment.arguments.class_weights else None,
    )


def validation(experiment: Experiment, split: Split) -> Dataset[Inputs]:
    """Data that an epoch is evaluated on."""
    if experiment.encoded is not None:
        return experiment.encoded.evaluation(split.indices["validation"])
    return experiment.windows(split.validation)


def _training(experiment: Experiment, split: Split) -> OneWindow | TrainingWindows | StreamedWindows:
    data, seed = experiment.data, experiment.arguments.seed
    if experiment.encoded is not None:
        return experiment.encoded.training(split.indices["train"], seed=seed, random_crop=data.random_crop)
    windows = TrainingWindows(
        split.train,
        experiment.extractor,
        experiment.window,
        seed=seed,
        random_crop=data.random_crop,
    )
    return windows if split.stream is None else StreamedWindows(split.stream, windows)


class GenreTrainer(Trainer):
    """Trainer whose loss is the mean over a batch.

    transformers takes the loss of HuBERT for a sum over tokens: it multiplies it by the number of processes, and does
    not divide it by the accumulated steps.

    class_weights: float32 (genres,).
    """

    loss_is_scaled_for_ga = False

    def __init__(self, *, class_weights: torch.Tensor | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._class_weights = class_weights

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, torch.Tensor],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """Mean cross-entropy of a batch, weighted by genre where weights are given."""
        labels = inputs.pop("labels")
        logits = model(**inputs).logits.float()
        losses = torch.nn.functional.cross_entropy(
            logits,
            labels,
            weight=None if self._class_weights is None else self._class_weights.to(logits.device),
            label_smoothing=self.args.label_smoothing_factor if model.training else 0.0,
            reduction="none",
        )
        # torch's own mean divides by the weights of the batch, so that in a batch of one they would cancel.
        loss = losses.mean()
        return (loss, {"loss": loss, "logits": logits}) if return_outputs else loss


class ExactResume(TrainerCallback):
    """Tells the data its epoch, which is lost on data that is resumed amid an epoch (accelerate 1.15), and logs the
    loss before each checkpoint, as its sum since the last log is not stored."""

    def __init__(self, data: EpochSeeded) -> None:
        self._data = data

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        """Tell the data its epoch."""
        self._data.set_epoch(int(state.epoch or 0))
        return control

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        """Log the loss before a checkpoint within an epoch."""
        control.should_log |= control.should_save
        return control

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        """Log the loss before a checkpoint at the end of an epoch."""
        control.should_log |= control.should_save
        return control


def predict(trainer: Trainer, windows: ClipWindows) -> Predictions:
    """Predictions of the trained model for windows of clips."""
    logits = np.asarray(trainer.predict(windows).predictions)
    return Predictions(logits, windows.clips, windows.references)


def _epoch_metrics(prediction: EvalPrediction, windows: ClipWindows) -> dict[str, float]:
    """accuracy and macro_f1 of whole clips, each in 0..1."""
    logits = np.asarray(prediction.predictions)
    probabilities = Predictions(logits, windows.clips, windows.references).probabilities()
    return {
        "accuracy": metrics.accuracy(probabilities, windows.references),
        "macro_f1": metrics.macro_f1(probabilities, windows.references),
    }


def class_weights(split: Split) -> torch.Tensor:
    """The inverse of how often a genre occurs, 1 on average over the clips."""
    labels: Labels = np.asarray(split.train["genre"], np.int64)
    counts = np.asarray(split.stream.counts) if split.stream else np.bincount(labels)
    return torch.tensor(counts.sum() / (len(counts) * counts), dtype=torch.float32)
