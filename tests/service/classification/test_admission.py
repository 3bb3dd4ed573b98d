"""Admission bounds the audio that waits, and refuses what could not be answered in time."""

from dataclasses import dataclass

import pytest

from service.classification.admission import Admission
from service.errors import AudioTooLong, Overloaded


@dataclass(frozen=True)
class Measured:
    throughput: float
    is_stale: bool = False


def test_admission_counts_the_audio_under_way() -> None:
    admission = Admission(100, deadline_s=1_000)
    with admission.reserve(60, Measured(1)), admission.reserve(40, Measured(1)):
        assert admission.queued_s == 100
    assert admission.queued_s == 0


def test_admission_refuses_beyond_its_limit_and_says_when_to_come_back() -> None:
    admission = Admission(100, deadline_s=1_000)
    with admission.reserve(60, Measured(1)):
        with (
            pytest.raises(Overloaded, match="60 s of audio are waiting") as refused,
            admission.reserve(70, Measured(4)),
        ):
            pass
        assert refused.value.retry_after_s == 8  # 30 s too many, at 4 s of audio a second
        with pytest.raises(Overloaded) as refused, admission.reserve(41, Measured(100)):
            pass
        assert refused.value.retry_after_s == 1
    with admission.reserve(70, Measured(4)):
        assert admission.queued_s == 70


def test_admission_gives_back_what_a_short_recording_does_not_need() -> None:
    admission = Admission(100, deadline_s=1_000)
    with admission.reserve(90, Measured(1)) as reservation:
        reservation.audio_s = 30
        with admission.reserve(70, Measured(1)):
            assert admission.queued_s == 100


def test_oversized_request_is_admitted_when_it_is_alone() -> None:
    admission = Admission(10, deadline_s=1_000)
    with (
        admission.reserve(90, Measured(1)),
        pytest.raises(Overloaded),
        admission.reserve(1, Measured(1)),
    ):
        pass
    assert admission.queued_s == 0


def test_failed_request_frees_its_place() -> None:
    admission = Admission(10, deadline_s=1_000)
    with pytest.raises(ZeroDivisionError), admission.reserve(10, Measured(1)):
        _ = 1 / 0
    assert admission.queued_s == 0


def test_request_that_would_wait_too_long_is_refused() -> None:
    admission = Admission(10_000, deadline_s=10)
    with admission.reserve(30, Measured(10)):
        with pytest.raises(Overloaded) as refused, admission.reserve(40, Measured(10)):
            pass
        # 45 s of audio are planned within 10 s: 25 s too many, at 10 s a second.
        assert refused.value.retry_after_s == 3
        with admission.reserve(15, Measured(10)):
            assert admission.queued_s == 45


def test_request_that_never_fits_the_deadline_is_too_long() -> None:
    admission = Admission(10_000, deadline_s=10)
    with (
        pytest.raises(AudioTooLong, match="takes 20 s here, and 10 s are allowed"),
        admission.reserve(200, Measured(10)),
    ):
        pass


def test_a_reservation_grows_only_into_free_room() -> None:
    admission = Admission(100, deadline_s=1_000)
    with admission.reserve(10, Measured(1)) as first, admission.reserve(50, Measured(1)):
        with pytest.raises(Overloaded):
            first.resize(60, Measured(1))
        assert first.audio_s == 10
        first.resize(50, Measured(1))
        assert admission.queued_s == 100


def test_a_speed_of_long_ago_refuses_nobody_for_good() -> None:
    """As that of the first window of a start on a busy machine."""
    admission = Admission(1_000, deadline_s=10)
    with pytest.raises(AudioTooLong), admission.reserve(30, Measured(2)):
        pass
    with admission.reserve(30, Measured(2, is_stale=True)):
        assert admission.queued_s == 30
        with pytest.raises(AudioTooLong), admission.reserve(30, Measured(2, is_stale=True)):
            pass
