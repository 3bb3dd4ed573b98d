"""Cuts a model of transformers in two: the feature encoder for a tile, and everything behind it."""

import copy
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch

from service.audio import Waveform
from service.model.graphs.tiling import FirstLayer, Tiling

_CHECKED_FRAMES = 50
_TILE_FRAMES = 16
_TOLERANCE = 1e-3
"""Difference relative to the largest feature. Rounding stays far below it; a layer that does something else than it
seems to is far above."""


@dataclass(frozen=True)
class CutModel:
    """The two halves of a model, which share its weights.

    encoder: see `TiledGraphs.encoder`. transformer: see `TiledGraphs.transformer`.
    """

    encoder: torch.nn.Module
    transformer: torch.nn.Module
    tiling: Tiling

    def features(self, window: Waveform, tile_frames: int) -> torch.Tensor:
        """The output of the encoder, float32 (1, channels, frames), computed tile by tile."""
        scales: list[torch.Tensor] = []
        if layer := self.tiling.first_layer:
            scales = [torch.from_numpy(values) for values in layer.normalisation(window)]
        tiles = [
            self.encoder(torch.from_numpy(tile)[None, None], *scales)
            for _, tile in self.tiling.tiles(window, tile_frames)
        ]
        return torch.cat(tiles, dim=2)[:, :, : self.tiling.frames(len(window))]


class UncuttableError(Exception):
    """A model whose feature encoder is not a row of plain convolutions; the message says what it is instead."""


def cut(model: torch.nn.Module) -> CutModel:
    """The two halves of a model; it is not changed. Raises UncuttableError.

    The encoder is one that transformers calls `feature_extractor`, of the models that have it in this form: HuBERT,
    wav2vec2, WavLM, UniSpeech, Data2Vec-audio, SEW. That the tiles compute what the model does is tried on noise.
    """
    name = f"{getattr(model, 'base_model_prefix', '')}.feature_extractor"
    try:
        encoder = model.get_submodule(name)
    except AttributeError:
        raise UncuttableError("it has no feature encoder") from None
    layers = getattr(encoder, "conv_layers", None)
    if not isinstance(layers, torch.nn.ModuleList):
        raise UncuttableError("its feature encoder is no row of convolutions")
    transformer = LogitsAndEmbedding(_with_module(model, name, torch.nn.Identity()))
    found = CutModel(_TileEncoder(layers), transformer, _tiling(layers))
    _check(found, encoder)
    return found


class LogitsAndEmbedding(torch.nn.Module):
    """A model as a function of its input to logits (n, labels) and, of one with a linear classifier, the vector
    (n, dimensions) that this classifies."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model
        self.classifier = None
        if isinstance(getattr(model, "classifier", None), torch.nn.Linear):
            self.classifier = _Recorded(cast(torch.nn.Module, model.classifier))
            self.model = _with_module(model, "classifier", self.classifier)

    def forward(self, input_values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """See the class."""
        logits: torch.Tensor = self.model(input_values).logits
        return (logits,) if self.classifier is None else (logits, self.classifier.input)


class _Recorded(torch.nn.Module):
    def __init__(self, module: torch.nn.Module) -> None:
        super().__init__()
        self.module = module
        self.input = torch.empty(0)

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        self.input = vectors
        output: torch.Tensor = self.module(vectors)
        return output


class _TileEncoder(torch.nn.Module):
    def __init__(self, layers: torch.nn.ModuleList) -> None:
        super().__init__()
        self.layers = layers
        self.first = cast(Any, layers[0])

    def forward(self, samples: torch.Tensor, *scale_and_shift: torch.Tensor) -> torch.Tensor:
        if scale_and_shift:
            scale, shift = scale_and_shift
            hidden = self.first.activation(self.first.conv(samples) * scale + shift)
        else:
            hidden = self.first(samples)
        for layer in list(self.layers)[1:]:
            hidden = layer(hidden)
        return cast(torch.Tensor, hidden)


def _with_module(model: torch.nn.Module, name: str, module: torch.nn.Module) -> torch.nn.Module:
    """The model with another submodule; it shares everything else with the original, which stays as it is."""
    parent, _, child = name.rpartition(".")
    changed = copy.copy(model.get_submodule(parent))
    changed._modules = {**changed._modules, child: module}
    return _with_module(model, parent, changed) if parent else changed


def _tiling(layers: torch.nn.ModuleList) -> Tiling:
    stride, field = 1, 1
    for layer in layers:
        conv = getattr(layer, "conv", None)
        if not isinstance(conv, torch.nn.Conv1d) or conv.padding != (0,) or conv.dilation != (1,):
            raise UncuttableError("a layer of its feature encoder is no plain convolution")
        field += (conv.kernel_size[0] - 1) * stride
        stride *= conv.stride[0]
    norms = [getattr(layer, "layer_norm", None) for layer in layers]
    if any(isinstance(norm, torch.nn.GroupNorm) for norm in norms[1:]):
        raise UncuttableError("a later layer of its feature encoder normalises over time")
    channels = cast(torch.nn.Conv1d, layers[-1].conv).out_channels
    return Tiling(stride, field, channels, _first_layer(layers[0].conv, norms[0]))


def _first_layer(conv: Any, norm: torch.nn.Module | None) -> FirstLayer | None:
    if not isinstance(norm, torch.nn.GroupNorm):
        return None
    if conv.in_channels != 1 or norm.num_groups != conv.out_channels:
        raise UncuttableError("the first layer of its feature encoder normalises several channels together")
    ones = torch.ones(conv.out_channels)
    weight, bias, gamma, beta = (
        tensor.detach().double().numpy()
        for tensor in (
            conv.weight[:, 0],
            0 * ones if conv.bias is None else conv.bias,
            ones if norm.weight is None else norm.weight,
            0 * ones if norm.bias is None else norm.bias,
        )
    )
    return FirstLayer(np.ascontiguousarray(weight), bias, gamma, beta, norm.eps, conv.stride[0])


@torch.inference_mode()
def _check(cut_model: CutModel, encoder: torch.nn.Module) -> None:
    samples = cut_model.tiling.samples(_CHECKED_FRAMES)
    noise = np.random.default_rng(0).standard_normal(samples).astype(np.float32)
    expected = encoder(torch.from_numpy(noise)[None])
    found = cut_model.features(noise, _TILE_FRAMES)
    if found.shape != expected.shape or (found - expected).abs().max() > _TOLERANCE * expected.abs().max():
        raise UncuttableError("its feature encoder does more than its convolutions")
