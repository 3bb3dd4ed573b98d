"""Bounds how long a request to the Hugging Face Hub may stall."""

from dataclasses import dataclass
from functools import cache

import httpx2
from huggingface_hub import set_client_factory
from huggingface_hub.utils._http import default_client_factory

# huggingface_hub sets no timeout for its first requests, so that a stalled connection would hang for ever.
STALL_S = 30.0


@dataclass
class _Bound:
    """How long a request of the Hub's client may stall. The process has one such client, so one bound."""

    stall_s: float = STALL_S


_bound = _Bound()


def bound_requests(stall_s: float) -> None:
    """Let no request of the Hub's client wait longer than this for a connection or for the next bytes."""
    _bound.stall_s = stall_s
    _use_bounded_client()


# Once in a process: the client closes its connections when it is given a factory, also those in use.
@cache
def _use_bounded_client() -> None:
    set_client_factory(_bounded_client)


def _bounded_client() -> httpx2.Client:
    def bound(request: httpx2.Request) -> None:
        # Here rather than as the client's default, which many calls override with "no timeout".
        timeouts = request.extensions["timeout"]
        longest = _bound.stall_s
        request.extensions["timeout"] = {name: min(value or longest, longest) for name, value in timeouts.items()}

    client = default_client_factory()
    client.event_hooks["request"].append(bound)
    return client
