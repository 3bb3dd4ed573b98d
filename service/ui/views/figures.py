"""Draws matplotlib figures as pictures for the page, in a thread of their own, one at a time."""

import asyncio
import base64
import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from matplotlib.figure import Figure

from service.runtime.resources import lower_priority

DPI = 100
_TIMEOUT_S = 20

# Each colour has a contrast of 3:1 or more to white and to the page's dark background, which a test computes.
_COLOURS = (
    "#3f7fd4", "#d9534f", "#2e9e5b", "#a35fd6", "#c77d0a",
    "#168f9e", "#d1499b", "#7a8a1f", "#8c6d5a", "#6f7890",
)  # fmt: skip

P = ParamSpec("P")
T = TypeVar("T")


class Pictures:
    """Draws pictures off the event loop."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="pictures", initializer=lower_priority)

    async def draw(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `function` in the thread and return its result. Raises TimeoutError when too many pictures wait."""
        async with asyncio.timeout(_TIMEOUT_S):
            return await asyncio.wrap_future(self._thread.submit(function, *args, **kwargs))


def colours(labels: list[str]) -> dict[str, str]:
    """A colour for each genre, the same in every picture and whatever the order; more than ten share."""
    return {label: _COLOURS[index % len(_COLOURS)] for index, label in enumerate(sorted(labels))}


def data_uri(figure: Figure) -> str:
    """The figure as a PNG, transparent unless it has a colour of its own."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=DPI)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
