"""DistilHuBERT at full size with random weights, as training would push it, and what a window costs."""

import shutil
from pathlib import Path

import datasets
from transformers import HubertConfig, HubertForSequenceClassification, Wav2Vec2FeatureExtractor
from transformers.utils.logging import disable_progress_bar

from service.audio import WindowSpec
from service.model.layout import GRAPH_FOLDER, INT8_GRAPH_FOLDER, TiledGraphs
from service.model.serving_file import ServingFile, stamp_graphs
from tests.benchmarks.clips import clips
from training.publishing import artefact
from training.publishing.quantise import quantise
from training.synthetic.render import GENRES

WINDOW_S = 30.0
SAMPLING_RATE = 16_000


def save(folder: Path) -> None:
    """Write the model folder: https://huggingface.co/ntu-spml/distilhubert with a head for GTZAN's genres."""
    disable_progress_bar()
    extractor = Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=True)
    setattr(extractor, "max_length", round(WINDOW_S * SAMPLING_RATE))  # noqa: B010
    artefact.save(
        folder,
        HubertForSequenceClassification(config()),
        extractor,
        ServingFile(schema_version=1, window_s=WINDOW_S, temperature=1.0, confidence_threshold=0.5),
    )


def quantised(folder: Path) -> Path:
    """A copy of the folder with int8 graphs, which random weights are in no state to be refused for."""
    copy = Path(shutil.copytree(folder, folder.with_name(f"{folder.name}-int8")))
    rows = [{"audio": {"bytes": clip, "path": None}} for clip in clips()]
    ranged = datasets.Dataset.from_list(rows)
    float32 = TiledGraphs.inside(copy / GRAPH_FOLDER)
    quantise(float32, copy / INT8_GRAPH_FOLDER, ranged, WindowSpec(SAMPLING_RATE, WINDOW_S))
    stamp_graphs(copy)
    return copy


def window_flop() -> float:
    """Floating point operations of one window, a multiplication and an addition counted as two.

    Convolutions, projections, attention and feed-forward layers; norms and activations are left out.
    """
    shape = config()
    channels, frames, hidden = shape.conv_dim[-1], _frames(), shape.hidden_size
    flop = 2 * frames * channels * hidden
    flop += 2 * frames * hidden * hidden // shape.num_conv_pos_embedding_groups * shape.num_conv_pos_embeddings
    projections = 4 * 2 * frames * hidden**2
    attention = 2 * 2 * frames**2 * hidden
    feed_forward = 2 * 2 * frames * hidden * shape.intermediate_size
    flop += shape.num_hidden_layers * (projections + attention + feed_forward)
    flop += 2 * frames * hidden * shape.classifier_proj_size
    return float(encoder_flop() + flop)


def encoder_flop() -> float:
    """Those of the feature encoder."""
    shape = config()
    samples, channels, flop = round(WINDOW_S * SAMPLING_RATE), 1, 0
    for width, kernel, stride in zip(shape.conv_dim, shape.conv_kernel, shape.conv_stride, strict=True):
        samples = (samples - kernel) // stride + 1
        flop += 2 * samples * channels * width * kernel
        channels = width
    return float(flop)


def _frames() -> int:
    shape, samples = config(), round(WINDOW_S * SAMPLING_RATE)
    for kernel, stride in zip(shape.conv_kernel, shape.conv_stride, strict=True):
        samples = (samples - kernel) // stride + 1
    return samples


def config() -> HubertConfig:
    """DistilHuBERT's own, with a head for GTZAN's genres."""
    # All else is as in HubertConfig's defaults: 7 convolutions of 512 channels, the first normalised over time.
    return HubertConfig(
        num_hidden_layers=2,
        feat_proj_layer_norm=False,
        mask_time_prob=0.0,
        id2label=dict(enumerate(GENRES)),
        label2id={genre: index for index, genre in enumerate(GENRES)},
    )
