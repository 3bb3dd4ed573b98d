"""The output of a frozen feature encoder: the same for a window in every epoch, so computed once and kept in a file.

The convolutions of the feature encoder cost three quarters of a pass through DistilHuBERT. The file is memory-mapped
bfloat16, lies beside the cache of `datasets`, is shared by all runs of the same clips and encoder, and may be deleted
at any time.
"""

import hashlib
import logging
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import datasets
import numpy as np
import torch
from filelock import FileLock
from torch.utils.data import DataLoader, Dataset, Subset
from tqdm import tqdm
from transformers import PreTrainedModel, default_data_collator

from training.data.clips import Clips
from training.data.inputs import ClipWindows, EpochSeeded, Inputs
from training.errors import TrainingError
from training.evaluation.predictions import Labels
from training.finetuning.frozen_encoder import features

logger = logging.getLogger(__name__)

_BF16_BYTES = 2


@dataclass(frozen=True)
class EncodedClips:
    """The encoded windows of all clips of a data set.

    features: bfloat16 (windows, channels, frames), memory-mapped. clips: int64 (windows,), ascending, the index of each
    window's clip. references: int64 (clips,), the true genres.
    """

    features: torch.Tensor
    clips: Labels
    references: Labels

    def training(self, indices: Sequence[int], *, seed: int, random_crop: bool) -> "OneWindow":
        """Training windows, one of each of these clips: the first, or a random one in each epoch."""
        return OneWindow(self, indices, seed=seed, random_crop=random_crop)

    def evaluation(self, indices: Sequence[int]) -> Dataset[Inputs]:
        """All windows of these clips, one after the other, as `ClipWindows` of them has them."""
        return _AllWindows(self, indices)

    def inputs(self, window: int) -> Inputs:
        """Inputs of the model behind the encoder, of one window."""
        return {"input_values": self.features[window], "labels": int(self.references[self.clips[window]])}


@dataclass(frozen=True)
class Size:
    """Size of a cache: its windows, and the bytes of each.

    shape: channels and frames of a window.
    """

    windows: int
    shape: tuple[int, int]

    @property
    def window_bytes(self) -> int:
        """Bytes of a window."""
        return _BF16_BYTES * self.shape[0] * self.shape[1]

    @property
    def bytes(self) -> int:
        """Bytes of all windows."""
        return self.windows * self.window_bytes


def size(windows: ClipWindows, model: PreTrainedModel) -> Size:
    """The size of the cache of these windows."""
    frames = int(cast(Any, model)._get_feat_extract_output_lengths(torch.tensor(windows.samples)))
    return Size(len(windows), (model.config.conv_dim[-1], frames))


def default_folder() -> Path:
    """Beside the clips, in the cache of `datasets`."""
    return Path(datasets.config.HF_DATASETS_CACHE, "encoder-output")


def encode(
    clips: Clips, windows: ClipWindows, model: PreTrainedModel, folder: Path, *, bf16: bool, batch_size: int
) -> EncodedClips:
    """Compute what is not in the cache yet, and open it. A kill loses at most one batch.

    windows: of all the clips. model: on the device that shall compute. bf16: compute in it; what is kept always is.
    Raises TrainingError when the disk is full.
    """
    needed = size(windows, model)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{_fingerprint(clips, windows, model, bf16=bf16)}.bf16"
    with FileLock(path.with_suffix(".lock")):
        if not path.is_file():
            _write(path, needed, windows, model, bf16=bf16, batch_size=batch_size)
    count = needed.bytes // _BF16_BYTES
    mapped = torch.from_file(str(path), shared=False, size=count, dtype=torch.bfloat16)
    return EncodedClips(mapped.view(needed.windows, *needed.shape), windows.clips, windows.references)


