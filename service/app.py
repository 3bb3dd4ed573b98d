"""`create_app`: the parts of the service, wired together. Nothing else reads the settings."""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.metadata import version

from asgi_correlation_id import CorrelationIdMiddleware
from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware

from service import api, problems
from service.admission import Admission
from service.classify import Bounds, Classifier
from service.engine import Engine
from service.errors import StartupError
from service.metrics import Metrics
from service.middleware import BodyLimit, RequestLog
from service.root_path import RootPath
from service.settings import Settings
from service.ui import page

logger = logging.getLogger(__name__)


def create_app(settings: Settings, *, on_startup_failure: Callable[[], None]) -> FastAPI:
    """The service as an ASGI application. It answers at once; the model loads in the background.

    on_startup_failure: called from the event loop when the model cannot be loaded, after one log line that says why.
    """
    metrics = Metrics()
    bounds = Bounds(
        max_windows=settings.max_windows,
        max_analysed_s=settings.max_analysed_s,
        deadline_s=settings.request_deadline_s,
        early_exit=settings.early_exit,
    )
    classifier = Classifier(Admission(settings.max_queue_s, settings.request_deadline_s), metrics, bounds)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()

        def loaded(outcome: Engine | Exception) -> None:
            if isinstance(outcome, Engine):
                classifier.load(outcome)
                return
            if isinstance(outcome, StartupError):
                logger.error("%s", outcome)
            else:
                logger.error("The model could not be loaded.", exc_info=outcome)
            on_startup_failure()

        def load() -> None:
            outcome: Engine | Exception
            try:
                # Here, as its imports would hold up the first answer.
                from service.startup import load_engine

                outcome = load_engine(settings)
            except Exception as error:
                outcome = error
            if not loop.is_closed():
                loop.call_soon_threadsafe(loaded, outcome)

        # A daemon: a download under way must not hold up the exit.
        threading.Thread(target=load, name="startup", daemon=True).start()
        yield
        classifier.close()

    app = FastAPI(
        title="Music genre service",
        description="Which genre is a recording?",
        version=version("music-genre-service"),
        lifespan=lifespan,
        redoc_url=None,
    )
    app.state.classifier = classifier
    app.state.metrics = metrics
    app.include_router(api.router)
    problems.install(app)
    page.mount(app, classifier, max_upload_bytes=settings.max_upload_bytes, root_path=settings.root_path)
    # The last one added is the outermost.
    if settings.root_path:
        app.add_middleware(RootPath, root_path=settings.root_path)
    app.add_middleware(BodyLimit, max_bytes=settings.max_upload_bytes)
    # Allows nothing; without it Gradio would allow its routes to every origin.
    app.add_middleware(CORSMiddleware)
    app.add_middleware(RequestLog, metrics=metrics)
    app.add_middleware(CorrelationIdMiddleware)
    return app
