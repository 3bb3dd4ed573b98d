"""The model as OpenVINO graphs: several times as fast as transformers on a CPU, and without importing torch."""

from service.errors import StartupError
from service.inference.backend import Outputs, Windows
from service.model.artefact import Artefact
from service.model.graphs.compilation import GraphError
from service.model.graphs.locate import Located
from service.model.graphs.runner import GraphRunner
from service.model.layout import WholeGraph

_WHOLE = (
    "The model runs as one graph: its repo holds no other, or its feature encoder cannot be computed in tiles. "
    "python -m training.export makes the faster ones where there are such."
)

_PIPELINED_THREADS = 8
"""Number of threads from which on windows are worth computing together. With 16 threads this makes 8 windows 1.15 times
as fast, with 2 and 4 no faster (`python -m tests.benchmarks.tiles`)."""

_PIPELINED_WINDOWS = 4


class OpenVINOBackend:
    """The graphs of a model on `threads` cores. precision: of what is not in 8 bits, `bf16` or `f32`."""

    def __init__(self, located: Located, artefact: Artefact, threads: int, precision: str) -> None:
        is_whole = isinstance(located.graphs, WholeGraph)
        self.name = "openvino-int8" if located.precision == "int8" else f"openvino-{precision}"
        self.note = _WHOLE if is_whole else None
        self.max_batch = _PIPELINED_WINDOWS if threads >= _PIPELINED_THREADS and not is_whole else 1
        self._artefact = artefact
        try:
            self._runner = GraphRunner(located.graphs, artefact.window.samples, threads, precision)
            if self._runner.labels != len(artefact.labels):
                raise GraphError(f"they know {self._runner.labels} genres and config.json {len(artefact.labels)}")
        except GraphError as error:
            raise StartupError(
                f"The OpenVINO graphs of {artefact.model_id} cannot be used: {error}. Export them again with "
                "python -m training.export, and push the model again."
            ) from error

    def infer(self, windows: Windows) -> Outputs:
        """Compute the outputs of windows, as `Backend.infer` says."""
        logits, embeddings = self._runner.infer(windows)
        return Outputs(self._artefact.probabilities(logits), embeddings, logits)
