"""Converts a model folder to an OpenVINO graph: `python -m service.model.convert FOLDER GRAPH.xml MODEL_ID`.

A process of its own, so that the serving process never imports torch and transformers. A fault of the model goes to
stderr in one line, with the exit code `EXIT_NO_MODEL`.
"""

import sys
import warnings
from pathlib import Path

from service.errors import StartupError
from service.model.artefact import Artefact, read_artefact

EXIT_NO_MODEL = 3
"""The folder holds no model that classifies; every other failure is one of the conversion."""


def main() -> int:
    """The exit code: 0 when the graph was written."""
    folder, graph, model_id = sys.argv[1:]
    try:
        convert(read_artefact(Path(folder), model_id=model_id, revision=None), Path(graph))
    except StartupError as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_NO_MODEL
    return 0


def convert(artefact: Artefact, graph: Path) -> None:
    """Write the graph of normalised waveforms, float32 (n, samples), to logits (n, labels), n free.

    The weights stay float32: the precision is chosen where the graph is compiled. Raises StartupError when the folder
    holds no model that classifies.
    """
    # Imported here, as the service reads `EXIT_NO_MODEL` and never pays for these libraries.
    import openvino
    import torch
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    from service.model.weights import load_logits

    with warnings.catch_warnings():
        # Tracing fixes what depends on the input's length, which is always the window's. The other warnings are about
        # how OpenVINO and transformers use libraries of their own.
        warnings.simplefilter("ignore")
        module = load_logits(artefact)
        # The front end itself, as `openvino.convert_model` reports its use. The decoder has a name of its own, as the
        # front end does not keep it alive.
        decoder = TorchScriptPythonDecoder(module, example_input=torch.zeros(1, artefact.window.samples))
        front_end = FrontEndManager().load_by_framework("pytorch")
        model = front_end.convert(front_end.load(decoder))
    model.reshape([-1, artefact.window.samples])
    openvino.save_model(model, graph, compress_to_fp16=False)


if __name__ == "__main__":
    sys.exit(main())
