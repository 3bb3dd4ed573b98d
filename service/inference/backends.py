"""Which backend computes: OpenVINO on a CPU, torch on a GPU, or what BACKEND says."""

import importlib
import logging
from pathlib import Path
from typing import Literal

from service.inference.engine import Backend
from service.model.artefact import Artefact
from service.model.graph import ConversionError, graph_of

logger = logging.getLogger(__name__)

Choice = Literal["auto", "openvino", "torch"]


def load_backend(choice: Choice, artefact: Artefact, threads: int) -> Backend:
    """Load the model into the backend. Blocks for seconds. Raises StartupError, and ConversionError for "openvino".

    Each backend is imported only here: torch and transformers cost seconds and hundreds of megabytes.
    """
    if choice == "torch" or (choice == "auto" and _has_nvidia_gpu()):
        return _torch(artefact, threads)
    try:
        graph = graph_of(artefact)
    except ConversionError as error:
        if choice == "openvino":
            raise
        logger.warning("OpenVINO cannot run this model; torch runs it, slower.", extra={"reason": str(error)})
        return _torch(artefact, threads)
    from service.inference.openvino_backend import OpenVINOBackend

    return OpenVINOBackend(graph, artefact, threads)


def _torch(artefact: Artefact, threads: int) -> Backend:
    # The page imports it at the same time, in another thread. It replaces itself at the end of its import, and whoever
    # waited for that gets the empty module that it was before; the next import gets the whole one.
    importlib.import_module("transformers")
    from service.inference.torch_backend import TorchBackend

    return TorchBackend(artefact, threads)


def _has_nvidia_gpu() -> bool:
    """Asked of the driver's device file: asking torch would mean importing it."""
    return Path("/dev/nvidiactl").exists()
