"""Logs on stderr: text for people at a terminal, one JSON object a line for programs."""

import logging
import sys

from asgi_correlation_id import CorrelationIdFilter
from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonFormatter

from service.runtime import tracing
from service.settings import LogFormat

_QUIET_LOGGERS = ("httpx", "httpx2", "httpcore", "httpcore2")
# uvicorn adds color_message, a second copy of a message, for terminals.
_RESERVED = {*RESERVED_ATTRS, "color_message"}


def is_text(log_format: LogFormat) -> bool:
    """Whether the log is text. "auto" means text where stderr is a terminal."""
    return log_format == "text" or (log_format == "auto" and sys.stderr.isatty())


def configure(level: str, log_format: LogFormat) -> None:
    """Send every logger, those of the libraries too, through one handler. Each line names its request's id, and its
    trace where there is one."""
    handler = logging.StreamHandler()
    handler.addFilter(CorrelationIdFilter())
    handler.addFilter(_add_trace)
    handler.setFormatter(_TextFormatter() if is_text(log_format) else _json_formatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.captureWarnings(True)
    # The HTTP clients log every request that they make; the service logs its requests by their outcome.
    for name in _QUIET_LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)


def _add_trace(record: logging.LogRecord) -> bool:
    if parent := tracing.traceparent():
        record.trace_id = parent.split("-")[1]
    return True


def _json_formatter() -> logging.Formatter:
    return JsonFormatter(
        "%(levelname)s %(name)s %(message)s %(correlation_id)s",
        timestamp=True,
        reserved_attrs=[*_RESERVED],
        rename_fields={"levelname": "level", "name": "logger", "correlation_id": "request_id"},
    )


class _TextFormatter(logging.Formatter):
    """Time, level and message, then the fields of the line as name=value."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:
        fields = {name: value for name, value in vars(record).items() if name not in _RESERVED | {"asctime"}}
        request_id = fields.pop("correlation_id", None)
        if request_id:
            fields["request_id"] = request_id
        details = " ".join(f"{name}={value}" for name, value in fields.items())
        return f"{super().formatMessage(record)}{'  ' if details else ''}{details}"
