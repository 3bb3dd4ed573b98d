"""The way to a loaded engine: pull the model repo, read its contract, load and warm the model."""

import logging
import time

from service.artefact import read_artefact
from service.engine import Engine
from service.hub import fetch

logger = logging.getLogger(__name__)


def load_engine(model_id: str, revision: str, *, deadline_s: float) -> Engine:
    """Blocks until the model can answer. Raises StartupError when somebody must change something first."""
    # torch and transformers take seconds to import; here they delay neither /livez nor the page.
    from transformers.utils.logging import disable_progress_bar

    from service.backends import TorchBackend

    disable_progress_bar()
    started = time.perf_counter()
    snapshot = fetch(model_id, revision, deadline_s=deadline_s)
    name = model_id if snapshot.commit else snapshot.folder.name
    artefact = read_artefact(snapshot.folder, model_id=name, revision=snapshot.commit)
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
