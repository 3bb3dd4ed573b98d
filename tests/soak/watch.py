"""The memory and the descriptors of a service and its decoders over time."""

import asyncio
import statistics
import sys
import time
from collections.abc import Sequence

from tests.support.process_tree import Usage, usage

_LOOK_EVERY_S = 2.0
_TELL_EVERY_S = 60.0

GROWTH = 0.05
"""What resident memory may have grown by at the end."""


class Watch:
    """Looks again and again while `look_for_ever` runs."""

    def __init__(self, service: int) -> None:
        self._service = service
        self._looks: list[Usage] = []

    async def look_for_ever(self) -> None:
        started = time.monotonic()
        told_s = 0.0
        while True:
            self._looks.append(look := await asyncio.to_thread(usage, self._service))
            elapsed_s = time.monotonic() - started
            if elapsed_s >= told_s:
                say(f"  {elapsed_s:6.0f} s: {_described(look)}")
                told_s += _TELL_EVERY_S
            await asyncio.sleep(_LOOK_EVERY_S)

    def problems(self) -> list[str]:
        """What grew from the second tenth of the time to the last; tells both, and what is held now."""
        tenth = len(self._looks) // 10
        before, after = _typical(self._looks[tenth : 2 * tenth + 1]), _typical(self._looks[-tenth - 1 :])
        growth = after.rss_mb / before.rss_mb - 1
        say(f"in the second tenth: {_described(before)}")
        say(f"in the last tenth:   {_described(after)}, {growth:+.1%}")
        say(f"at rest:             {_described(usage(self._service))}")
        return [f"memory grew by {growth:.1%}"] if growth > GROWTH else []


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _typical(looks: Sequence[Usage]) -> Usage:
    return Usage(
        statistics.median(look.rss_mb for look in looks),
        statistics.median(look.pss_mb for look in looks),
        round(statistics.median(look.descriptors for look in looks)),
    )


def _described(look: Usage) -> str:
    return f"RSS {look.rss_mb:.0f} MB, PSS {look.pss_mb:.0f} MB, {look.descriptors} descriptors"
