"""The model as transformers runs it: for GPUs, for BACKEND=torch, and as what a graph is converted from."""

import numpy as np
import torch

from service.inference.backend import Outputs, Windows
from service.model.artefact import Artefact
from service.model.graphs.cutting import LogitsAndEmbedding
from service.model.weights import load_model


class TorchBackend:
    """On the GPU when there is one, else on `threads` cores in float32.

    On a GPU in bfloat16 where it has that: in float16 a loud input, or large weights, pass the largest number, 65504.
    """

    note: str | None = None

    def __init__(self, artefact: Artefact, threads: int) -> None:
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._dtype = _half_precision() if self._device.type == "cuda" else torch.float32
        self.name = f"torch-{self._device.type}-{str(self._dtype).removeprefix('torch.')}"
        # On a CPU a batch gains nothing and costs latency; on a GPU small batches leave most of it idle.
        self.max_batch = 16 if self._device.type == "cuda" else 1
        torch.set_num_threads(threads)
        self._artefact = artefact
        self._model = LogitsAndEmbedding(load_model(artefact)).to(self._device, self._dtype)
        if self._device.type == "cuda":
            # CUDA loads its kernels at first use, for seconds, which would pass for the speed of the model.
            self.infer(np.zeros((1, artefact.window.samples), np.float32))

    @torch.inference_mode()
    def infer(self, windows: Windows) -> Outputs:
        """Compute the outputs of windows, as `Backend.infer` says."""
        inputs = torch.from_numpy(windows).to(self._device, self._dtype)
        logits, *embeddings = (output.float().cpu().numpy() for output in self._model(inputs))
        return Outputs(self._artefact.probabilities(logits), embeddings[0] if embeddings else None, logits)


def _half_precision() -> torch.dtype:
    # Emulated bfloat16 is slower than float32.
    return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
