"""The way to a loaded engine: pull the model repo, read its contract, load and warm the model."""

import logging
import time

from huggingface_hub.utils.tqdm import disable_progress_bars

from service.artefact import read_artefact
from service.engine import Engine
from service.hub import fetch

logger = logging.getLogger(__name__)


def load_engine(model_id: str, revision: str, *, deadline_s: float) -> Engine:
    """Blocks until the model can answer. Raises StartupError when somebody must change something first."""
    # Bars are no log lines.
    disable_progress_bars()
    started = time.perf_counter()
    snapshot = fetch(model_id, revision, deadline_s=deadline_s)
    name = model_id if snapshot.commit else snapshot.folder.name
    artefact = read_artefact(snapshot.folder, model_id=name, revision=snapshot.commit)
    # torch and transformers take seconds to import; here they delay neither /livez nor what has gone wrong so far.
    from transformers.utils.logging import disable_progress_bar

    from service.backends import TorchBackend

    disable_progress_bar()
    engine = Engine(artefact, TorchBackend(artefact))
    logger.info(
        "model ready",
        extra={
            "model_id": artefact.model_id,
            "revision": artefact.revision,
            "backend": engine.backend.name,
            "defaulted": artefact.defaulted,
            "load_s": round(time.perf_counter() - started, 1),
        },
    )
    return engine
