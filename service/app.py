"""`create_app`: the parts of the service, wired together. Nothing else reads the settings."""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.metadata import version

from asgi_correlation_id import CorrelationIdMiddleware
from asgi_correlation_id.middleware import is_valid_uuid4
from fastapi import Depends, FastAPI
from fastapi.middleware.cors import CORSMiddleware
from fastapi.security import APIKeyHeader, HTTPBearer
from fastapi_offline import FastAPIOffline

from service import api, problems
from service.auth import keys as security
from service.auth.keys import KeyRing
from service.classification.admission import Admission
from service.classification.classifier import Bounds, Classifier
from service.decoding.pool import DecoderPool
from service.errors import StartupError, Unauthorized
from service.inference.engine import Engine
from service.metrics import Metrics
from service.middleware import security_headers
from service.middleware.authentication import AuthenticationMiddleware
from service.middleware.body_limit import BodyLimitMiddleware
from service.middleware.drain import Drain, DrainMiddleware
from service.middleware.metrics_port import MetricsPortMiddleware
from service.middleware.request_log import RequestLogMiddleware
from service.middleware.root_path import RootPathMiddleware
from service.runtime.resources import available_cpus
from service.settings import Settings
from service.ui import page
from service.ui.hardening import uploads
from service.ui.hardening.routes import PageRoutesMiddleware

logger = logging.getLogger(__name__)

# Two, so that one file that hangs does not stop everybody; more than a few cores' worth feed any GPU.
_MIN_DECODERS = 2
_MAX_DECODERS = 8

# A UUID with its dashes.
_MAX_REQUEST_ID = 36

# Besides the one file that is wanted; what is no file is kept in memory.
_FORM_LIMITS = {"max_files": 10, "max_fields": 10, "max_part_size": 10_000}

# The page keeps so many uploads of the largest size, or as many bytes in smaller ones.
_KEPT_UPLOADS = 10


def create_app(settings: Settings, *, on_startup_failure: Callable[[], None]) -> FastAPI:
    """The service as an ASGI application. It answers at once; the model loads in the background.

    Its `state.drain` is begun before it is shut down. Raises StartupError when the API keys cannot be used.

    on_startup_failure: called from the event loop when the model cannot be loaded, after one log line that says why.
    """
    metrics = Metrics()
    keys = KeyRing(security.split(settings.api_keys.get_secret_value()), settings.api_keys_file)
    bounds = Bounds(
        max_windows=settings.max_windows,
        max_analysed_s=settings.max_analysed_s,
        deadline_s=settings.request_deadline_s,
        early_exit=settings.early_exit,
    )
    decoders = DecoderPool(
        settings.decoders or min(max(available_cpus(), _MIN_DECODERS), _MAX_DECODERS),
        metrics,
        wall_s=settings.request_deadline_s,
    )
    admission = Admission(settings.max_queue_s, settings.request_deadline_s)
    classifier = Classifier(admission, decoders, metrics, bounds)

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
                from service.inference.loading import load_engine

                outcome = load_engine(settings)
            except Exception as error:
                outcome = error
            if not loop.is_closed():
                loop.call_soon_threadsafe(loaded, outcome)

        decoders.start()
        # A daemon: a download under way must not hold up the exit.
        threading.Thread(target=load, name="startup", daemon=True).start()
        sweep = uploads.delete_expired_periodically(
            uploads.upload_dir(),
            max_bytes=_KEPT_UPLOADS * settings.max_upload_bytes,
            partial_s=settings.upload_timeout_s,
        )
        tasks = [asyncio.create_task(keys.watch()), asyncio.create_task(sweep)]
        yield
        for task in tasks:
            task.cancel()
        classifier.close()

    # What it adds: Swagger's scripts come from here. Visitors of /docs type their keys into them.
    app = FastAPIOffline(
        title="Music genre service",
        description="Which genre is a recording?",
        version=version("music-genre-service"),
        lifespan=lifespan,
        redoc_url=None,
        form_limits=_FORM_LIMITS,
        static_url=security_headers.DOCS_FILES,
    )
    app.state.classifier = classifier
    app.state.metrics = metrics
    app.state.drain = drain = Drain(lambda: classifier.is_busy)
    app.include_router(api.open_router)
    # For the document alone: the gate has looked at the key by then.
    accepted = (HTTPBearer(auto_error=False), APIKeyHeader(name="X-API-Key", auto_error=False))
    app.include_router(
        api.router,
        dependencies=[Depends(scheme) for scheme in accepted if keys],
        responses=problems.responses(Unauthorized) if keys else None,
    )
    problems.install(app)
    page.mount(app, classifier, max_upload_bytes=settings.max_upload_bytes, root_path=settings.root_path)
    # The last one added is the outermost.
    if settings.root_path:
        app.add_middleware(RootPathMiddleware, root_path=settings.root_path)
    app.add_middleware(PageRoutesMiddleware, page=page.PATH)
    if keys:
        app.add_middleware(AuthenticationMiddleware, keys=keys, metrics=metrics, page=page.PATH)
    app.add_middleware(
        BodyLimitMiddleware,
        max_bytes=settings.max_upload_bytes,
        timeout_s=settings.upload_timeout_s,
        advice="Send a shorter or more compressed recording.",
    )
    app.add_middleware(DrainMiddleware, drain=drain)
    if settings.metrics_port:
        app.add_middleware(MetricsPortMiddleware, port=settings.metrics_port)
    # Allows nothing unless told; without it Gradio would allow its routes to every origin.
    app.add_middleware(
        CORSMiddleware,
        allow_origins=security.split(settings.cors_origins),
        allow_methods=["GET", "POST"],
        allow_headers=["Authorization", "X-API-Key", "X-Request-ID"],
        expose_headers=["X-Request-ID", "Retry-After"],
    )
    app.add_middleware(RequestLogMiddleware, metrics=metrics)
    app.add_middleware(security_headers.SecurityHeadersMiddleware, page=page.PATH)
    app.add_middleware(CorrelationIdMiddleware, validator=_is_request_id)
    return app


def _is_request_id(value: str) -> bool:
    """One of ours, or of a proxy: it is logged."""
    return len(value) <= _MAX_REQUEST_ID and is_valid_uuid4(value)
