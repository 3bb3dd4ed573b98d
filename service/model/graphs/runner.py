"""Runs the graphs of a model on the CPU: windows in, logits and embeddings out."""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from service.audio import Waveform
from service.model.graphs.compilation import GraphError, compile_graph, read_graph
from service.model.graphs.core import CORE
from service.model.graphs.encoder import TiledEncoder
from service.model.layout import Graphs, WholeGraph

Array = npt.NDArray[np.float32]


class GraphRunner:
    """The compiled graphs of a model, for windows of `samples` samples, float32, normalised as the model wants them.

    The feature encoder, which is three quarters of the work, computes tiles on streams of one thread. The rest of the
    model, and a model of one graph, has one stream of `threads` threads, which gives the lowest latency at the same
    throughput. precision: of what is not in 8 bits, `bf16` or `f32`. Blocks; one thread calls it. Raises GraphError.
    """

    def __init__(self, graphs: Graphs, samples: int, threads: int, precision: str) -> None:
        self._encode: Callable[[Waveform], Any] = _batch
        shape: tuple[int, ...] = (1, samples)
        path = graphs.graph if isinstance(graphs, WholeGraph) else graphs.transformer
        if not isinstance(graphs, WholeGraph):
            encoder = TiledEncoder(graphs, samples, threads, precision)
            self._encode, shape = encoder.features, encoder.shape
        model = read_graph(path)
        try:
            model.reshape(list(shape))
        except RuntimeError as error:
            raise GraphError(f"{path.name} takes another input than {shape}") from error
        compiled = compile_graph(
            model,
            path,
            INFERENCE_PRECISION_HINT=precision,
            PERFORMANCE_HINT="LATENCY",
            NUM_STREAMS=1,
            INFERENCE_NUM_THREADS=threads,
        )
        self.labels = int(compiled.output(0).shape[1])
        # Two, as one is filled while the other computes.
        self._requests = itertools.cycle([compiled.create_infer_request() for _ in range(2)])

    def infer(self, windows: Array) -> tuple[Array, Array | None]:
        """Logits (n, labels) and embeddings (n, dimensions) of windows (n, samples); None of a graph without these.

        While the last graph computes one window, the tiles of the next take the cores that it leaves idle.
        """
        rows: list[list[Array]] = []
        running: Any = None
        for window in windows:
            encoded = self._encode(window)
            if running:
                rows.append(_results(running))
            running = next(self._requests)
            running.get_input_tensor().data[:] = encoded
            running.start_async()
        rows.append(_results(running))
        logits, *embeddings = (np.concatenate(column) for column in zip(*rows, strict=True))
        return logits, embeddings[0] if embeddings else None


def best_precision() -> str:
    """The fastest precision of floats on this CPU: `bf16` or `f32`."""
    return "bf16" if "BF16" in CORE.get_property("CPU", "OPTIMIZATION_CAPABILITIES") else "f32"


def _batch(window: Waveform) -> Any:
    return window[None]


def _results(request: Any) -> list[Array]:
    """The outputs of a request, once it is done. Copies, as the next window is written into the same memory."""
    request.wait()
    return [tensor.data.astype(np.float32) for tensor in request.output_tensors]
