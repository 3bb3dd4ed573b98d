"""Writes what the training music looks like into a model folder, so that the service tells recordings unlike it."""

import logging
from collections.abc import Sequence
from pathlib import Path

import datasets
import numpy as np
import torch
from tqdm import tqdm

from service.audio import DEFAULT_MAX_WINDOWS, normalise, read_recording
from service.model.artefact import Artefact, read_artefact
from service.model.familiarity import Features, describe
from service.model.graphs.cutting import LogitsAndEmbedding
from service.model.layout import FAMILIARITY, SERVING
from service.model.serving_file import FamiliarityEntry, ServingFile
from service.model.weights import load_model
from training.data.clips import open_clip
from training.evaluation.familiarity import MIN_HELD_OUT, fit, measure
from training.evaluation.report import FamiliarityFigures

logger = logging.getLogger(__name__)

MAX_CLIPS = 1_000
"""Training clips, and held-out clips, that are heard: more cost time and tell little."""


def write(
    folder: Path, train: datasets.Dataset, held_out: datasets.Dataset, device: torch.device
) -> FamiliarityFigures | None:
    """Write familiarity.safetensors, and name it in serving.json. Returns its figures; None if too few clips are held
    out, and then nothing is written.

    train, held_out: columns audio and genre, at most `MAX_CLIPS`. device: computes the embeddings, of the saved weights
    and in float32.
    """
    serving = ServingFile.model_validate_json((folder / SERVING).read_bytes())
    serving.model_copy(update={"familiarity": None}).write(folder)
    (folder / FAMILIARITY).unlink(missing_ok=True)
    if len(held_out) < MIN_HELD_OUT:
        logger.warning(
            "Unfamiliar recordings will not be told: %d clips are held out, and %d are the least.",
            len(held_out),
            MIN_HELD_OUT,
        )
        return None
    artefact = read_artefact(folder, model_id=folder.name, revision=None)
    model = LogitsAndEmbedding(load_model(artefact)).to(device)
    windows = _describe(artefact, model, train, "Hearing known music")
    held_out_windows = _describe(artefact, model, held_out, "Hearing the rest")
    clips = np.stack([np.mean(of_clip, axis=0) for of_clip in held_out_windows])
    genres = np.repeat(np.asarray(train["genre"], np.int64), [len(of_clip) for of_clip in windows])
    known = fit(np.concatenate(windows), genres, clips)
    entry = FamiliarityEntry(sha256=known.save(folder), threshold=known.threshold, clips=len(held_out))
    serving.model_copy(update={"familiarity": entry}).write(folder)
    return measure(known, clips, np.asarray(held_out["genre"])[:, None] == np.unique(genres))


@torch.inference_mode()
def _describe(
    artefact: Artefact, model: LogitsAndEmbedding, clips: datasets.Dataset, title: str
) -> list[Sequence[Features]]:
    """The features of the windows of each clip, as the service cuts them."""
    device = next(model.parameters()).device
    described: list[Sequence[Features]] = []
    for audio in tqdm(clips["audio"], desc=title, unit="clip"):
        of_clip = []
        for window in read_recording(open_clip(audio), artefact.window, max_windows=DEFAULT_MAX_WINDOWS).windows:
            samples = normalise(window) if artefact.do_normalize else window
            _, *embeddings = model(torch.from_numpy(samples)[None].to(device))
            embedding = embeddings[0][0].float().cpu().numpy() if embeddings else None
            of_clip.append(describe(window, artefact.window.sampling_rate, embedding))
        described.append(of_clip)
    return described
