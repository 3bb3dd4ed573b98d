"""Feature encoder in tiles: exact statistics of the first layer, and the features of transformers on any streams."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import HubertConfig, HubertForSequenceClassification

from service.audio import Waveform, pad_to_length
from service.model.graphs.compilation import GraphError
from service.model.graphs.conversion import write_encoder
from service.model.graphs.cutting import UncuttableError, cut
from service.model.graphs.encoder import TiledEncoder
from service.model.graphs.tiling import FirstLayer, Tiling, tile_frames
from service.model.layout import TiledGraphs
from tests.support.tiny_encoders import SIZES

_SAMPLES = 48_123


def _model(**changes: Any) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return HubertForSequenceClassification(HubertConfig(**SIZES | changes)).eval()


def _low_hum() -> np.ndarray[Any, np.dtype[np.float32]]:
    """A signal so smooth that what a filter leaves of it is a small difference of large numbers."""
    return np.sin(2 * np.pi * 40 * np.arange(_SAMPLES) / 16_000).astype(np.float32) + np.float32(0.5)


@pytest.fixture(scope="module")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> TiledGraphs:
    graphs = TiledGraphs.inside(tmp_path_factory.mktemp("graphs"))
    write_encoder(cut(_model()), graphs)
    return graphs


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("signal", ["noise", "hum"])
def test_features_in_float32_are_those_of_transformers_on_any_number_of_streams(
    graphs: TiledGraphs, threads: int, signal: str
) -> None:
    noise = np.random.default_rng(0).standard_normal(_SAMPLES).astype(np.float32)
    window = noise if signal == "noise" else _low_hum()
    with torch.inference_mode():
        expected = _model().base_model.feature_extractor(torch.from_numpy(window)[None]).numpy()
    features = TiledEncoder(graphs, _SAMPLES, threads, "f32", max_tile_frames=20).features(window)
    np.testing.assert_allclose(features, expected, atol=1e-5 * np.abs(expected).max())


def test_a_window_is_encoded_the_same_after_others(graphs: TiledGraphs) -> None:
    encoder = TiledEncoder(graphs, _SAMPLES, 2, "f32")
    window = _low_hum()
    first = encoder.features(window)
    encoder.features(np.zeros_like(window))
    np.testing.assert_array_equal(encoder.features(window), first)


@pytest.mark.parametrize("repeated_s", [0.5, 1.02, 2.98])
def test_a_repeated_recording_has_the_features_of_transformers(graphs: TiledGraphs, repeated_s: float) -> None:
    recording = np.random.default_rng(0).standard_normal(round(repeated_s * 16_000)).astype(np.float32)
    window = pad_to_length(recording, 48_000)
    with torch.inference_mode():
        expected = _model().base_model.feature_extractor(torch.from_numpy(window)[None]).numpy()
    features = TiledEncoder(graphs, 48_000, 2, "f32", max_tile_frames=20).features(window)
    np.testing.assert_allclose(features, expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("recording", "frames"),
    [
        (np.arange(8_000), 25),
        (np.arange(8_100), 25),
        (np.arange(47_999), 149),
        (np.arange(48_000), 149),
        (np.zeros(48_000), 1),
        (np.append(np.zeros(47_999), 1), 149),
        (np.append(np.zeros(8_000), np.ones(8_000)), 50),
    ],
)
def test_a_repetition_is_found_where_there_is_one(recording: Waveform, frames: int) -> None:
    tiling = Tiling(stride=320, field=400, channels=1, first_layer=None)
    assert tiling.repetition(pad_to_length(recording.astype(np.float32), 48_000)) == frames


@pytest.mark.parametrize(("kernel", "stride"), [(10, 5), (7, 3), (3, 4), (1, 1), (11, 7)])
def test_the_first_layer_is_normalised_as_torch_does_it(kernel: int, stride: int) -> None:
    rng = np.random.default_rng(0)
    window = (rng.standard_normal(4_001) + 0.3).astype(np.float32)
    weight, bias, gamma, beta = rng.standard_normal((6, kernel)), *rng.standard_normal((3, 6))
    layer = FirstLayer(weight, bias, gamma, beta, 1e-5, stride)
    convolved = torch.nn.functional.conv1d(
        torch.from_numpy(window.astype(np.float64))[None, None],
        torch.from_numpy(weight)[:, None],
        torch.from_numpy(bias),
        stride,
    )
    expected = torch.nn.functional.group_norm(convolved, 6, torch.from_numpy(gamma), torch.from_numpy(beta), 1e-5)
    scale, shift = layer.normalisation(window)
    np.testing.assert_allclose(convolved.numpy() * scale + shift, expected.numpy(), atol=1e-5)


def test_a_tiling_is_read_as_it_was_written(tmp_path: Path) -> None:
    tiling = cut(_model(conv_bias=True)).tiling
    tiling.save(tmp_path / "tiling.safetensors")
    assert (tmp_path / "tiling.safetensors").stat().st_mode & 0o044 == 0o044, "another user serves it"
    read = Tiling.load(tmp_path / "tiling.safetensors")
    assert (read.stride, read.field, read.channels) == (320, 400, 16)
    assert read.first_layer
    assert tiling.first_layer
    np.testing.assert_array_equal(read.first_layer.weight, tiling.first_layer.weight)
    assert read.first_layer.eps == tiling.first_layer.eps


@pytest.mark.parametrize(("frames", "streams"), [(1_499, 2), (1_499, 16), (49, 8), (1, 4)])
def test_each_stream_computes_as_many_tiles(frames: int, streams: int) -> None:
    length = tile_frames(frames, streams)
    assert 1 <= length <= 60
    tiles = -(-frames // length)
    assert streams * (tiles // streams) >= tiles - streams + 1 or tiles <= streams


def test_graphs_of_two_models_are_refused(graphs: TiledGraphs, tmp_path: Path) -> None:
    other = TiledGraphs.inside(tmp_path)
    write_encoder(cut(_model(conv_dim=(8,) * 7)), other)
    mixed = TiledGraphs(graphs.encoder, graphs.transformer, other.tiling)
    with pytest.raises(GraphError, match="encoder.xml and tiling.safetensors are of two models"):
        TiledEncoder(mixed, _SAMPLES, 1, "f32")


def test_a_damaged_tiling_is_refused(graphs: TiledGraphs, tmp_path: Path) -> None:
    (tmp_path / "tiling.safetensors").write_bytes(b"<html>")
    mixed = TiledGraphs(graphs.encoder, graphs.transformer, tmp_path / "tiling.safetensors")
    with pytest.raises(GraphError, match="tiling.safetensors cannot be read"):
        TiledEncoder(mixed, _SAMPLES, 1, "f32")


class _Louder(torch.nn.Module):
    def __init__(self, encoder: Any) -> None:
        super().__init__()
        self.conv_layers = encoder.conv_layers
        self.encoder = encoder

    def forward(self, waveforms: torch.Tensor) -> torch.Tensor:
        louder: torch.Tensor = 2 * self.encoder(waveforms)
        return louder


def test_an_encoder_that_does_more_than_its_convolutions_is_not_cut() -> None:
    model = _model()
    model.base_model.feature_extractor = _Louder(model.base_model.feature_extractor)
    with pytest.raises(UncuttableError, match="more than its convolutions"):
        cut(model)
