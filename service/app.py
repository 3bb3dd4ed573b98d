"""Builds the service from its parts: `create_app`."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING

from asgi_correlation_id import CorrelationIdMiddleware
from asgi_correlation_id.middleware import is_valid_uuid4
from fastapi import Depends, FastAPI
from fastapi.middleware.cors import CORSMiddleware
from fastapi.security import APIKeyHeader, HTTPBearer
from fastapi.telemetry import TelemetryConfig
from fastapi_offline import FastAPIOffline
from starlette.middleware import Middleware

from service import problems
from service.api import admin, batch, huggingface, openapi, routes
from service.api.open_inference import routes as open_inference
from service.auth.keys import KeyRing
from service.classification.admission import Admission
from service.classification.classifier import Bounds, Classifier
from service.classification.reload import Reloader
from service.classification.result_cache import ResultCache
from service.decoding.pool import DecoderPool
from service.errors import StartupError, Unauthorized
from service.metrics import Metrics
from service.middleware.authentication import AuthenticationMiddleware
from service.middleware.body_limit import BodyLimitMiddleware
from service.middleware.drain import Drain, DrainMiddleware
from service.middleware.form_charset import FormCharsetMiddleware
from service.middleware.methods import MethodsMiddleware
from service.middleware.metrics_port import MetricsPortMiddleware
from service.middleware.paths import OPERATIONAL_PATHS, is_below
from service.middleware.request_log import RequestLogMiddleware, UnforeseenErrorMiddleware
from service.middleware.root_path import RootPathMiddleware
from service.middleware.security_headers import DOCS_FILES, SecurityHeadersMiddleware
from service.middleware.streaming import StreamingMiddleware
from service.middleware.trace_response import TraceResponseMiddleware
from service.runtime import tracing
from service.runtime.resources import available_cpus
from service.settings import Settings, parse_list
from service.ui import page
from service.ui.hardening.routes import PageRoutesMiddleware

if TYPE_CHECKING:
    from service.inference.loading import ModelLoader

logger = logging.getLogger(__name__)

# Two, so that one file that hangs does not stop everybody; more than a few cores' worth feed any GPU.
_MIN_DECODERS = 2
_MAX_DECODERS = 8

# A UUID with its dashes.
_MAX_REQUEST_ID = 36


def create_app(
    settings: Settings, *, on_startup_failure: Callable[[], None], on_ready: Callable[[], None] = lambda: None
) -> FastAPI:
    """The service as an ASGI application. It answers at once; the model loads in the background.

    Its `state.drain` is begun before it is shut down. Raises StartupError when the API keys cannot be used or
    Gradio is missing.

    on_startup_failure: called from the event loop when the model cannot be loaded, after one log line that says why.
    on_ready: called from the event loop once the model answers.
    """
    metrics = Metrics()
    keys = KeyRing(parse_list(settings.api_keys.get_secret_value()), settings.api_keys_file)
    admin_keys = KeyRing([], settings.admin_keys_file, setting="ADMIN_KEYS")
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
        telemetry=_telemetry(),
        generate_unique_id_function=lambda route: route.name,
        redoc_url=None,
        static_url=DOCS_FILES,
    )
    app.state.classifier = classifier
    app.state.reloader = Reloader(
        lambda: _make_loader(settings), classifier, decoders, metrics, interval_s=settings.reload_interval_s
    )
    app.state.admin_keys = admin_keys
    app.state.metrics = metrics
    app.state.index = f"{page.PATH}/" if settings.page else "/docs"
    app.state.drain = drain
    _add_routes(app, keys, admin_keys)
    problems.install(app)
    openapi.install(app)
    if settings.page:
        page.mount(
            app,
            classifier,
            max_upload_bytes=settings.max_upload_bytes,
            upload_timeout_s=settings.upload_timeout_s,
            root_path=settings.root_path,
        )
    return app


def _telemetry() -> TelemetryConfig:
    """Spans of requests by FastAPI, and nothing else of what it offers: metrics and logs are ours. Probes and the page,
    whose requests are mostly files and waiting, have none; a classification for the page has a trace of its own."""
    provider = tracing.provider()
    return TelemetryConfig(
        tracer_provider=provider,
        tracing=provider is not None,
        metrics=False,
        logs=False,
        operation_spans=False,
        auto_configure=False,
        exclude=lambda scope: scope["path"] in OPERATIONAL_PATHS or is_below(scope["path"], page.PATH),
    )


def _decoders(settings: Settings, metrics: Metrics) -> DecoderPool:
    count = settings.decoders or min(max(available_cpus(), _MIN_DECODERS), _MAX_DECODERS)
    return DecoderPool(count, metrics, wall_s=settings.request_deadline_s)


def _classifier(settings: Settings, decoders: DecoderPool, metrics: Metrics) -> Classifier:
    bounds = Bounds(
        max_windows=settings.max_windows,
        max_analysed_s=settings.max_analysed_s,
        deadline_s=settings.request_deadline_s,
    )
    results = ResultCache(round(settings.result_cache_mb * 1_000_000), metrics) if settings.result_cache_mb else None
    admission = Admission(settings.max_queue_s, settings.request_deadline_s)
    return Classifier(admission, decoders, metrics, bounds, results)


def _middleware(settings: Settings, metrics: Metrics, keys: KeyRing, drain: Drain) -> list[Middleware]:
    """The middlewares around every request, outermost first."""
    own_keys = admin.PREFIX if settings.admin_keys_file else None
    login_page = page.PATH if settings.page else None
    layers: list[Middleware | None] = [
        Middleware(CorrelationIdMiddleware, validator=_is_request_id),
        Middleware(TraceResponseMiddleware) if tracing.provider() else None,
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
            expose_headers=["X-Request-ID", "ETag", "Retry-After", "WWW-Authenticate", "Allow", "traceresponse"],
            # Of a page on the internet that calls a service in the visitor's network.
            allow_private_network=True,
        ),
        Middleware(UnforeseenErrorMiddleware),
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
        Middleware(AuthenticationMiddleware, keys=keys, page=login_page, own_keys=own_keys) if keys else None,
        Middleware(PageRoutesMiddleware, page=page.PATH) if settings.page else None,
        Middleware(RootPathMiddleware, root_path=settings.root_path) if settings.root_path else None,
    ]
    return [layer for layer in layers if layer]


def _add_routes(app: FastAPI, keys: KeyRing, admin_keys: KeyRing) -> None:
    app.include_router(routes.open_router)
    if admin_keys:
        app.include_router(admin.router)
    app.include_router(huggingface.open_router)
    app.include_router(open_inference.open_router)
    # For the OpenAPI document alone: the authentication middleware has looked at the key by then.
    schemes = (HTTPBearer(auto_error=False), APIKeyHeader(name="X-API-Key", auto_error=False))
    usual, dialects = (routes.router, batch.router), (huggingface.router, open_inference.router)
    for router in (*usual, *dialects):
        app.include_router(
            router,
            dependencies=[Depends(scheme) for scheme in schemes if keys],
            responses=problems.responses(Unauthorized, in_dialect=router in dialects) if keys else None,
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
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        decoders.start()
        models = _serve_models(app.state.reloader, on_startup_failure, on_ready)
        works = (models, *(ring.watch() for ring in (keys, app.state.admin_keys)))
        tasks = [asyncio.create_task(work) for work in works]
        yield
        for task in tasks:
            task.cancel()
        classifier.close()

    return lifespan


async def _serve_models(reloader: Reloader, on_failure: Callable[[], None], on_ready: Callable[[], None]) -> None:
    """Load the first model, then watch for others."""
    try:
        await reloader.load_first()
    except StartupError as error:
        logger.error("%s", error)
        on_failure()
    except Exception:
        logger.exception("The model could not be loaded.")
        on_failure()
    else:
        on_ready()
        await reloader.watch()


def _make_loader(settings: Settings) -> "ModelLoader":
    # Imported in the thread, as the imports would hold up the first answer.
    from service.inference.loading import ModelLoader

    return ModelLoader(settings)


def _is_request_id(value: str) -> bool:
    """Whether a client's request id is a UUID, such as one of a proxy: it is logged."""
    return len(value) <= _MAX_REQUEST_ID and is_valid_uuid4(value)
