"""Frozen feature encoder: on a CPU in tiles, as the service runs it, on other devices by torch."""

import logging
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from transformers import PreTrainedModel

from service.model.graphs.conversion import write_encoder
from service.model.graphs.cutting import UncuttableError, cut
from service.model.graphs.encoder import TiledEncoder
from service.model.layout import TiledGraphs
from training.data.inputs import Inputs

logger = logging.getLogger(__name__)

Encode = Callable[[torch.Tensor], torch.Tensor]
"""Batches of waveforms, float32 (n, samples), to bfloat16 (n, channels, frames) on the CPU."""


def features(batches: Iterable[Inputs], model: PreTrainedModel, *, bf16: bool) -> Iterator[torch.Tensor]:
    """Output of the encoder for batches of windows of one length: bfloat16 (n, channels, frames), on the CPU.

    bf16: compute in it, too.
    """
    encode: Encode | None = None
    for batch in batches:
        waveforms = batch["input_values"]
        encode = encode or _encoder(model, waveforms.shape[1], bf16=bf16)
        yield encode(waveforms)


def _encoder(model: PreTrainedModel, samples: int, *, bf16: bool) -> Encode:
    if model.device.type == "cpu":
        try:
            return _tiled(model, samples, "bf16" if bf16 else "f32")
        except UncuttableError as error:
            logger.info("torch computes the encoder's output, slower than in tiles: %s.", error)
    encoder = model.base_model.get_submodule("feature_extractor").eval()

    def encode(waveforms: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode(), torch.autocast(model.device.type, torch.bfloat16, enabled=bf16):
            encoded: torch.Tensor = encoder(waveforms.to(model.device))
        return encoded.to("cpu", torch.bfloat16)

    return encode


def _tiled(model: PreTrainedModel, samples: int, precision: str) -> Encode:
    halves = cut(model)
    with tempfile.TemporaryDirectory() as folder:
        graphs = TiledGraphs.inside(Path(folder))
        write_encoder(halves, graphs)
        tiled = TiledEncoder(graphs, samples, torch.get_num_threads(), precision)

    def encode(waveforms: torch.Tensor) -> torch.Tensor:
        windows = waveforms.float().numpy()
        return torch.from_numpy(np.concatenate([tiled.features(window) for window in windows])).to(torch.bfloat16)

    return encode