@contextmanager
def bypassed(model: PreTrainedModel, *, wanted: bool) -> Iterator[None]:
    """Within, the model takes encoded windows (n, channels, frames) as its input_values, not waveforms."""
    if not wanted:
        yield
        return
    encoder = bypass(model)
    try:
        yield
    finally:
        model.base_model.feature_extractor = encoder


def bypass(model: PreTrainedModel) -> torch.nn.Module:
    """Bypass the encoder for good, and return it."""
    encoder = model.base_model.get_submodule("feature_extractor")
    model.base_model.feature_extractor = _Bypass()
    return encoder


class _Bypass(torch.nn.Module):
    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features.float()


class OneWindow(EpochSeeded, Dataset[Inputs]):
    """Cached output of one window of each clip. The draw depends on the seed, the epoch and the clip alone."""

    def __init__(self, encoded: EncodedClips, indices: Sequence[int], *, seed: int, random_crop: bool) -> None:
        super().__init__()
        self._encoded = encoded
        self._seed = seed
        self._random_crop = random_crop
        self._first, self._behind = (np.searchsorted(encoded.clips, indices, side) for side in ("left", "right"))

    def __len__(self) -> int:
        return len(self._first)

    def __getitem__(self, index: int) -> Inputs:
        window = int(self._first[index])
        if self._random_crop:
            rng = np.random.default_rng([self._seed, self.epoch, index])
            window = int(rng.integers(window, self._behind[index]))
        return self._encoded.inputs(window)


class _AllWindows(Dataset[Inputs]):
    def __init__(self, encoded: EncodedClips, indices: Sequence[int]) -> None:
        self._encoded = encoded
        self._windows = np.flatnonzero(np.isin(encoded.clips, indices))

    def __len__(self) -> int:
        return len(self._windows)

    def __getitem__(self, index: int) -> Inputs:
        return self._encoded.inputs(int(self._windows[index]))


def _write(
    path: Path, needed: Size, windows: ClipWindows, model: PreTrainedModel, *, bf16: bool, batch_size: int
) -> None:
    part = path.with_suffix(".part")
    # A file that a kill left ends at any byte; its last window may be cut.
    done = part.stat().st_size // needed.window_bytes if part.is_file() else 0
    missing_bytes = (needed.windows - done) * needed.window_bytes
    logger.info(
        "Caching the frozen encoder's output: %d of %d windows, %.2f GB, in %s",
        *(needed.windows - done, needed.windows, missing_bytes / 1e9, path.parent),
    )
    full = TrainingError(
        f"{path.parent} has no room for the encoder's output ({missing_bytes / 1e9:.2f} GB). Make room, choose another "
        "place with HF_HOME, or train with --feature_encoder frozen."
    )
    if shutil.disk_usage(path.parent).free < missing_bytes:
        raise full
    loader = DataLoader(
        Subset(windows, range(done, needed.windows)), batch_size=batch_size, collate_fn=default_data_collator
    )
    started = time.perf_counter()
    try:
        with part.open("ab") as file, tqdm(total=needed.windows, initial=done, desc="Encoding", unit="window") as bar:
            file.truncate(done * needed.window_bytes)
            for batch in features(loader, model, bf16=bf16):
                file.write(batch.contiguous().view(torch.int16).numpy().tobytes())
                file.flush()
                bar.update(len(batch))
    except OSError as error:
        raise full from error
    part.rename(path)
    logger.info("Encoded %d windows in %.1f s", needed.windows - done, time.perf_counter() - started)


def _fingerprint(clips: Clips, windows: ClipWindows, model: PreTrainedModel, *, bf16: bool) -> str:
    """A hash of everything that decides the encoder's output."""
    digest = hashlib.sha256(f"{windows.identity} {bf16}".encode())
    for clip in clips.digests:
        digest.update(clip.encode())
    for name, weight in sorted(model.base_model.get_submodule("feature_extractor").state_dict().items()):
        digest.update(name.encode())
        digest.update(weight.detach().float().cpu().numpy().tobytes())
    return digest.hexdigest()[:32]
