"""Feature encoder on the CPU, computed in tiles on all cores: for serving, and for the training cache."""

from pathlib import Path
from typing import Any

import numpy as np
import openvino
from safetensors import SafetensorError

from service.audio import Waveform
from service.model.graphs.compilation import GraphError, compile_graph, read_graph
from service.model.graphs.tiling import MAX_TILE_FRAMES, Features, Tiling, tile_frames
from service.model.layout import TiledGraphs

_REQUESTS_PER_STREAM = 2
"""One that computes, and one that waits with its samples while the features of the last are put away."""


class TiledEncoder:
    """A compiled feature encoder for windows of `samples` samples, float32, normalised as the model wants them.

    Each of `threads` cores has a stream of one thread, and computes tiles of its own. precision: `bf16` or `f32`.
    Blocks; one thread calls it. Raises GraphError.
    """

    def __init__(
        self,
        graphs: TiledGraphs,
        samples: int,
        threads: int,
        precision: str,
        max_tile_frames: int = MAX_TILE_FRAMES,
    ) -> None:
        self._tiling = tiling = _read_tiling(graphs.tiling)
        self._frames = tiling.frames(samples)
        self._tile_frames = tile_frames(self._frames, threads, max_tile_frames)
        model = read_graph(graphs.encoder)
        if len(model.inputs) != (3 if tiling.first_layer else 1) or model.output(0).partial_shape[1] != tiling.channels:
            raise GraphError(f"{graphs.encoder.name} and {graphs.tiling.name} are of two models")
        model.reshape({0: [1, 1, tiling.samples(self._tile_frames)]})
        compiled = compile_graph(
            model,
            graphs.encoder,
            INFERENCE_PRECISION_HINT=precision,
            NUM_STREAMS=threads,
            INFERENCE_NUM_THREADS=threads,
        )
        self._queue = openvino.AsyncInferQueue(compiled, _REQUESTS_PER_STREAM * threads)
        self._queue.set_callback(self._put_away)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of the features of a window: 1, channels, frames."""
        return 1, self._tiling.channels, self._frames

    def features(self, window: Waveform) -> Features:
        """The output of the encoder for one window, float32 (1, channels, frames).

        Of a window that repeats itself only the frames up to there are computed.
        """
        features = np.empty(self.shape, np.float32)
        distinct = self._tiling.repetition(window)
        scales = self._tiling.first_layer.normalisation(window) if self._tiling.first_layer else ()
        for first, tile in self._tiling.tiles(window, self._tile_frames):
            if first >= distinct:
                break
            target = features[:, :, first : first + self._tile_frames]
            self._queue.start_async([tile[None, None], *scales], target)
        self._queue.wait_all()
        for first in range(distinct, self._frames, distinct):
            later = features[:, :, first : first + distinct]
            later[:] = features[:, :, : later.shape[2]]
        return features

    @staticmethod
    def _put_away(request: Any, target: Features) -> None:
        # The last tile may hear zeros behind the end of the window.
        target[:] = request.get_output_tensor().data[:, :, : target.shape[2]]


def _read_tiling(path: Path) -> Tiling:
    try:
        return Tiling.load(path)
    except (OSError, KeyError, ValueError, TypeError, AttributeError, SafetensorError) as error:
        raise GraphError(f"{path.name} cannot be read") from error
