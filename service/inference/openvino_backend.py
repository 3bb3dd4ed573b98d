"""The model as an OpenVINO graph: three times as fast as transformers on a CPU, and without importing torch."""

from pathlib import Path

import numpy as np
import openvino

from service.errors import StartupError
from service.inference.backend import Probabilities, Windows
from service.model.artefact import Artefact
from service.model.layout import INT8_GRAPH


class OpenVINOBackend:
    """A graph compiled for this CPU: in bf16 where the CPU computes in it, else in float32. In an int8 graph this holds
    for what was not quantised.

    graph: float32 (n, samples) to (n, labels). One stream of `threads` threads: a window at a time is done soonest,
    and as many windows in an hour as with any other division of the cores.
    """

    max_batch = 1

    def __init__(self, graph: Path, artefact: Artefact, threads: int) -> None:
        core = openvino.Core()
        precision = "bf16" if "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES") else "f32"
        try:
            model = core.read_model(graph)
            model.reshape([1, artefact.window.samples])
        except RuntimeError as error:
            raise StartupError(
                f"The OpenVINO graph of {artefact.model_id} cannot be read. Export it again with python -m "
                "training.export, and push the model again."
            ) from error
        options = {
            "INFERENCE_PRECISION_HINT": precision,
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
            "INFERENCE_NUM_THREADS": threads,
        }
        self._artefact = artefact
        self.name = "openvino-int8" if graph == artefact.folder / INT8_GRAPH else f"openvino-{precision}"
        self._request = core.compile_model(model, "CPU", options).create_infer_request()

    def probabilities(self, windows: Windows) -> Probabilities:
        """See `Backend.probabilities`."""
        logits = np.concatenate([self._request.infer([window[None]])[0] for window in windows])
        return self._artefact.probabilities(logits.astype(np.float32))
