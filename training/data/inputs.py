"""A clip becomes the model's inputs: decoded by the service's front end, cut or filled to the window, extracted."""

from typing import Any

import datasets
import numpy as np
import torch
from torch.utils.data import Dataset
from transformers import Wav2Vec2FeatureExtractor

from service.audio import Waveform, WindowReader, WindowSpec, open_audio, pad_to_length
from training.data.clips import open_clip

Inputs = dict[str, Any]
"""input_values: float32 (samples,); attention_mask: int (samples,); labels: int."""


class EpochSeeded:
    """Data that depends on the epoch, also in worker processes, which may live longer than an epoch."""

    def __init__(self) -> None:
        self._epoch = torch.zeros((), dtype=torch.int64)
        self._epoch.share_memory_()  # type: ignore[no-untyped-call]

    @property
    def epoch(self) -> int:
        """The epoch that the data belong to, from 0."""
        return int(self._epoch)

    def set_epoch(self, epoch: int) -> None:
        """Give what belongs to that epoch, from 0."""
        self._epoch.fill_(epoch)


class TrainingWindows(EpochSeeded, Dataset[Inputs]):
    """Training windows, one of each clip: its beginning, or a random one in each epoch.

    What is drawn depends on the seed, the epoch and the clip alone, so that a run can resume amid an epoch, with any
    number of processes.
    """

    def __init__(
        self,
        clips: datasets.Dataset,
        extractor: Wav2Vec2FeatureExtractor,
        window: WindowSpec,
        *,
        seed: int,
        random_crop: bool,
    ) -> None:
        super().__init__()
        self._clips = clips
        self._extractor = extractor
        self._window = window
        self._random_crop = random_crop
        self._seed = seed

    def __len__(self) -> int:
        return len(self._clips)

    def __getitem__(self, index: int) -> Inputs:
        return self.cut(self._clips[index], index)

    def cut(self, clip: dict[str, Any], number: int) -> Inputs:
        """The inputs made of one clip. number: tells it from the others."""
        with open_audio(open_clip(clip["audio"])) as audio:
            start_s = 0.0
            if self._random_crop:
                share = np.random.default_rng([self._seed, self.epoch, number]).random()
                start_s = share * max(0.0, audio.duration_s - self._window.length_s)
            waveform = audio.read(start_s, self._window.length_s, self._window.sampling_rate).waveform
        return _inputs(waveform, clip["genre"], self._extractor, self._window)


class ClipWindows(Dataset[Inputs]):
    """The windows of each clip one after the other, as the service cuts them: at most three, silent ones left out.

    clips: int64 (windows,), the index of each window's clip. references: int64 (clips,). samples: of a window.
    identity: of what is done to a clip, the same for the same windows of the same clips.
    """

    def __init__(
        self, clips: datasets.Dataset, extractor: Wav2Vec2FeatureExtractor, window: WindowSpec, *, max_windows: int
    ) -> None:
        self._clips = clips
        self._extractor = extractor
        self._window = window
        starts = clips.map(
            _starts,
            input_columns=["audio"],
            fn_kwargs={"window": window, "max_windows": max_windows},
            remove_columns=clips.column_names,
            desc="Cutting windows",
        )["starts"][:]
        self.samples = window.samples
        self.identity = f"{max_windows} windows of {self.samples} samples, {extractor.to_json_string()}"
        self._windows = [(clip, start_s) for clip, of_clip in enumerate(starts) for start_s in of_clip]
        self.clips = np.asarray([clip for clip, _ in self._windows], np.int64)
        self.references = np.asarray(clips["genre"], np.int64)

    def __len__(self) -> int:
        return len(self._windows)

    def __getitem__(self, index: int) -> Inputs:
        position, start_s = self._windows[index]
        clip = self._clips[position]
        with open_audio(open_clip(clip["audio"])) as audio:
            reader = WindowReader(audio, self._window)
            window = reader.read(start_s)
        assert window is not None, "audible when the windows were cut"
        return _inputs(window.waveform, clip["genre"], self._extractor, self._window)


def _inputs(waveform: Waveform, genre: int, extractor: Wav2Vec2FeatureExtractor, window: WindowSpec) -> Inputs:
    inputs = extractor(
        pad_to_length(waveform, window.samples),
        sampling_rate=window.sampling_rate,
        max_length=window.samples,
        truncation=True,
    )
    return {**{name: np.asarray(values[0]) for name, values in inputs.items()}, "labels": genre}


def _starts(audio: dict[str, Any], window: WindowSpec, max_windows: int) -> dict[str, list[float]]:
    with open_audio(open_clip(audio)) as file:
        reader = WindowReader(file, window)
        return {"starts": [start_s for start_s in reader.starts(max_windows) if reader.read(start_s) is not None]}
