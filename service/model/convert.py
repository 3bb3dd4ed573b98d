"""Convert a model folder to an OpenVINO graph: `python -m service.model.convert FOLDER GRAPH.xml MODEL_ID`.

A process of its own, so that the serving one never pays for importing torch and transformers. What is wrong with the
model goes to stderr in one line, with exit code 1.
"""

import sys
from pathlib import Path

import openvino
import torch
from openvino.frontend import FrontEndManager
from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

from service.errors import StartupError
from service.model.artefact import Artefact, read_artefact
from service.model.weights import load_model


def main() -> int:
    folder, graph, model_id = sys.argv[1:]
    try:
        convert(read_artefact(Path(folder), model_id=model_id, revision=None), Path(graph))
    except StartupError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def convert(artefact: Artefact, graph: Path) -> None:
    """Write the graph of normalised waveforms, float32 (n, samples), to logits (n, labels), n free.

    Weights stay float32: the precision is chosen where the graph is compiled. Through the front end alone, as
    `openvino.convert_model` reports its use to its maker.
    """
    module = _Logits(load_model(artefact))
    # A name of its own, as the front end does not keep it alive.
    decoder = TorchScriptPythonDecoder(module, example_input=torch.zeros(1, artefact.window.samples))
    front_end = FrontEndManager().load_by_framework("pytorch")
    model = front_end.convert(front_end.load(decoder))
    model.reshape([-1, artefact.window.samples])
    openvino.save_model(model, graph, compress_to_fp16=False)


class _Logits(torch.nn.Module):
    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_values: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.model(input_values).logits
        return logits


if __name__ == "__main__":
    sys.exit(main())
