"""Estimates steps, time and disk of a run before it starts: `--dry_run`."""

import copy
import math
import tempfile
import time
from dataclasses import replace
from typing import Any

import torch
from tabulate import tabulate
from torch.utils.data import DataLoader, Subset
from transformers import PreTrainedModel, TrainerCallback, default_data_collator, set_seed
from transformers.trainer_utils import IntervalStrategy, SaveStrategy

from training.data.inputs import ClipWindows
from training.data.splits import Split
from training.finetuning import encoder_cache
from training.finetuning.encoder_cache import EncodedClips, Size
from training.finetuning.experiment import Experiment
from training.finetuning.frozen_encoder import features
from training.finetuning.model import load_model
from training.finetuning.trainer import build, validation

# Steps that are timed, after one that warms up, and windows that are encoded: few are enough for an estimate.
_STEPS = 3
_WINDOWS = 4

# Weights are float32, and AdamW keeps two moments of each that is trained.
_WEIGHT_BYTES = 4
_MOMENTS_BYTES = 8


def estimate(experiment: Experiment) -> str:
    """A table of what would be done; time and disk are estimated from a few real steps and windows on this machine.

    Nothing stays on the disk but the data set's own cache, and what a stream holds out.
    """
    arguments, splits = experiment.arguments, experiment.splits
    set_seed(arguments.seed)
    windows = experiment.windows(experiment.clips.dataset)
    model = load_model(experiment.base, experiment.clips.genres)
    torch.nn.Module.to(model, arguments.device)
    encode_s, encoded_bytes = 0.0, 0
    if experiment.base.feature_encoder == "cached":
        size = encoder_cache.size(windows, model)
        encode_s, encoded_bytes = size.windows * _encode_s(windows, model, bf16=arguments.bf16), size.bytes
        experiment = replace(experiment, encoded=_blank(windows, size))
    trained = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    step_s, window_s = _timed(experiment, splits[0], model)
    steps = [_steps(experiment, split) for split in splits]
    windows_a_clip = len(windows) / len(windows.references)
    evaluated = windows_a_clip * arguments.num_train_epochs * sum(split.sizes["validation"] for split in splits)
    seconds = encode_s + sum(steps) * step_s + evaluated * window_s
    kept = (arguments.save_total_limit or math.ceil(arguments.num_train_epochs)) + 1
    checkpoint_bytes = _WEIGHT_BYTES * model.num_parameters() + _MOMENTS_BYTES * trained
    rows = [
        ("clips", f"{len(experiment.clips.dataset)} of {experiment.clips.name}, {len(experiment.clips.genres)} genres"),
        *(
            (f"split {split.name}", ", ".join(f"{count} {part}" for part, count in split.sizes.items()))
            for split in splits
        ),
        ("windows", f"{len(windows)} of {experiment.data.max_duration_s:g} s"),
        ("steps", f"{sum(steps)} of {_batch(experiment)} clips"),
        ("parameters", f"{model.num_parameters():,}, of which {trained:,} are trained"),
        ("time", f"about {_clock(seconds)}: {step_s:.2f} s a step, {window_s:.3f} s to evaluate a window"),
        *([("encoder cache", f"{encoded_bytes / 1e9:.2f} GB, about {_clock(encode_s)} once")] if encoded_bytes else []),
        ("checkpoints", f"{len(splits) * kept * checkpoint_bytes / 1e9:.2f} GB in {arguments.output_dir}"),
        ("clips on disk", f"{experiment.clips.dataset.data.nbytes / 1e9:.2f} GB"),
    ]
    table: str = tabulate(rows, tablefmt="plain")
    return f"What this command would do:\n{table}"


def _batch(experiment: Experiment) -> int:
    """Clips of a step, over all processes."""
    arguments = experiment.arguments
    return int(arguments.train_batch_size * arguments.gradient_accumulation_steps * arguments.world_size)


def _steps(experiment: Experiment, split: Split) -> int:
    arguments = experiment.arguments
    if arguments.max_steps > 0:
        return arguments.max_steps
    return math.ceil(arguments.num_train_epochs * math.ceil(split.sizes["train"] / _batch(experiment)))


def _encode_s(windows: ClipWindows, model: PreTrainedModel, *, bf16: bool) -> float:
    """Seconds for one window, decoding included."""
    few = Subset(windows, range(min(_WINDOWS, len(windows))))
    loader = DataLoader(few, batch_size=1, collate_fn=default_data_collator)
    ends = [time.perf_counter() for _ in features(loader, model, bf16=bf16)]
    # The first one warms up.
    return (ends[-1] - ends[0]) / max(1, len(ends) - 1)


def _blank(windows: ClipWindows, size: Size) -> EncodedClips:
    """A zero-stride tensor of the right shape, enough for timing."""
    zeros = torch.zeros(1, 1, 1, dtype=torch.bfloat16).expand(size.windows, *size.shape)
    return EncodedClips(zeros, windows.clips, windows.references)


def _timed(experiment: Experiment, split: Split, model: PreTrainedModel) -> tuple[float, float]:
    """Seconds of a training step, and of evaluating a window."""
    with tempfile.TemporaryDirectory() as scratch, encoder_cache.bypassed(model, wanted=experiment.encoded is not None):
        arguments = copy.copy(experiment.arguments)
        arguments.output_dir = scratch
        arguments.max_steps = _STEPS + 1
        arguments.eval_strategy, arguments.logging_strategy = IntervalStrategy.NO, IntervalStrategy.NO
        arguments.save_strategy, arguments.load_best_model_at_end = SaveStrategy.NO, False
        arguments.report_to, arguments.disable_tqdm = [], True
        trainer = build(replace(experiment, arguments=arguments), split, model=model)
        clock = _Clock()
        trainer.add_callback(clock)
        trainer.train()
        held_out = validation(experiment, split)
        few = Subset(held_out, range(min(_WINDOWS, len(held_out))))  # type: ignore[arg-type]
        trainer.compute_metrics = None
        trainer.predict(few)
        started = time.perf_counter()
        trainer.predict(few)
        window_s = (time.perf_counter() - started) / len(few)
    return (clock.ends[-1] - clock.ends[0]) / _STEPS, window_s


class _Clock(TrainerCallback):
    """Callback that notes the end of each step."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.ends.append(time.perf_counter())


def _clock(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5_400 else f"{seconds / 3_600:.1f} h"
