"""The model as transformers runs it: for GPUs, for BACKEND=torch, and as what a graph is converted from."""

import torch
from safetensors import SafetensorError
from transformers import AutoModelForAudioClassification
from transformers.utils.logging import disable_progress_bar

from service.errors import StartupError
from service.inference.engine import Probabilities, Windows, softmax
from service.model.artefact import Artefact


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
        inputs = torch.from_numpy(windows).to(self._device, self._dtype)
        return softmax(self._model(inputs).logits.float().cpu().numpy() / self._temperature)


def load_model(artefact: Artefact) -> torch.nn.Module:
    """The model in evaluation mode, float32, on the CPU. Raises StartupError when it is none that classifies."""
    disable_progress_bar()
    try:
        model, report = AutoModelForAudioClassification.from_pretrained(
            artefact.folder, use_safetensors=True, local_files_only=True, output_loading_info=True
        )
    except (ValueError, KeyError, OSError, RuntimeError, SafetensorError) as error:
        raise StartupError(
            f"The weights of {artefact.model_id} do not load as an audio classification model. "
            "MODEL_ID must name a HuBERT, wav2vec2, WavLM or similar model fine-tuned for classification."
        ) from error
    # transformers only warns, and fills what is missing with random numbers.
    # (The mask embedding is used in training only.)
    if missing := sorted(key for key in report["missing_keys"] if not key.endswith("masked_spec_embed")):
        raise StartupError(
            f"{artefact.model_id} lacks trained weights for {missing[0]}: it is a base model, or half a model. "
            "MODEL_ID must name one that was fine-tuned for classification."
        )
    loaded: torch.nn.Module = model.eval()
    return loaded
