"""What computes: windows in, probabilities out. A backend is a plain blocking object that one thread calls."""

import os
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from transformers import AutoFeatureExtractor, AutoModelForAudioClassification

from service.artefact import Artefact
from service.engine import Probabilities, Windows
from service.errors import StartupError


class TorchBackend:
    """The model as transformers runs it: on the GPU when there is one, else on all cores in float32."""

    def __init__(self, artefact: Artefact) -> None:
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._dtype = torch.float16 if self._device.type == "cuda" else torch.float32
        self.name = f"torch-{self._device.type}-{str(self._dtype).removeprefix('torch.')}"
        self._sampling_rate = artefact.sampling_rate
        self._temperature = artefact.temperature
        torch.set_num_threads(len(os.sched_getaffinity(0)))
        self._extractor = _load_extractor(artefact)
        self._model = _load_model(artefact).to(self._device, self._dtype).eval()

    @torch.inference_mode()
    def probabilities(self, windows: Windows) -> Probabilities:
        """One window at a time: on a CPU a batch gains nothing, and costs memory by its size."""
        return np.concatenate([self._probabilities(window) for window in windows])

    def _probabilities(self, window: npt.NDArray[np.float32]) -> Probabilities:
        inputs = self._extractor(window, sampling_rate=self._sampling_rate, return_tensors="pt").to(self._device)
        inputs = {name: value.to(self._dtype) if value.is_floating_point() else value for name, value in inputs.items()}
        logits = self._model(**inputs).logits.float()
        probabilities: Probabilities = torch.softmax(logits / self._temperature, dim=-1).cpu().numpy()
        return probabilities


def _load_extractor(artefact: Artefact) -> Any:
    try:
        return AutoFeatureExtractor.from_pretrained(artefact.folder, local_files_only=True)
    except (ValueError, KeyError, TypeError, OSError, ImportError) as error:
        raise StartupError(
            f"preprocessor_config.json of {artefact.model_id} names no feature extractor that this service can run. "
            "MODEL_ID must name a HuBERT, wav2vec2, WavLM or similar model."
        ) from error


def _load_model(artefact: Artefact) -> torch.nn.Module:
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
    loaded: torch.nn.Module = model
    return loaded
