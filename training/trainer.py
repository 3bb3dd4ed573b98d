"""The Trainer of one model on one split: which windows it sees, which loss it descends, how an epoch is judged."""

from collections.abc import Callable
from typing import Any, cast

import numpy as np
import torch
from torch.utils.data import Dataset
from transformers import (
    EarlyStoppingCallback,
    EvalPrediction,
    PreTrainedModel,
    Trainer,
    default_data_collator,
)

from training import metrics
from training.arguments import GenreTrainingArguments
from training.checkpoints import ExactResume
from training.encoder_cache import OneWindow
from training.features import ClipWindows, Inputs, TrainingWindows
from training.job import Job
from training.predictions import Labels, Predictions
from training.splits import Split
from training.streaming import StreamedWindows


def build(
    job: Job,
    split: Split,
    *,
    model: PreTrainedModel | None = None,
    model_init: Callable[[], PreTrainedModel] | None = None,
) -> "GenreTrainer":
    """The Trainer of a model, or of models of one kind, whose encoder is bypassed where `job.encoded` stands in."""
    windows = job.windows(split.validation)
    training = _training(job, split)
    return GenreTrainer(
        model=model,
        model_init=model_init,
        args=job.arguments,
        train_dataset=training,
        eval_dataset=validation(job, split),
        data_collator=default_data_collator,
        compute_metrics=lambda prediction: _epoch_metrics(prediction, windows),
        callbacks=[ExactResume(training)],
        class_weights=_class_weights(split) if job.arguments.class_weights else None,
    )


def validation(job: Job, split: Split) -> Dataset[Inputs]:
    """What the epoch is judged on."""
    if job.encoded is not None:
        return job.encoded.evaluation(split.indices["validation"])
    return job.windows(split.validation)


def _training(job: Job, split: Split) -> OneWindow | TrainingWindows | StreamedWindows:
    data, seed = job.data, job.arguments.seed
    if job.encoded is not None:
        return job.encoded.training(split.indices["train"], seed=seed, random_crop=data.random_crop)
    windows = TrainingWindows(
        split.train,
        job.extractor,
        window_s=data.max_duration_s,
        seed=seed,
        random_crop=data.random_crop,
        augment=data.augmentation,
    )
    return windows if split.stream is None else StreamedWindows(split.stream, windows)


class GenreTrainer(Trainer):
    """transformers takes the loss of HuBERT for a sum over tokens: it multiplies it by the number of processes, and
    does not divide it by the accumulated steps. This one is the mean over a batch, and is said to be one.

    class_weights: float32 (genres,).
    """

    args: GenreTrainingArguments
    loss_is_scaled_for_ga = False

    def __init__(self, *, class_weights: torch.Tensor | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._class_weights = class_weights
        if self.args.early_stopping_patience:
            self.add_callback(EarlyStoppingCallback(self.args.early_stopping_patience))

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, torch.Tensor],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        labels = inputs.pop("labels")
        weight = None if self._class_weights is None else self._class_weights.to(labels.device)
        mixup = self.args.mixup if model.training else 0.0
        if mixup:
            share = float(np.random.beta(mixup, mixup))
            partner = torch.randperm(len(labels), device=labels.device)
            values = inputs["input_values"]
            inputs["input_values"] = share * values + (1 - share) * values[partner]
        outputs = model(**inputs)
        smoothing = self.args.label_smoothing_factor if model.training else 0.0
        loss_of = torch.nn.CrossEntropyLoss(weight, label_smoothing=smoothing)
        logits = outputs.logits.float()
        loss = loss_of(logits, labels)
        if mixup:
            loss = share * loss + (1 - share) * loss_of(logits, labels[partner])
        return (loss, {"loss": loss, "logits": outputs.logits}) if return_outputs else loss

    def create_optimizer(self, model: torch.nn.Module | None = None) -> torch.optim.Optimizer:
        optimizer = super().create_optimizer(model)
        if self.args.layer_decay < 1 and len(optimizer.param_groups) == 2:
            of_model = cast(PreTrainedModel, self.model if model is None else model)
            layers = int(of_model.config.num_hidden_layers)
            depth_of = {id(parameter): _depth(name, layers) for name, parameter in of_model.named_parameters()}
            groups = []
            for group in optimizer.param_groups:
                for depth in sorted({depth_of[id(parameter)] for parameter in group["params"]}):
                    chosen = [parameter for parameter in group["params"] if depth_of[id(parameter)] == depth]
                    groups.append({**group, "params": chosen, "lr": group["lr"] * self.args.layer_decay**depth})
            optimizer.param_groups[:] = groups
        return optimizer


def _depth(name: str, layers: int) -> int:
    """0 for the head, then a layer each, the encoder of the waveform last."""
    if "encoder.layers." in name:
        return layers - int(name.split("encoder.layers.")[1].split(".")[0])
    if "feature_extractor" in name:
        return layers + 2
    return 0 if name.startswith(("classifier", "projector")) else layers + 1


def predict(trainer: Trainer, windows: ClipWindows) -> Predictions:
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


def _class_weights(split: Split) -> torch.Tensor:
    """The inverse of how often a genre occurs, 1 on average over the clips."""
    labels: Labels = np.asarray(split.train["genre"], np.int64)
    counts = np.bincount(labels)
    return torch.tensor(len(labels) / (len(counts) * counts), dtype=torch.float32)
