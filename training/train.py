"""Trains a model: loads the data, fine-tunes, evaluates, saves and pushes."""

import logging
import tempfile
from dataclasses import replace
from pathlib import Path

import datasets

from service.model.artefact import Artefact, read_artefact
from service.model.serving_file import ServingFile, TrainedOn
from training import hub
from training.arguments import DataArguments, GenreTrainingArguments, ModelArguments
from training.data.sources import SYNTHETIC
from training.data.splits import Split
from training.errors import TrainingError
from training.evaluation.gate import judge
from training.evaluation.report import FamiliarityFigures, SplitReport
from training.finetuning import run_folder
from training.finetuning.description import describe, settings_of
from training.finetuning.dry_run import estimate
from training.finetuning.experiment import Experiment, prepare_experiment, with_encoder_cache
from training.finetuning.fit import fit
from training.finetuning.trainer import GenreTrainer
from training.publishing import artefact, familiarity, model_card
from training.publishing.release import release

logger = logging.getLogger(__name__)


def train(data: DataArguments, base: ModelArguments, arguments: GenreTrainingArguments) -> Path:
    """Train on each split that was asked for, evaluate, write the model folder, push it when asked to.

    Returns the model folder, which holds the model of the first split. Raises TrainingError when something must be
    changed first; what can be checked is checked before the first step.
    """
    output_dir = Path(str(arguments.output_dir))
    if arguments.dry_run:
        # The Trainer that is timed would create the repo.
        arguments.push_to_hub = False
        logger.info("%s", estimate(prepare_experiment(data, base, arguments)))
        return output_dir
    with arguments.main_process_first(local=False, desc="the output folder"):
        run_folder.lock_settings(output_dir, settings_of(data, base, arguments))
    hub_model_id = _preflight(arguments)
    experiment = prepare_experiment(data, base, arguments)
    with arguments.main_process_first(local=False, desc="the clips of the run"):
        run_folder.lock_clips(output_dir, experiment.clips.digests)
    experiment = with_encoder_cache(experiment)
    current = _current(arguments, hub_model_id, experiment.clips.genres)
    folder = output_dir / run_folder.MODEL_FOLDER
    reports: list[SplitReport] = []
    figures: FamiliarityFigures | None = None
    for split in experiment.splits:
        trainer, report = fit(experiment.in_own_folder(split), split)
        if not reports:
            figures = _save(folder, experiment, split, trainer, report)
        reports.append(report)
    if arguments.process_index == 0:
        parameters = trainer.accelerator.unwrap_model(trainer.model).num_parameters()
        report_of_run = replace(describe(experiment, reports, parameters=parameters), familiarity=figures)
        if current is not None:
            new = read_artefact(folder, model_id=str(hub_model_id), revision=None)
            verdict = judge(new, current, experiment.splits[0].test, experiment.clips.genres)
            report_of_run = replace(report_of_run, gate=verdict)
        model_card.write(folder, report_of_run, hub_model_id or output_dir.name)
        logger.info("Measured on %s:\n%s", experiment.clips.name, model_card.summary(report_of_run))
        logger.info("The model is in %s", folder)
        if hub_model_id is not None:
            release(folder, hub_model_id, report_of_run.gate)
    return folder


def _current(arguments: GenreTrainingArguments, hub_model_id: str | None, genres: list[str]) -> Artefact | None:
    """The model that the push gate compares with. Raises TrainingError, before any training, where that cannot be."""
    if hub_model_id is None or not arguments.push_gate or arguments.process_index != 0:
        return None
    current = hub.current_model(hub_model_id)
    if current is not None and set(current.labels) != set(genres):
        raise TrainingError(
            f"--push_gate compares models of the same genres. {hub_model_id} tells {', '.join(current.labels)}; the "
            f"data has {', '.join(genres)}. Leave out --push_gate, or push to another repo."
        )
    return current


def _save(
    folder: Path, experiment: Experiment, split: Split, trainer: GenreTrainer, report: SplitReport
) -> FamiliarityFigures | None:
    """Write the model folder, by the first process. Returns how well unfamiliar recordings are told."""
    if not trainer.is_world_process_zero():
        return None
    data = experiment.data
    serving = ServingFile(
        schema_version=1,
        window_s=data.max_duration_s,
        temperature=report.temperature,
        confidence_threshold=report.threshold.uncertain_below,
        reference=report.reference,
        trained_on=TrainedOn(name=experiment.clips.name, synthetic=data.dataset == SYNTHETIC),
    )
    artefact.save(folder, trainer.accelerator.unwrap_model(trainer.model), experiment.extractor, serving)
    seed = experiment.arguments.seed
    held_out = sorted({*split.indices["validation"], *split.indices["test"]})
    rest = experiment.clips.dataset.select(held_out).shuffle(seed=seed)
    with tempfile.TemporaryDirectory(prefix="sample-", dir=experiment.arguments.output_dir) as scratch:
        train = (
            split.train.shuffle(seed=seed)
            if split.stream is None
            else split.stream.sample(familiarity.MAX_CLIPS, Path(scratch))
        )
        return familiarity.write(folder, _at_most(train), _at_most(rest), experiment.arguments.device)


def _at_most(clips: datasets.Dataset) -> datasets.Dataset:
    return clips.select(range(min(familiarity.MAX_CLIPS, len(clips))))


def _preflight(arguments: GenreTrainingArguments) -> str | None:
    """The id of the repo to push to, proven writable; None when nothing is pushed."""
    if not arguments.push_to_hub:
        return None
    # The Trainer's own push would send checkpoints and training_args.bin, and hide its failures.
    arguments.push_to_hub = False
    repo_id = str(arguments.hub_model_id)
    return hub.preflight(repo_id, private=arguments.hub_private_repo) if arguments.process_index == 0 else repo_id
