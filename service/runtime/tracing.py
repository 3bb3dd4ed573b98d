"""Traces by OpenTelemetry, whose SDK (the extra `tracing`) is imported only where a collector is named.

OpenTelemetry itself reads its standard variables: sampler, resource, headers, time-outs.
"""

import logging
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Tracer

logger = logging.getLogger(__name__)

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_PROTOCOL = "http/protobuf"
_SERVICE_NAME = "music-genre"
# Time to send the remaining spans when the process ends, which may take a second in all.
_FLUSH_S = 0.5

# Global to the process, as its logging is.
_provider: "TracerProvider | None" = None


@contextmanager
def exporting(environment: Mapping[str, str]) -> Iterator[None]:
    """Send spans to the collector that OTEL_EXPORTER_OTLP_ENDPOINT names while the block runs.

    Without it nothing happens, nor where OTEL_SDK_DISABLED or OTEL_TRACES_EXPORTER say so. A collector that cannot be
    spoken to is told in a warning: it is no reason not to serve.
    """
    global _provider
    if not _is_wanted(environment) or not (made := _make_provider()):
        yield
        return
    _provider = made
    try:
        yield
    finally:
        _provider = None
        # In a daemon thread, as the exporter tries again for longer than there is.
        flushing = threading.Thread(target=made.shutdown, name="traces", daemon=True)
        flushing.start()
        flushing.join(_FLUSH_S)


def provider() -> "TracerProvider | None":
    """What makes spans; None where none are sent."""
    return _provider


@contextmanager
def span(name: str) -> Iterator[None]:
    """A span around the block, below the current one. An exception fails it; its text is left to the log."""
    if _provider is None:
        yield
        return
    from opentelemetry.trace import StatusCode

    tracer = _tracer(_provider)
    with tracer.start_as_current_span(name, record_exception=False, set_status_on_exception=False) as current:
        try:
            yield
        except Exception as error:
            current.set_attribute("error.type", type(error).__name__)
            current.set_status(StatusCode.ERROR)
            raise


def annotate(key: str, value: str | float) -> None:
    """Add an attribute to the current span, unless it is empty."""
    if _provider is None or value == "":
        return
    from opentelemetry.trace import get_current_span

    get_current_span().set_attribute(key, value)


def add_span(name: str, start: float, end: float) -> None:
    """Add a span that has ended to the current one, if there is one. start, end: of `time.perf_counter`."""
    if _provider is None:
        return
    from opentelemetry.trace import get_current_span

    if not get_current_span().is_recording():
        return
    epoch_s = time.time() - time.perf_counter()
    _tracer(_provider).start_span(name, start_time=_nanoseconds(epoch_s + start)).end(_nanoseconds(epoch_s + end))


def traceparent() -> str | None:
    """The current span as W3C Trace Context writes it: version, trace, span and flags. None without a span."""
    if _provider is None:
        return None
    from opentelemetry.trace import format_span_id, format_trace_id, get_current_span

    context = get_current_span().get_span_context()
    if not context.is_valid:
        return None
    return f"00-{format_trace_id(context.trace_id)}-{format_span_id(context.span_id)}-{context.trace_flags:02x}"


def _is_wanted(environment: Mapping[str, str]) -> bool:
    is_disabled = environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    is_elsewhere = environment.get("OTEL_TRACES_EXPORTER", "").strip() not in ("", "otlp")
    if is_disabled or is_elsewhere or not any(environment.get(name, "").strip() for name in _ENDPOINTS):
        return False
    protocol = next((value for name in _PROTOCOLS if (value := environment.get(name, "").strip())), _PROTOCOL)
    if protocol != _PROTOCOL:
        logger.warning(
            "No traces are sent: OTEL_EXPORTER_OTLP_PROTOCOL is %s, and only %s is spoken (mostly at port 4318).",
            protocol,
            _PROTOCOL,
        )
    return protocol == _PROTOCOL


def _make_provider() -> "TracerProvider | None":
    """None, with a warning, where the packages are missing."""
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        logger.warning(
            "No traces are sent: OTEL_EXPORTER_OTLP_ENDPOINT is set, and the packages for it are missing. "
            "pip install 'music-genre-service[tracing]'"
        )
        return None
    resource = Resource({SERVICE_VERSION: version("music-genre-service")}).merge(Resource.create())
    if str(resource.attributes[SERVICE_NAME]).startswith("unknown_service"):
        resource = resource.merge(Resource({SERVICE_NAME: _SERVICE_NAME}))
    # Without its handler for the end of the process, which waits for the collector.
    made = TracerProvider(resource=resource, shutdown_on_exit=False)
    made.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return made


def _tracer(made: "TracerProvider") -> "Tracer":
    return made.get_tracer("service")


def _nanoseconds(seconds: float) -> int:
    return round(seconds * 1e9)
