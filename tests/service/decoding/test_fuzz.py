"""A slice of `make fuzz`, the same every time."""

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings

from tests.fuzz.ears import Ears, ears, hear_all
from tests.fuzz.headers import HEADERS
from tests.fuzz.mutations import corpus, mutants

pytestmark = pytest.mark.thorough


@pytest.fixture(scope="module")
def listening() -> Iterator[tuple[Ears, asyncio.Runner]]:
    with ears(processes=2) as made:
        yield made


def test_the_files_that_are_mutated_are_heard(listening: tuple[Ears, asyncio.Runner]) -> None:
    made, runner = listening
    for post_every in (1, 10_000):
        made.findings.outcomes.clear()
        runner.run(hear_all(made, iter(corpus().items()), at_once=4, post_every=post_every))
        assert set(made.findings.outcomes) <= {"decode: heard", "http: 200"}
    assert made.findings.bad == []


def test_300_mutated_files_are_answered(listening: tuple[Ears, asyncio.Runner]) -> None:
    made, runner = listening
    made.findings.outcomes.clear()
    runner.run(hear_all(made, mutants(300, seed=1), at_once=4, post_every=4))
    assert made.findings.outcomes.total() == 300
    assert {"decode: heard", "decode: undecodable-audio", "http: 200"} <= made.findings.outcomes.keys()
    assert made.findings.bad == []


@settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(data=HEADERS)
def test_any_header_is_answered(listening: tuple[Ears, asyncio.Runner], data: bytes) -> None:
    made, runner = listening
    runner.run(made.decode("header", data))
    assert made.findings.bad == []
