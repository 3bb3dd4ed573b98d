"""One request: how much of its recording is computed, and what becomes of one that nobody waits for any more."""

import asyncio
import io
import threading
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from starlette.requests import Request

from service.api.classifying import cancel_on_disconnect
from service.audio import WindowSpec, read_recording
from service.classification.admission import Admission
from service.classification.classifier import Bounds, Classifier
from service.decoding.pool import DecoderPool
from service.errors import ClientGone, DeadlineExceeded, InvalidParameter, StartupError
from service.inference.backend import Outputs, Windows
from service.inference.engine import Engine
from service.metrics import Metrics
from service.model.artefact import Artefact
from service.model.familiarity import Familiarity, describe
from service.schemas import Classification
from tests.support.audio_files import Waveform, encode, sweep

_CONFIDENT = (0.9, 0.1)


@dataclass
class FixedBackend:
    """Answers the same for everything, when its gate is open."""

    row: tuple[float, float] = _CONFIDENT
    name: str = "fixed"
    note: str | None = None
    max_batch: int = 1
    computed: int = 0
    gate: threading.Event = field(default_factory=threading.Event)
    entered: threading.Event = field(default_factory=threading.Event)

    def infer(self, windows: Windows) -> Outputs:
        self.entered.set()
        assert self.gate.wait(60)
        self.computed += len(windows)
        row, embedding = np.array([self.row, (3, 1)], np.float32)
        return Outputs(*(np.tile(values, (len(windows), 1)) for values in (row, embedding)))


@pytest.fixture
def backend() -> FixedBackend:
    backend = FixedBackend()
    backend.gate.set()
    return backend


def classifier(
    backend: FixedBackend,
    *,
    max_analysed_s: float = 60,
    deadline_s: float = 60,
    admission: Admission | None = None,
    familiarity: Familiarity | None = None,
) -> Classifier:
    artefact = Artefact(
        folder=Path("nowhere"),
        model_id="you/genre",
        revision="c" * 40,
        labels=("jazz", "metal"),
        thresholds=None,
        window=WindowSpec(16_000, 1.0),
        do_normalize=True,
        temperature=1.0,
        confidence_threshold=0.5,
        trained_on=None,
        graphs={},
        golden=None,
        reference=None,
        familiarity=familiarity,
        defaulted_fields=(),
    )
    bounds = Bounds(max_windows=5, max_analysed_s=max_analysed_s, deadline_s=deadline_s)
    metrics = Metrics()
    decoders = DecoderPool(1, metrics, wall_s=deadline_s)
    made = Classifier(admission or Admission(1_000, deadline_s), decoders, metrics, bounds)
    engine = Engine(artefact, backend)
    # Fixed, as a busy machine may be so slow while the engine warms up that it would refuse requests.
    engine.throughput = 1_000.0
    made.load(engine)
    backend.computed = 0
    return made


def classify(classifier: Classifier, waveform: Waveform, *, timeline: bool = False) -> Classification:
    return asyncio.run(classifier.classify(io.BytesIO(encode(waveform, "wav")), timeline=timeline))


def test_the_answer_is_the_mean_of_windows_over_the_whole_recording(backend: FixedBackend) -> None:
    answer = classify(classifier(backend), sweep(20))
    assert backend.computed == answer.analysed_s == 5
    assert answer.duration_s == 20
    assert answer.genre == "jazz"
    assert answer.embedding is None


def test_an_embedding_is_the_mean_over_the_windows(backend: FixedBackend) -> None:
    made = classifier(backend)
    answer = asyncio.run(made.classify(io.BytesIO(encode(sweep(20), "wav")), embedding=True))
    assert answer.embedding == [3.0, 1.0]


def test_a_recording_unlike_known_music_is_uncertain_and_one_like_it_is_not(backend: FixedBackend) -> None:
    (window,) = read_recording(io.BytesIO(encode(sweep(1), "wav")), WindowSpec(16_000, 1.0), max_windows=1).windows
    known = describe(window, 16_000, np.array([3, 1], np.float32))[None]
    familiarity = Familiarity(known, np.eye(known.shape[1], dtype=np.float32)[None], threshold=0.5)
    near = classify(classifier(backend, familiarity=familiarity), sweep(1))
    assert (near.decision, near.warnings) == ("accepted", [])
    noise = (np.random.default_rng(0).standard_normal(96_000) / 8).astype(np.float32)
    made = classifier(backend, familiarity=familiarity)
    far = classify(made, noise)
    assert (far.genre, far.decision, far.confidence) == ("jazz", "uncertain", near.confidence)
    assert [warning.code for warning in far.warnings] == ["unfamiliar"]
    without = classify(classifier(backend), noise)
    assert (without.decision, without.warnings) == ("accepted", [])


