"""The mean of the weights of the last epochs, which may do better than any of them (Izmailov et al., 2018)."""

import logging
from pathlib import Path

import torch
from safetensors.torch import load_file

from training.trainer import GenreTrainer

logger = logging.getLogger(__name__)


def keep_mean_if_better(trainer: GenreTrainer) -> None:
    """Average the weights of the last `average_checkpoints`; keep the mean if its validation accuracy is no lower."""
    count = trainer.args.average_checkpoints
    folders = sorted(
        Path(str(trainer.args.output_dir)).glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1])
    )[-count:]
    if not count or len(folders) < 2:
        return
    model = trainer.accelerator.unwrap_model(trainer.model)
    best = {name: weight.clone() for name, weight in model.state_dict().items()}
    states = [load_file(folder / "model.safetensors") for folder in folders]
    mean = {
        name: torch.stack([state[name].float() for state in states]).mean(dim=0).to(weight.dtype)
        for name, weight in states[0].items()
    }
    metric = "eval_accuracy"
    model.load_state_dict(mean, strict=False)
    accuracy = trainer.evaluate()[metric]
    logger.info("Mean of %d epochs: accuracy %.3f; best epoch: %.3f", len(folders), accuracy, trainer.state.best_metric)
    if accuracy < (trainer.state.best_metric or 0.0):
        model.load_state_dict(best)
