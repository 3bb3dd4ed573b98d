"""Converts a model folder to OpenVINO graphs: `python -m service.model.graphs.conversion FOLDER GRAPH_FOLDER MODEL_ID`.

A process of its own, so that the serving process never imports torch and transformers. A fault of the model goes to
stderr in one line, with the exit code `EXIT_NO_MODEL`.
"""

import logging
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from service.errors import StartupError
from service.model.artefact import Artefact, read_artefact
from service.model.layout import Graphs, TiledGraphs, WholeGraph

if TYPE_CHECKING:
    import torch

    from service.model.graphs.cutting import CutModel

logger = logging.getLogger(__name__)

EXIT_NO_MODEL = 3
"""The folder holds no model that classifies; every other failure is one of the conversion."""

_TRACED_FRAMES = 16


def main() -> int:
    """The exit code: 0 when the graphs were written."""
    folder, graphs, model_id = sys.argv[1:]
    try:
        convert(read_artefact(Path(folder), model_id=model_id, revision=None), Path(graphs))
    except StartupError as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_NO_MODEL
    return 0


def convert(artefact: Artefact, folder: Path) -> Graphs:
    """Write the graphs of a model into a folder: `TiledGraphs` where its feature encoder can be cut, else a
    `WholeGraph`.

    The weights stay float32: the precision is chosen where the graphs are compiled. Raises StartupError when the
    artefact's folder holds no model that classifies.
    """
    # Imported here, as the service reads `EXIT_NO_MODEL` and never pays for torch and transformers.
    from service.model.graphs.cutting import UncuttableError, cut
    from service.model.weights import load_model

    model = load_model(artefact)
    samples = artefact.window.samples
    try:
        halves = cut(model)
    except UncuttableError as error:
        logger.info("The model is converted to one graph: %s.", error)
        return write_whole(model, samples, WholeGraph.inside(folder))
    graphs = TiledGraphs.inside(folder)
    write_encoder(halves, graphs)
    _write_transformer(halves, samples, graphs)
    return graphs


def write_encoder(halves: "CutModel", graphs: TiledGraphs) -> None:
    """Write the graph of a feature encoder, and how it is cut."""
    import torch

    tiling = halves.tiling
    inputs = [torch.zeros(1, 1, tiling.samples(_TRACED_FRAMES))]
    shapes: list[list[int]] = [[1, 1, -1]]
    if tiling.first_layer:
        channels = len(tiling.first_layer.gamma)
        inputs += [torch.ones(1, channels, 1), torch.zeros(1, channels, 1)]
        shapes += [[1, channels, 1]] * 2
    _save(halves.encoder, inputs, shapes, graphs.encoder)
    tiling.save(graphs.tiling)


def _write_transformer(halves: "CutModel", samples: int, graphs: TiledGraphs) -> None:
    import torch

    features = [halves.tiling.channels, halves.tiling.frames(samples)]
    _save(halves.transformer, [torch.zeros(1, *features)], [[-1, *features]], graphs.transformer)


def write_whole(model: "torch.nn.Module", samples: int, graphs: WholeGraph) -> WholeGraph:
    """Write the graph of a whole model for windows of so many samples."""
    import torch

    from service.model.graphs.cutting import LogitsAndEmbedding

    _save(LogitsAndEmbedding(model), [torch.zeros(1, samples)], [[-1, samples]], graphs.graph)
    return graphs


def _save(module: "torch.nn.Module", inputs: list[Any], shapes: list[list[int]], path: Path) -> None:
    """Write the graph of a module, with these shapes of its inputs, of which -1 is a free dimension."""
    import openvino
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    # The front end itself, as `openvino.convert_model` reports its use. The decoder has a name of its own, as the
    # front end does not keep it alive.
    with warnings.catch_warnings():
        # Tracing fixes what depends on the input's length, which is always the window's. The other warnings are about
        # how OpenVINO and transformers use libraries of their own.
        warnings.simplefilter("ignore")
        decoder = TorchScriptPythonDecoder(module.eval(), example_input=tuple(inputs))
        front_end = FrontEndManager().load_by_framework("pytorch")
        model = front_end.convert(front_end.load(decoder))
    model.reshape(dict(enumerate(shapes)))
    openvino.save_model(model, path, compress_to_fp16=False)


if __name__ == "__main__":
    sys.exit(main())
