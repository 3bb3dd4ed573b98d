"""Paths of requests: which application of the service a path belongs to."""

OPERATIONAL_PATHS = frozenset({"/metrics", "/livez", "/readyz"})
"""Paths that machines ask every few seconds."""


def is_below(path: str, prefix: str) -> bool:
    """Whether `path` is `prefix` itself or lies below it: `/ui/x` is below `/ui`, `/uix` is not."""
    return f"{path}/".startswith(f"{prefix}/")
