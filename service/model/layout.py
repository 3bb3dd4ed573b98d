"""Names of the files in a model repo."""

from dataclasses import dataclass
from pathlib import Path

CONFIG = "config.json"
FEATURE_EXTRACTOR = "preprocessor_config.json"
PROCESSOR = "processor_config.json"
"""What transformers 5 writes for a processor: the feature extractor is a part of it."""

SERVING = "serving.json"
WEIGHTS = ("model.safetensors", "model.safetensors.index.json")

GOLDEN_FOLDER = "golden"
"""Short clips whose scores training wrote down: the service checks itself with them before it is ready."""

FAMILIARITY = "familiarity.safetensors"
"""What the music of the training looks like (`service.model.familiarity`)."""

GRAPH_FOLDER = "openvino"
"""The OpenVINO graphs in float32."""

INT8_GRAPH_FOLDER = f"{GRAPH_FOLDER}/int8"
"""The graphs in 8 bits. Training writes them only when they answer as those in float32 do."""


@dataclass(frozen=True)
class TiledGraphs:
    """Two graphs that share a model: the feature encoder, which runs in tiles, and the transformer behind it.

    encoder: samples (1, 1, n), and scale and shift (1, channels, 1) of the first layer where it has a group norm, to
    features (1, channels, frames). transformer: features of a window to logits and embedding.
    tiling: how the encoder is cut (`service.model.graphs.tiling`).
    """

    encoder: Path
    transformer: Path
    tiling: Path

    @classmethod
    def inside(cls, folder: Path) -> "TiledGraphs":
        """The graphs of a folder, whether they exist or not."""
        return cls(folder / "encoder.xml", folder / "transformer.xml", folder / "tiling.safetensors")

    @property
    def files(self) -> tuple[Path, ...]:
        """All files, those of the weights included."""
        return self.encoder, weights_of(self.encoder), self.transformer, weights_of(self.transformer), self.tiling


@dataclass(frozen=True)
class WholeGraph:
    """One graph of a whole model: normalised waveforms (n, samples) to logits and, where it has one, embedding.

    Made of a model whose feature encoder cannot be cut into tiles; repos of earlier versions hold no other.
    """

    graph: Path

    @classmethod
    def inside(cls, folder: Path) -> "WholeGraph":
        """The graph of a folder, whether it exists or not."""
        return cls(folder / "model.xml")

    @property
    def files(self) -> tuple[Path, ...]:
        """All files, that of the weights included."""
        return self.graph, weights_of(self.graph)


Graphs = TiledGraphs | WholeGraph
"""The graphs of a model in one precision."""


def graph_candidates(folder: Path) -> dict[str, tuple[Graphs, ...]]:
    """The graphs that a model folder may hold, by precision, the better ones first.

    `openvino/int8.xml` is where earlier versions wrote the whole graph in 8 bits.
    """
    int8, float32 = folder / INT8_GRAPH_FOLDER, folder / GRAPH_FOLDER
    return {
        "int8": (TiledGraphs.inside(int8), WholeGraph.inside(int8), WholeGraph(float32 / "int8.xml")),
        "float32": (TiledGraphs.inside(float32), WholeGraph.inside(float32)),
    }


def weights_of(graph: Path) -> Path:
    """The file of the weights that belong to a graph."""
    return graph.with_suffix(".bin")
