"""Robustness of a model: accuracy on recordings that are worse, shifted, faster, slower or shorter than its own."""

import zlib
from collections.abc import Callable
from functools import partial

import datasets
import numpy as np
import numpy.typing as npt
import torch
from tqdm import tqdm
from transformers import Wav2Vec2FeatureExtractor

from service.audio import DEFAULT_MAX_WINDOWS, Waveform, WindowSpec, open_audio
from training.data.clips import open_clip
from training.evaluation.distortions import mp3, noise, phone_band, pitch_shift, tempo
from training.evaluation.predictions import Predictions, Probabilities
from training.evaluation.windows import windows_of

Condition = Callable[[Waveform], Waveform]
"""Distorts a whole clip, float32 (samples,)."""

Predictor = Callable[[list[Waveform]], npt.NDArray[np.floating]]
"""Whole clips at the model's rate, of any lengths, to probabilities (clips, genres)."""

_BATCH_CLIPS = 8


def conditions(sampling_rate: int) -> dict[str, Condition]:
    """Conditions for clips at `sampling_rate` Hz, by name. Each gives the same for the same clip."""
    return {
        "mp3 at 64 kb/s": partial(mp3, sampling_rate=sampling_rate, kbps=64),
        "phone band": partial(phone_band, sampling_rate=sampling_rate),
        "noise at 10 dB": partial(_noise, snr_db=10),
        "2 semitones up": partial(pitch_shift, sampling_rate=sampling_rate, semitones=2),
        "2 semitones down": partial(pitch_shift, sampling_rate=sampling_rate, semitones=-2),
        "10 % faster": partial(tempo, sampling_rate=sampling_rate, factor=1.1),
        "10 % slower": partial(tempo, sampling_rate=sampling_rate, factor=0.9),
        **{
            f"{duration_s} s excerpt": partial(_excerpt, samples=duration_s * sampling_rate)
            for duration_s in (3, 5, 10, 30)
        },
    }


def robustness(
    clips: datasets.Dataset, predict: Predictor, *, sampling_rate: int, show_progress: bool = True
) -> dict[str, npt.NDArray[np.bool_]]:
    """Correct answers under each of the `conditions`: bool (clips,), in the order of `clips`.

    clips: columns audio and genre. Each is decoded once; a few are in memory at a time.
    show_progress: a bar over the clips; for the main process only.
    """
    correct: dict[str, list[npt.NDArray[np.bool_]]] = {name: [] for name in conditions(sampling_rate)}
    with tqdm(total=len(clips), desc="Robustness", unit="clip", disable=not show_progress) as progress:
        for batch in clips.iter(_BATCH_CLIPS):
            waveforms = [read_clip(audio, sampling_rate) for audio in batch["audio"]]
            for name, condition in conditions(sampling_rate).items():
                answers = predict([condition(waveform) for waveform in waveforms]).argmax(axis=-1)
                correct[name].append(answers == np.asarray(batch["genre"]))
            progress.update(len(waveforms))
    return {name: np.concatenate(batches) for name, batches in correct.items()}


def make_predictor(model: torch.nn.Module, extractor: Wav2Vec2FeatureExtractor, window: WindowSpec) -> Predictor:
    """A function that answers whole clips with `model` as the service does, a window at a time."""
    model.eval()
    device = next(model.parameters()).device

    @torch.inference_mode()
    def predict(waveforms: list[Waveform]) -> Probabilities:
        cut = [windows_of(one, window, max_windows=DEFAULT_MAX_WINDOWS) for one in waveforms]
        logits = [
            model(**extractor(samples, sampling_rate=window.sampling_rate, return_tensors="pt").to(device)).logits
            for samples in np.concatenate(cut)
        ]
        clips = np.repeat(np.arange(len(cut)), [len(windows) for windows in cut])
        return Predictions(torch.cat(logits).float().cpu().numpy(), clips, np.zeros(len(cut), np.int64)).probabilities()

    return predict


def read_clip(audio: dict[str, object], sampling_rate: int) -> Waveform:
    """The whole waveform of an audio column's value, mono, at `sampling_rate` Hz."""
    with open_audio(open_clip(audio)) as file:
        return file.read(0.0, file.duration_s, sampling_rate).waveform


def _noise(waveform: Waveform, snr_db: float) -> Waveform:
    return noise(waveform, snr_db, np.random.default_rng(zlib.crc32(waveform.tobytes())))


def _excerpt(waveform: Waveform, samples: int) -> Waveform:
    """The middle of a waveform; all of a shorter one."""
    start = max(0, len(waveform) - samples) // 2
    return waveform[start : start + samples]
