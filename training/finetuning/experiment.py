"""An experiment: the data that the trainings of a run share."""

import copy
from dataclasses import dataclass, replace
from pathlib import Path

import datasets
import torch
from transformers import Wav2Vec2FeatureExtractor, set_seed

from service.audio import DEFAULT_MAX_WINDOWS, WindowSpec
from training.arguments import DataArguments, GenreTrainingArguments, ModelArguments
from training.data.clips import Clips, load_clips
from training.data.inputs import ClipWindows
from training.data.splits import Split, split, split_folds
from training.data.streaming import stream_clips
from training.errors import TrainingError
from training.finetuning import encoder_cache, run_folder
from training.finetuning.encoder_cache import EncodedClips
from training.finetuning.model import known_genres, load_extractor, load_model


@dataclass(frozen=True)
class Experiment:
    """Data, options and splits of a run.

    splits: the first is that of the model that is kept. encoded: the frozen encoder's output, if it is cached.
    """

    data: DataArguments
    base: ModelArguments
    arguments: GenreTrainingArguments
    clips: Clips
    splits: list[Split]
    extractor: Wav2Vec2FeatureExtractor
    encoded: EncodedClips | None = None

    @property
    def window(self) -> WindowSpec:
        """The windows that the model is trained on and served."""
        return WindowSpec(self.extractor.sampling_rate, self.data.max_duration_s)

    def in_own_folder(self, split: Split) -> "Experiment":
        """The experiment with a folder for the checkpoints of one of several splits."""
        if len(self.splits) == 1:
            return self
        arguments = copy.copy(self.arguments)
        arguments.output_dir = str(Path(str(arguments.output_dir), split.name.replace(" ", "-")))
        return replace(self, arguments=arguments)

    def windows(self, clips: datasets.Dataset) -> ClipWindows:
        """The windows of some of the clips, as the service would cut them."""
        return ClipWindows(clips, self.extractor, self.window, max_windows=DEFAULT_MAX_WINDOWS)


def prepare_experiment(
    data: DataArguments, base: ModelArguments, arguments: GenreTrainingArguments, *, folds: int = 0
) -> Experiment:
    """Load and split the clips. folds: splits of a cross-validation; 0 for the splits of `--split`.

    Raises TrainingError for what must be changed before the first step."""
    if data.streaming and base.feature_encoder == "cached":
        raise TrainingError(
            "The encoder's output takes more disk than the clips. Stream with --feature_encoder frozen."
        )
    # The base first: it is small, and the clips may be hours of download.
    known = known_genres(base)
    extractor = load_extractor(base, max_duration_s=data.max_duration_s)
    with arguments.main_process_first(local=False, desc="the clips"):
        if data.streaming:
            folder = Path(str(arguments.output_dir), run_folder.HELD_OUT_FOLDER)
            clips, streamed = stream_clips(data, folder, arguments.seed, known)
            splits = [streamed]
        else:
            clips = load_clips(data, known)
            splits = split_folds(clips, folds, arguments.seed) if folds else _splits(clips, data, arguments.seed)
    if len(splits) > 1 and arguments.resume_from_checkpoint:
        raise TrainingError(
            "Each split has checkpoints of its own, which the same command finds by itself. Leave out "
            "--resume_from_checkpoint."
        )
    return Experiment(data, base, arguments, clips, splits, extractor)


def with_encoder_cache(experiment: Experiment) -> Experiment:
    """The experiment with the frozen encoder's output, computed once for all splits, where it is to be cached."""
    if experiment.base.feature_encoder != "cached":
        return experiment
    arguments = experiment.arguments
    # A new small model draws its encoder from the seed.
    set_seed(arguments.seed)
    model = load_model(experiment.base, experiment.clips.genres)
    torch.nn.Module.to(model, arguments.device)
    windows = experiment.windows(experiment.clips.dataset)
    with arguments.main_process_first(desc="the encoder's output"):
        encoded = encoder_cache.encode(
            experiment.clips,
            windows,
            model,
            encoder_cache.default_folder(),
            bf16=arguments.bf16,
            batch_size=arguments.per_device_eval_batch_size,
        )
    return replace(experiment, encoded=encoded)


def _splits(clips: Clips, data: DataArguments, seed: int) -> list[Split]:
    if data.split != "both":
        return [split(clips, data.split, seed)]
    # The figures of the model that is kept shall hold for artists that were never heard.
    artist, random = split(clips, "artist", seed), split(clips, "random", seed)
    return [artist, random] if artist.name == "artist" else [random]
