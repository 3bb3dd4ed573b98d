"""The way to a loaded engine: pull the model repo, read its contract, load and warm the model."""

import logging
import time

from huggingface_hub.utils.tqdm import disable_progress_bars

from service.inference.backends import load_backend
from service.inference.engine import Engine, lower_priority
from service.model.artefact import read_artefact
from service.model.hub import fetch
from service.runtime.resources import available_cpus
from service.settings import Settings

logger = logging.getLogger(__name__)


def load_engine(settings: Settings) -> Engine:
    """Blocks until the model can answer. Raises StartupError when somebody must change something first."""
    # Bars are no log lines, and the client's own handler writes none that are JSON.
    disable_progress_bars()
    logging.getLogger("huggingface_hub").handlers.clear()
    # Health checks come first, here too.
    lower_priority()
    started = time.perf_counter()
    model_id = settings.model_id
    snapshot = fetch(model_id, settings.model_revision, deadline_s=settings.startup_deadline_s)
    name = model_id if snapshot.commit else snapshot.folder.name
    artefact = read_artefact(snapshot.folder, model_id=name, revision=snapshot.commit)
    backend = load_backend(settings.backend, artefact, settings.cpu_threads or available_cpus())
    max_wait_s = settings.max_batch_wait_ms / 1_000
    engine = Engine(artefact, backend, max_batch=settings.max_batch or None, max_wait_s=max_wait_s)
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
