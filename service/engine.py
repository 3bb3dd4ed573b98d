"""The inference engine: one thread computes the windows of all requests in turn."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import numpy as np
import numpy.typing as npt

from service.artefact import Artefact

_SPEED_SMOOTHING = 0.2

Windows = npt.NDArray[np.float32]
"""float32 (n, window samples), mono at the model's rate, not yet normalised."""

Probabilities = npt.NDArray[np.float32]
"""float32 (n, labels), each row sums to 1, calibrated, columns in the order of the artefact's labels."""


class Backend(Protocol):
    """What computes: a plain blocking object that one thread calls."""

    name: str
    """What runs, for `/model` and the metrics, such as `torch-cpu-float32`."""

    def probabilities(self, windows: Windows) -> Probabilities: ...


class Engine:
    """A loaded, warm model that any number of requests share.

    Building it computes two windows, so that the first request finds everything allocated, and `speed` (seconds of
    audio computed per second) a first value. Blocks for that long.
    """

    def __init__(self, artefact: Artefact, backend: Backend) -> None:
        self.artefact = artefact
        self.backend = backend
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="inference")
        samples = round(artefact.window_s * artefact.sampling_rate)
        noise = np.random.default_rng(0).standard_normal((1, samples)).astype(np.float32)
        backend.probabilities(noise)
        self.speed = artefact.window_s / self._time(noise)[1]

    async def probabilities(self, windows: Windows) -> Probabilities:
        """float32 (n, labels) for windows (n, samples), n >= 1.

        A request has at most one window in the thread's queue, so that requests take turns and a long recording
        starves nobody; one that is cancelled computes no further window.
        """
        loop = asyncio.get_running_loop()
        rows = []
        for window in np.split(windows, len(windows)):
            row, elapsed_s = await loop.run_in_executor(self._thread, self._time, window)
            self.speed += _SPEED_SMOOTHING * (self.artefact.window_s / elapsed_s - self.speed)
            rows.append(row)
        return np.concatenate(rows)

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _time(self, windows: Windows) -> tuple[Probabilities, float]:
        started = time.perf_counter()
        return self.backend.probabilities(windows), time.perf_counter() - started
