"""Admission: how many seconds of audio may be under way, and when a refused client should come back."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from service.errors import Overloaded


@dataclass(eq=False)
class Reservation:
    """The seconds of audio that one request holds; lower it once its true length is known."""

    audio_s: float


class Admission:
    """A bound on the audio that is admitted and not yet answered. Used from the event loop only."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._reservations: set[Reservation] = set()

    @property
    def waiting_s(self) -> float:
        """Seconds of audio admitted and not yet answered."""
        return sum(reservation.audio_s for reservation in self._reservations)

    @contextmanager
    def reserve(self, audio_s: float, *, speed: float) -> Iterator[Reservation]:
        """Hold `audio_s` seconds of the queue. A request larger than the whole limit passes when it is alone.

        speed: seconds of audio computed per second, now.
        Raises Overloaded, with the time that the queue needs to make room.
        """
        excess_s = self.waiting_s + audio_s - self._limit_s
        if excess_s > 0 and self._reservations:
            raise Overloaded(
                f"{self.waiting_s:.0f} s of audio are waiting. Try again later.",
                retry_after_s=max(1, math.ceil(excess_s / speed)),
            )
        reservation = Reservation(audio_s)
        self._reservations.add(reservation)
        try:
            yield reservation
        finally:
            self._reservations.remove(reservation)
