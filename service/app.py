"""Wires the parts of the service together: `create_app`. Settings are read here and in `__main__` only."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING

from asgi_correlation_id import CorrelationIdMiddleware
from asgi_correlation_id.middleware import is_valid_uuid4
from fastapi import Depends, FastAPI
from fastapi.middleware.cors import CORSMiddleware
from fastapi.security import APIKeyHeader, HTTPBearer
from fastapi_offline import FastAPIOffline
from starlette.middleware import Middleware

from service import problems
from service.api import routes
from service.auth.keys import KeyRing
from service.classification.admission import Admission
from service.classification.classifier import Bounds, Classifier
from service.classification.golden import check_golden_clips
from service.decoding.pool import DecoderPool
from service.errors import StartupError, Unauthorized
from service.metrics import Metrics
from service.middleware.authentication import AuthenticationMiddleware
from service.middleware.body_limit import BodyLimitMiddleware
from service.middleware.drain import Drain, DrainMiddleware
from service.middleware.form_charset import FormCharsetMiddleware
from service.middleware.methods import MethodsMiddleware
from service.middleware.metrics_port import MetricsPortMiddleware
from service.middleware.request_log import RequestLogMiddleware
from service.middleware.root_path import RootPathMiddleware
from service.middleware.security_headers import DOCS_FILES, SecurityHeadersMiddleware
from service.middleware.streaming import StreamingMiddleware
from service.runtime.daemon_thread import in_daemon_thread
from service.runtime.resources import available_cpus
from service.settings import Settings, parse_list
from service.ui import page
from service.ui.hardening import uploads
from service.ui.hardening.routes import PageRoutesMiddleware

if TYPE_CHECKING:
    from service.inference.engine import Engine

logger = logging.getLogger(__name__)

# Two, so that one file that hangs does not stop everybody; more than a few cores' worth feed any GPU.
_MIN_DECODERS = 2
_MAX_DECODERS = 8

# A UUID with its dashes.
_MAX_REQUEST_ID = 36

# The page keeps so many uploads of the largest size, or as many bytes in smaller ones.
_KEPT_UPLOADS = 10


def create_app(
    settings: Settings, *, on_startup_failure: Callable[[], None], on_ready: Callable[[], None] = lambda: None
) -> FastAPI:
    """The service as an ASGI application. It answers at once; the model loads in the background.

    Its `state.drain` is begun before it is shut down. Raises StartupError when the API keys cannot be used.

    on_startup_failure: called from the event loop when the model cannot be loaded, after one log line that says why.
    on_ready: called from the event loop once the model answers.
    """
    metrics = Metrics()
    keys = KeyRing(parse_list(settings.api_keys.get_secret_value()), settings.api_keys_file)
    decoders = _decoders(settings, metrics)
    classifier = _classifier(settings, decoders, metrics)
    drain = Drain(lambda: classifier.is_busy)
    # FastAPIOffline serves Swagger's scripts from here: visitors of /docs type their keys into them.
    app = FastAPIOffline(
        title="Music genre service",
        description="Which genre is a recording?",
        version=version("music-genre-service"),
        lifespan=_lifespan(settings, classifier, decoders, keys, on_startup_failure, on_ready),
        middleware=_middleware(settings, metrics, keys, drain),
        redoc_url=None,
        static_url=DOCS_FILES,
    )
    app.state.classifier = classifier
    app.state.metrics = metrics
    app.state.drain = drain
    _add_routes(app, keys)
    problems.install(app)
    page.mount(app, classifier, max_upload_bytes=settings.max_upload_bytes, root_path=settings.root_path)
    return app


def _decoders(settings: Settings, metrics: Metrics) -> DecoderPool:
    count = settings.decoders or min(max(available_cpus(), _MIN_DECODERS), _MAX_DECODERS)
    return DecoderPool(count, metrics, wall_s=settings.request_deadline_s)


def _classifier(settings: Settings, decoders: DecoderPool, metrics: Metrics) -> Classifier:
    bounds = Bounds(
        max_windows=settings.max_windows,
        max_analysed_s=settings.max_analysed_s,
        deadline_s=settings.request_deadline_s,
    )
    return Classifier(Admission(settings.max_queue_s, settings.request_deadline_s), decoders, metrics, bounds)


def _middleware(settings: Settings, metrics: Metrics, keys: KeyRing, drain: Drain) -> list[Middleware]:
    """The middlewares around every request, outermost first."""
    layers: list[Middleware | None] = [
        Middleware(CorrelationIdMiddleware, validator=_is_request_id),
        Middleware(SecurityHeadersMiddleware, page=page.PATH),
        Middleware(RequestLogMiddleware, metrics=metrics, page=page.PATH),
        Middleware(StreamingMiddleware),
        # Allows nothing unless told; without a policy of ours Gradio would allow its routes to every origin. An allowed
        # origin may send any header: upload widgets and tracing add their own, and cookies are never allowed.
        Middleware(
            CORSMiddleware,
            allow_origins=parse_list(settings.cors_origins),
            allow_methods=["GET", "HEAD", "POST"],
            allow_headers=["*"],
            expose_headers=["X-Request-ID", "Retry-After", "WWW-Authenticate", "Allow"],
            # Of a page on the internet that calls a service in the visitor's network.
            allow_private_network=True,
        ),
        Middleware(MethodsMiddleware),
        Middleware(MetricsPortMiddleware, port=settings.metrics_port) if settings.metrics_port else None,
        Middleware(DrainMiddleware, drain=drain),
        Middleware(FormCharsetMiddleware),
        Middleware(
            BodyLimitMiddleware,
            max_bytes=settings.max_upload_bytes,
            timeout_s=settings.upload_timeout_s,
            advice="Send a shorter or more compressed recording.",
        ),
        Middleware(AuthenticationMiddleware, keys=keys, page=page.PATH) if keys else None,
        Middleware(PageRoutesMiddleware, page=page.PATH),
        Middleware(RootPathMiddleware, root_path=settings.root_path) if settings.root_path else None,
    ]
    return [layer for layer in layers if layer]


def _add_routes(app: FastAPI, keys: KeyRing) -> None:
    app.include_router(routes.open_router)
    # For the OpenAPI document alone: the authentication middleware has looked at the key by then.
    schemes = (HTTPBearer(auto_error=False), APIKeyHeader(name="X-API-Key", auto_error=False))
    app.include_router(
        routes.router,
        dependencies=[Depends(scheme) for scheme in schemes if keys],
        responses=problems.responses(Unauthorized) if keys else None,
    )


def _lifespan(
    settings: Settings,
    classifier: Classifier,
    decoders: DecoderPool,
    keys: KeyRing,
    on_startup_failure: Callable[[], None],
    on_ready: Callable[[], None],
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    """Starts the decoders, the loading of the model and the periodic work; ends them at shutdown."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        decoders.start()
        clean_up = uploads.delete_expired_periodically(
            uploads.upload_dir(),
            max_bytes=_KEPT_UPLOADS * settings.max_upload_bytes,
            partial_s=settings.upload_timeout_s,
        )
        loading = _load_model(settings, classifier, decoders, on_startup_failure, on_ready)
        tasks = [asyncio.create_task(work) for work in (loading, keys.watch(), clean_up)]
        yield
        for task in tasks:
            task.cancel()
        classifier.close()

    return lifespan


async def _load_model(
    settings: Settings,
    classifier: Classifier,
    decoders: DecoderPool,
    on_failure: Callable[[], None],
    on_ready: Callable[[], None],
) -> None:
    started = time.perf_counter()
    try:
        engine = await in_daemon_thread("startup", lambda: _load_engine(settings))
        await check_golden_clips(engine, decoders)
    except StartupError as error:
        logger.error("%s", error)
        on_failure()
    except Exception:
        logger.exception("The model could not be loaded.")
        on_failure()
    else:
        classifier.load(engine)
        logger.info(
            "model ready",
            extra={
                "model_id": engine.artefact.model_id,
                "revision": engine.artefact.revision,
                "backend": engine.backend.name,
                "defaulted": engine.artefact.defaulted_fields,
                "load_s": round(time.perf_counter() - started, 1),
            },
        )
        on_ready()


def _load_engine(settings: Settings) -> "Engine":
    # Imported in the thread, as the imports would hold up the first answer.
    from service.inference.loading import load_engine

    return load_engine(settings)


def _is_request_id(value: str) -> bool:
    """Whether a client's request id is a UUID, such as one of a proxy: it is logged."""
    return len(value) <= _MAX_REQUEST_ID and is_valid_uuid4(value)
