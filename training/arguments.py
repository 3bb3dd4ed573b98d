"""The options of the training job: ours, and Hugging Face's `TrainingArguments` with our defaults."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from transformers import TrainingArguments
from transformers.trainer_utils import IntervalStrategy, SaveStrategy

from service.model.serving_file import MAX_WINDOW_S

RecipeName = Literal["course", "best"]

RECIPES: Mapping[RecipeName, Mapping[str, Any]] = {
    # The defaults of `training.arguments`: the Hugging Face audio course, unit 4.
    "course": {},
    # What cost no accuracy beyond the noise in the ablation (docs/training.md, Recipes), and saves most of the time.
    "best": {"feature_encoder": "cached", "attention_dropout": 0.0, "auto_precision": "all"},
}


@dataclass
class DataArguments:
    """Options of the data: its source, its split, the part of a clip that the model sees."""

    dataset: str = field(
        default="marsyas/gtzan",
        metadata={
            "help": "A data set on the Hub (files, archives or tables), a local folder <genre>/<clip>, a .zip or "
            ".tar.gz of one, a folder of tables (parquet, save_to_disk), or `synthetic` for synthetic music."
        },
    )
    dataset_revision: str = field(
        default="main",
        metadata={"help": "Branch, tag or commit of the data set on the Hub; the card names the commit."},
    )
    dataset_config: str | None = field(
        default=None, metadata={"help": "Configuration of a data set on the Hub that has several."}
    )
    dataset_split: str | None = field(
        default=None,
        metadata={"help": "Parts of the data set to use, such as train+test; by default all, as clips are split anew."},
    )
    audio_column: str | None = field(
        default=None, metadata={"help": "Column of the audio, or of its file; by default the only one of audio."}
    )
    genre_column: str | None = field(
        default=None, metadata={"help": "Column of the genre; by default `genre`, `label`, `genres` or `labels`."}
    )
    split: Literal["random", "artist", "both"] = field(
        default="random",
        metadata={
            "help": "random: 10 %% of the clips of each genre are held out, drawn by --seed, as in published figures. "
            "artist: no artist is on two sides (for GTZAN the fault-filtered 443/197/290 clips); the epoch is chosen "
            "on validation clips, the test is touched once. both: trains on each, keeps the model of artist, tells the "
            "gap."
        },
    )
    streaming: bool = field(
        default=False,
        metadata={
            "help": "For data sets that do not fit the disk: read the clips anew in each epoch, store none but those "
            "held out (10 %% of each genre, 100 at most, told by their content)."
        },
    )
    max_duration_s: float = field(
        default=30.0, metadata={"help": "Seconds of a clip that the model sees; also the window of the served model."}
    )
    random_crop: bool = field(
        default=False,
        metadata={"help": "Train on a random window of each clip, another each epoch, instead of on its beginning."},
    )
    synthetic_clips_per_genre: int = field(default=100, metadata={"help": "Clips of each genre of synthetic music."})
    synthetic_duration_s: float = field(
        default=30.0, metadata={"help": "Length in seconds of a clip of synthetic music."}
    )

    def __post_init__(self) -> None:
        if not 1 <= self.max_duration_s <= MAX_WINDOW_S:
            raise ValueError(f"--max_duration_s must be from 1 to {MAX_WINDOW_S:g} seconds.")
        if self.streaming and self.split != "random":
            raise ValueError("--streaming holds out clips by their content. Leave out --split.")
        if self.synthetic_clips_per_genre < 2:
            raise ValueError("--synthetic_clips_per_genre must be at least 2: one to train on, one to hold out.")
        if not 1 <= self.synthetic_duration_s <= 600:
            raise ValueError("--synthetic_duration_s must be from 1 to 600 seconds.")


@dataclass
class ModelArguments:
    """Options of the base model."""

    model_name_or_path: str = field(
        default="ntu-spml/distilhubert",
        metadata={"help": "A HuBERT, wav2vec2 or WavLM on the Hub or in a folder, or `tiny` for a small new HuBERT."},
    )
    model_revision: str = field(default="main", metadata={"help": "Branch, tag or commit of that model on the Hub."})
    feature_encoder: Literal["trained", "frozen", "cached"] = field(
        default="trained",
        metadata={
            "help": "The convolutions before the transformer, most of the work. frozen: they stay as they are. cached: "
            "also computed only once for each window, and kept on disk."
        },
    )
    attention_dropout: float | None = field(
        default=None, metadata={"help": "Dropout on the attention matrix; the base model's own by default."}
    )
    new_head: bool = field(
        default=False,
        metadata={"help": "Let a model that tells other genres learn those of the data; otherwise they stop the run."},
    )


# What the evaluation of an epoch measures.
_METRICS = ("accuracy", "macro_f1", "loss")


@dataclass
class GenreTrainingArguments(TrainingArguments):
    """All of `TrainingArguments`; the defaults are those of the Hugging Face audio course, unit 4."""

    output_dir: str = field(
        default="runs/gtzan",
        metadata={
            "help": "Holds the checkpoints and, in model/, what is pushed. The same command again resumes there."
        },
    )
    learning_rate: float = field(default=5e-5, metadata={"help": "Peak learning rate of AdamW."})
    per_device_train_batch_size: int = field(default=8, metadata={"help": "Clips in a training batch, on each device."})
    num_train_epochs: float = field(default=10.0, metadata={"help": "Passes over the training clips."})
    warmup_steps: float = field(default=0.1, metadata={"help": "Warm-up in steps, or below 1 as a part of all steps."})
    eval_strategy: IntervalStrategy | str = field(default="epoch", metadata={"help": "When to evaluate."})
    save_strategy: SaveStrategy | str = field(default="epoch", metadata={"help": "When to save a checkpoint."})
    save_total_limit: int | None = field(
        default=2, metadata={"help": "Checkpoints kept; the best one is always among them."}
    )
    load_best_model_at_end: bool = field(default=True, metadata={"help": "Keep the best epoch, not the last."})
    metric_for_best_model: str | None = field(default="accuracy", metadata={"help": "What best means."})
    ddp_timeout: int = field(
        default=6 * 3_600,
        metadata={"help": "Seconds that processes wait for the first one, which reads the clips and fills the cache."},
    )
    logging_steps: float = field(default=10, metadata={"help": "Log the loss every so many steps."})
    report_to: None | str | list[str] = field(default="none", metadata={"help": "tensorboard, wandb ... or none."})
    remove_unused_columns: bool = field(
        default=False, metadata={"help": "Must stay off: the model's inputs are made from the audio column on the fly."}
    )
    recipe: RecipeName = field(
        default="course",
        metadata={"help": "Defaults of the options that are not given: those of the audio course, or what did best."},
    )
    class_weights: bool = field(
        default=False, metadata={"help": "Weigh the clips of rare genres more, so that each genre counts the same."}
    )
    dry_run: bool = field(
        default=False, metadata={"help": "Tell what would be done, how long it takes and how much disk, and stop."}
    )
    push_gate: bool = field(
        default=False,
        metadata={
            "help": "Before the push, compare with the model on the main branch, on the same held-out clips. A model "
            "that is worse beyond noise goes to a branch of its own."
        },
    )
    robustness: bool = field(
        default=True,
        metadata={"help": "After training, test under mp3, phone band, noise, other pitch and tempo, and excerpts."},
    )
    auto_precision: Literal["gpu", "all", "none"] = field(
        default="gpu",
        metadata={
            "help": "Unless --bf16 or --fp16 is given. gpu: on a GPU, train in bf16 where it has it, else fp16. all: "
            "on a CPU too, in bf16 where it has it. none: always in float32."
        },
    )

    def __post_init__(self) -> None:
        if self.hub_token is not None:
            # The Trainer would store it in training_args.bin.
            raise ValueError("--hub_token would be saved in the clear. Set the environment variable HF_TOKEN instead.")
        if self.push_to_hub and self.hub_model_id is None:
            raise ValueError("--push_to_hub needs --hub_model_id, such as you/genre.")
        if self.push_gate and not self.push_to_hub:
            raise ValueError("--push_gate decides about a push. Give --push_to_hub, too.")
        if (self.metric_for_best_model or "loss").removeprefix("eval_") not in _METRICS:
            raise ValueError(f"--metric_for_best_model must be one of {', '.join(_METRICS)}.")
        if not torch.accelerator.is_available():
            # Without this, transformers refuses bf16 where there is no GPU.
            self.use_cpu = True
        # Pinned memory speeds up copies to a GPU; without one torch only warns.
        self.dataloader_pin_memory = self.dataloader_pin_memory and torch.cuda.is_available()
        if not (self.bf16 or self.fp16):
            if self.use_cpu:
                self.bf16 = self.auto_precision == "all" and _cpu_has_bf16()
            elif self.auto_precision != "none" and torch.cuda.is_available():
                self.bf16 = torch.cuda.is_bf16_supported()
                self.fp16 = not self.bf16
        super().__post_init__()  # type: ignore[no-untyped-call]


def _cpu_has_bf16() -> bool:
    """Whether the CPU computes in bfloat16; without, torch converts each number, which is slower than float32."""
    return any(has and name.endswith("bf16") for name, has in torch.cpu.get_capabilities().items())
