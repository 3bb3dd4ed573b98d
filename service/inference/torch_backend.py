"""The model as transformers runs it: for GPUs, for BACKEND=torch, and as what a graph is converted from."""

import torch

from service.inference.backend import Probabilities, Windows
from service.model.artefact import Artefact
from service.model.calibration import calibrated_probabilities
from service.model.weights import load_model


class TorchBackend:
    """On the GPU in float16 when there is one, else on `threads` cores in float32."""

    def __init__(self, artefact: Artefact, threads: int) -> None:
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._dtype = torch.float16 if self._device.type == "cuda" else torch.float32
        self.name = f"torch-{self._device.type}-{str(self._dtype).removeprefix('torch.')}"
        # On a CPU a batch gains nothing and costs latency; on a GPU small batches leave most of it idle.
        self.max_batch = 16 if self._device.type == "cuda" else 1
        torch.set_num_threads(threads)
        self._temperature = artefact.temperature
        self._model = load_model(artefact).to(self._device, self._dtype)

    @torch.inference_mode()
    def probabilities(self, windows: Windows) -> Probabilities:
        """See `Backend.probabilities`."""
        inputs = torch.from_numpy(windows).to(self._device, self._dtype)
        logits = self._model(inputs).logits.float().cpu().numpy()
        return calibrated_probabilities(logits, self._temperature)
