"""Tracebacks of the page's framework, as lines of our log: it prints them, and with them what its visitors send."""

import logging
import sys

from gradio import queueing, route_utils, routes

from service.errors import place_of

logger = logging.getLogger(__name__)


class _Log:
    """What those modules use of `traceback`."""

    @staticmethod
    def print_exc() -> None:
        logger.warning(
            "the page's framework failed at what a visitor asked", extra={"reason": place_of(sys.exception())}
        )


def to_log() -> None:
    for module in (queueing, route_utils, routes):
        setattr(module, "traceback", _Log)  # noqa: B010
