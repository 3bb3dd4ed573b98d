"""The weights of a model repo, loaded as a torch module."""

import torch
from safetensors import SafetensorError
from transformers import AutoModelForAudioClassification
from transformers.utils.logging import disable_progress_bar

from service.errors import StartupError
from service.model.artefact import Artefact


def load_model(artefact: Artefact) -> torch.nn.Module:
    """The model in evaluation mode, float32, on the CPU. Raises StartupError when it is no model that classifies."""
    disable_progress_bar()
    try:
        model, report = AutoModelForAudioClassification.from_pretrained(
            artefact.folder,
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
            # Code of a model repo is never run.
            trust_remote_code=False,
        )
    except (ValueError, KeyError, OSError, RuntimeError, SafetensorError) as error:
        if "trust_remote_code" in str(error):
            raise StartupError(
                f"{artefact.model_id} comes with code of its own, which is never run. MODEL_ID must name a model that "
                "transformers knows by itself."
            ) from error
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
