"""Answers given before: what counts as the same question, and the bounds on what is kept."""

import asyncio
import io
import threading
from dataclasses import dataclass

import pytest

from service.classification.result_cache import ResultCache
from service.errors import SilentAudio
from service.metrics import Metrics
from service.schemas import Classification, ModelReference, Score


@dataclass
class Model:
    """Answers with as many scores as it is told, and counts how often."""

    revision: str = "a"
    labels: int = 2
    computed: int = 0
    error: Exception | None = None

    @property
    def reference(self) -> ModelReference:
        return ModelReference(id="you/genre", revision=self.revision, backend="fixed")

    async def compute(self) -> Classification:
        self.computed += 1
        if self.error:
            raise self.error
        return Classification(
            genre="jazz",
            confidence=0.1 + 0.2,
            decision="accepted",
            scores=[Score(label=f"genre {number}", score=1 / 3) for number in range(self.labels)],
            duration_s=3.0,
            analysed_s=3.0,
            logits={"jazz": 1 / 7},
            model=self.reference,
        )


def answer(cache: ResultCache, model: Model, data: bytes = b"music", parameters: object = 1) -> Classification:
    return asyncio.run(cache.answer(io.BytesIO(data), (parameters,), lambda: model.reference, model.compute))


@pytest.fixture
def cache() -> ResultCache:
    return ResultCache(100_000, Metrics())


def test_the_same_question_is_computed_once_and_answered_alike(cache: ResultCache) -> None:
    model = Model()
    first, second = answer(cache, model), answer(cache, model)
    assert model.computed == 1
    assert second == first
    assert second.logits == {"jazz": 1 / 7}
    assert len(first.etag) == 64
    assert "etag" not in first.model_dump_json()


def test_other_bytes_parameters_and_models_are_other_questions(cache: ResultCache) -> None:
    model, newer = Model(), Model(revision="b")
    etags = {
        answer(cache, model).etag,
        answer(cache, model, b"other").etag,
        answer(cache, model, parameters=2).etag,
        answer(cache, newer).etag,
    }
    assert len(etags) == 4
    assert (model.computed, newer.computed) == (3, 1)


def test_an_answer_of_a_model_swapped_in_meanwhile_is_kept_under_its_own_name(cache: ResultCache) -> None:
    old, new = Model(), Model(revision="b")
    asyncio.run(cache.answer(io.BytesIO(b"music"), (1,), lambda: old.reference, new.compute))
    assert answer(cache, old).model.revision == "a"
    assert old.computed == 1
    assert answer(cache, new).model.revision == "b"
    assert new.computed == 1


def test_errors_are_not_kept(cache: ResultCache) -> None:
    model = Model(error=SilentAudio("It is silent."))
    for _ in range(2):
        with pytest.raises(SilentAudio):
            answer(cache, model)
    model.error = None
    assert answer(cache, model).genre == "jazz"
    assert model.computed == 3


def test_the_answer_not_asked_for_the_longest_makes_room() -> None:
    cache, model = ResultCache(10_000, Metrics()), Model()
    for number in range(12):
        answer(cache, model, parameters=number)
        answer(cache, model, parameters=0)
    assert model.computed == 12
    answer(cache, model, parameters=11)
    assert model.computed == 12
    answer(cache, model, parameters=1)
    assert model.computed == 13


def test_an_answer_larger_than_an_eighth_of_the_memory_displaces_no_other() -> None:
    cache, model, large = ResultCache(10_000, Metrics()), Model(), Model(labels=200)
    answer(cache, model, parameters="small")
    for _ in range(2):
        assert len(answer(cache, large).scores) == 200
    assert large.computed == 2
    answer(cache, model, parameters="small")
    assert model.computed == 1


def test_nothing_is_known_after_clearing(cache: ResultCache) -> None:
    model = Model()
    answer(cache, model)
    cache.clear()
    answer(cache, model)
    assert model.computed == 2


def test_a_client_that_hangs_up_waits_for_the_thread_that_reads_its_file(cache: ResultCache) -> None:
    class Slow(io.BytesIO):
        reads = 0
        begun = threading.Event()
        may_go_on = threading.Event()

        def read(self, size: int | None = -1, /) -> bytes:
            self.begun.set()
            assert self.may_go_on.wait(60)
            self.reads += 1
            return super().read(1)

    async def cancelled() -> Slow:
        model, file = Model(), Slow(bytes(500))
        work = asyncio.create_task(cache.answer(file, (), lambda: model.reference, model.compute))
        assert await asyncio.to_thread(file.begun.wait, 60)
        work.cancel()
        # Long enough for it to end, if it did not wait.
        await asyncio.sleep(0.05)
        assert not work.done()
        file.may_go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await work
        return file

    # To its end, and not read by anybody afterwards.
    assert asyncio.run(cancelled()).reads == 501
