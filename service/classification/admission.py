"""Admission: how many seconds of audio may be in flight, and when a refused client should come back."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from service.errors import AudioTooLong, Overloaded

# Fraction of the deadline that the queue may be planned to take: admitted requests are answered also when a neighbour
# takes half of the machine, and by default within DRAIN_TIMEOUT_S. A longer queue only makes everybody wait.
_PLANNED = 0.45


class Speed(Protocol):
    """The speed of an engine."""

    @property
    def throughput(self) -> float:
        """Seconds of audio computed per second."""

    @property
    def is_stale(self) -> bool:
        """Whether that was measured long ago."""


class Admission:
    """A bound on the audio that is admitted and not yet answered. Used from the event loop only.

    limit_s: seconds of audio. deadline_s: seconds within which everything admitted has to be answered.
    """

    def __init__(self, limit_s: float, deadline_s: float) -> None:
        self._limit_s = limit_s
        self._deadline_s = deadline_s
        self._reservations: set[Reservation] = set()

    @property
    def is_busy(self) -> bool:
        """Whether any audio is admitted and not yet answered."""
        return bool(self._reservations)

    @property
    def queued_s(self) -> float:
        """Seconds of audio admitted and not yet answered."""
        return sum(reservation.audio_s for reservation in self._reservations)

    @contextmanager
    def reserve(self, audio_s: float, speed: Speed) -> Iterator["Reservation"]:
        """Hold `audio_s` seconds of the queue, as `Reservation.resize` does, until the block ends."""
        reservation = Reservation(self)
        self._reservations.add(reservation)
        try:
            reservation.resize(audio_s, speed)
            yield reservation
        finally:
            self._reservations.remove(reservation)

    def check(self, others_s: float, audio_s: float, speed: Speed) -> None:
        """Raises Overloaded, with the time after which there is room, or AudioTooLong when there never is."""
        throughput = speed.throughput
        # A speed of long ago refuses nobody for good: it may be that of a start on a busy machine, and only another
        # recording puts it right. The deadline bounds that one, too.
        if audio_s > self._deadline_s * throughput and (others_s or not speed.is_stale):
            raise AudioTooLong(
                f"Analysing {audio_s:.0f} s of audio takes {audio_s / throughput:.0f} s here, "
                f"and {self._deadline_s:g} s are allowed. Ask for fewer windows, or send a shorter recording."
            )
        if not others_s:
            return
        excess_s = max(
            others_s + audio_s - self._limit_s, others_s + audio_s - _PLANNED * self._deadline_s * throughput
        )
        if excess_s > 0:
            raise Overloaded(
                f"{others_s:.0f} s of audio are waiting. Try again later.",
                retry_after_s=max(1, math.ceil(min(excess_s, others_s) / throughput)),
            )


class Reservation:
    """The seconds of audio that one request holds of the queue."""

    def __init__(self, admission: Admission) -> None:
        self.audio_s = 0.0
        self._admission = admission

    def resize(self, audio_s: float, speed: Speed) -> None:
        """Hold so much from now on. A request larger than the whole limit passes when it is alone.

        Raises Overloaded when more is waiting than can be answered in time, AudioTooLong when it alone is too much.
        """
        self._admission.check(self._admission.queued_s - self.audio_s, audio_s, speed)
        self.audio_s = audio_s
