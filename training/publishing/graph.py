"""The inference graph that travels in the model repo, so that serving converts nothing."""

import shutil
import warnings
from pathlib import Path

import openvino
import torch
from openvino.frontend import FrontEndManager
from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder
from transformers import AutoModelForAudioClassification, PreTrainedModel

GRAPH = Path("openvino", "model.xml")
"""Where in the model folder the service looks for it; the weights lie beside it in model.bin."""

INT8_GRAPH = Path("openvino", "int8.xml")
"""The service prefers it, where serving.json names it."""


def export_graph(folder: Path, *, samples: int) -> None:
    """Write the OpenVINO graph of normalised waveforms, float32 (n, samples), to logits (n, genres), n free.

    Of the model as it was saved: the trained object still computes in the Trainer's mixed precision. What an earlier
    model left there goes, its int8 graph included.

    Weights stay float32: the service chooses the precision for its CPU.
    """
    shutil.rmtree((folder / GRAPH).parent, ignore_errors=True)
    (folder / GRAPH).parent.mkdir(parents=True)
    module = _Logits(AutoModelForAudioClassification.from_pretrained(folder)).eval()
    with warnings.catch_warnings():
        # What depends on the length of the input is fixed by tracing, and the length is always the window's. The others
        # are about how OpenVINO and transformers use libraries of their own.
        warnings.simplefilter("ignore")
        # A name of its own, as the front end does not keep it alive. (`openvino.convert_model` would report its use.)
        decoder = TorchScriptPythonDecoder(module, example_input=torch.zeros(1, samples))
        front_end = FrontEndManager().load_by_framework("pytorch")
        graph = front_end.convert(front_end.load(decoder))
    graph.reshape([-1, samples])
    openvino.save_model(graph, folder / GRAPH, compress_to_fp16=False)


class _Logits(torch.nn.Module):
    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_values: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.model(input_values).logits
        return logits