def test_a_model_whose_embeddings_are_not_those_of_known_music_is_refused(backend: FixedBackend) -> None:
    familiarity = Familiarity(np.zeros((1, 76), np.float32), np.zeros((1, 76, 76), np.float32), threshold=0.5)
    with pytest.raises(StartupError, match="embeddings of 16 numbers, and the model answers 2"):
        classifier(backend, familiarity=familiarity)


def test_an_embedding_that_the_model_does_not_answer_is_refused(backend: FixedBackend) -> None:
    made = classifier(backend)
    made.engine.answers_embeddings = False
    with pytest.raises(InvalidParameter, match="no embedding"):
        asyncio.run(made.classify(io.BytesIO(encode(sweep(20), "wav")), embedding=True))


def test_a_timeline_covers_the_whole_recording(backend: FixedBackend) -> None:
    answer = classify(classifier(backend), sweep(7.5), timeline=True)
    assert answer.timeline is not None
    assert [(span.start_s, span.end_s) for span in answer.timeline] == [(s, min(s + 1, 7.5)) for s in range(8)]
    assert {span.genre for span in answer.timeline} == {"jazz"}
    assert answer.analysed_s == 7.5


def test_a_timeline_ends_at_its_bound(backend: FixedBackend) -> None:
    answer = classify(classifier(backend, max_analysed_s=4), sweep(20), timeline=True)
    assert answer.timeline is not None
    assert answer.timeline[-1].end_s == answer.analysed_s == 4
    assert answer.duration_s == 20


def test_silence_is_left_out_of_a_timeline(backend: FixedBackend) -> None:
    waveform = sweep(5)
    waveform[2 * 48_000 : 3 * 48_000] = 0
    answer = classify(classifier(backend), waveform, timeline=True)
    assert answer.timeline is not None
    assert [span.start_s for span in answer.timeline] == [0, 1, 3, 4]


def test_timeline_is_answered_only_when_asked_for(backend: FixedBackend) -> None:
    assert classify(classifier(backend), sweep(3)).timeline is None


def test_a_cancelled_request_computes_no_further_window_and_frees_its_place(backend: FixedBackend) -> None:
    admission = Admission(1_000, deadline_s=60)
    made = classifier(backend, admission=admission)

    async def cancel() -> None:
        backend.gate.clear()
        backend.entered.clear()
        file = io.BytesIO(encode(sweep(20), "wav"))
        task = asyncio.create_task(made.classify(file))
        assert await asyncio.to_thread(backend.entered.wait, 60)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        backend.gate.set()
        await asyncio.sleep(0.1)

    asyncio.run(cancel())
    assert backend.computed <= 1
    assert admission.queued_s == 0


class SlowFile(io.BytesIO):
    """Notes whether it was read after it was closed; each read takes a while."""

    read_after_close = False

    def read(self, size: int | None = -1) -> bytes:
        threading.Event().wait(0.02)
        if self.closed:
            SlowFile.read_after_close = True
        return super().read(size)


def test_a_request_past_its_deadline_leaves_nobody_reading_its_upload(backend: FixedBackend) -> None:
    async def classify_and_close() -> None:
        with SlowFile(encode(sweep(20), "m4a")) as file, pytest.raises(DeadlineExceeded):
            await classifier(backend, deadline_s=0.1).classify(file)
        await asyncio.sleep(0.2)

    asyncio.run(classify_and_close())
    assert not SlowFile.read_after_close


def test_work_for_a_client_that_hung_up_is_cancelled() -> None:
    async def hang_up() -> str:
        cancelled = asyncio.Event()

        async def work() -> str:
            try:
                await asyncio.sleep(30)
            except asyncio.CancelledError:
                cancelled.set()
                raise
            return "late"

        async def receive() -> dict[str, str]:
            await asyncio.sleep(0.05)
            return {"type": "http.disconnect"}

        with pytest.raises(ClientGone):
            await cancel_on_disconnect(Request({"type": "http"}, receive), work())
        assert cancelled.is_set()
        return "checked"

    assert asyncio.run(hang_up()) == "checked"
