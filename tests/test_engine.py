"""The engine, its backend and the admission in front of it."""

import asyncio
import shutil
import threading
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoFeatureExtractor, AutoModelForAudioClassification, HubertConfig, HubertModel

from service.admission import Admission
from service.artefact import Artefact, read_artefact
from service.backends import TorchBackend
from service.engine import Engine, Probabilities, Windows
from service.errors import Overloaded, StartupError


@dataclass
class RecordingBackend:
    """Answers one-hot and notes the first sample of each window; waits at the gate when it is closed."""

    name: str = "recording"
    order: list[float] = field(default_factory=list)
    gate: threading.Event = field(default_factory=threading.Event)

    def probabilities(self, windows: Windows) -> Probabilities:
        assert self.gate.wait(10)
        self.order += [float(window[0]) for window in windows]
        return np.eye(2, dtype=np.float32)[np.zeros(len(windows), np.int64)]


@pytest.fixture
def artefact() -> Artefact:
    return Artefact(
        folder=Path("nowhere"),
        model_id="you/genre",
        revision="c" * 40,
        labels=("quiet", "loud"),
        sampling_rate=16_000,
        window_s=1.0,
        fill="repeat",
        temperature=1.0,
        uncertain_below=0.5,
        defaulted=(),
    )


@pytest.fixture
def backend() -> RecordingBackend:
    backend = RecordingBackend()
    backend.gate.set()
    return backend


@pytest.fixture
def engine(artefact: Artefact, backend: RecordingBackend) -> Engine:
    engine = Engine(artefact, backend)
    backend.order.clear()
    return engine


def windows(*marks: float) -> Windows:
    return np.array([[mark] * 16_000 for mark in marks], np.float32)


def test_the_engine_is_warm_when_it_is_built(artefact: Artefact, backend: RecordingBackend) -> None:
    engine = Engine(artefact, backend)
    assert len(backend.order) == 2
    assert engine.speed > 0


def test_one_row_a_window(engine: Engine) -> None:
    assert asyncio.run(engine.probabilities(windows(1, 2, 3))).shape == (3, 2)


def test_a_request_of_many_windows_does_not_hold_up_a_short_one(engine: Engine, backend: RecordingBackend) -> None:
    async def both() -> None:
        backend.gate.clear()
        long = asyncio.create_task(engine.probabilities(windows(1, 2, 3, 4, 5, 6)))
        await asyncio.sleep(0)
        short = asyncio.create_task(engine.probabilities(windows(100)))
        await asyncio.sleep(0)
        backend.gate.set()
        await asyncio.gather(long, short)

    asyncio.run(both())
    assert backend.order.index(100) <= 1
    assert sorted(backend.order) == [1, 2, 3, 4, 5, 6, 100]


def test_a_cancelled_request_computes_no_further_window(engine: Engine, backend: RecordingBackend) -> None:
    async def cancel_then_ask() -> None:
        backend.gate.clear()
        long = asyncio.create_task(engine.probabilities(windows(1, 2, 3, 4)))
        waiting = asyncio.create_task(engine.probabilities(windows(50)))
        await asyncio.sleep(0.02)
        long.cancel()
        waiting.cancel()
        await asyncio.wait([long, waiting])
        backend.gate.set()
        await engine.probabilities(windows(9))
        assert long.cancelled() and waiting.cancelled()

    asyncio.run(cancel_then_ask())
    # The window under way cannot be stopped; nothing behind it is computed.
    assert backend.order == [1, 9]


def test_speed_follows_the_machine(engine: Engine, backend: RecordingBackend) -> None:
    before = engine.speed
    engine.backend = SlowBackend()
    asyncio.run(engine.probabilities(windows(*range(20))))
    assert engine.speed < before / 10


class SlowBackend:
    name = "slow"

    def probabilities(self, windows: Windows) -> Probabilities:
        threading.Event().wait(0.01)
        return np.full((len(windows), 2), 0.5, np.float32)


# Admission


def test_admission_counts_what_is_under_way() -> None:
    admission = Admission(100)
    with admission.reserve(60, speed=1), admission.reserve(40, speed=1):
        assert admission.waiting_s == 100
    assert admission.waiting_s == 0


def test_admission_refuses_beyond_its_limit_and_says_when_to_come_back() -> None:
    admission = Admission(100)
    with admission.reserve(60, speed=1):
        with pytest.raises(Overloaded, match="60 s of audio are waiting") as refused, admission.reserve(70, speed=4):
            pass
        assert refused.value.retry_after_s == 8  # 30 s too many, at 4 s of audio a second
        with pytest.raises(Overloaded) as refused, admission.reserve(41, speed=100):
            pass
        assert refused.value.retry_after_s == 1
    with admission.reserve(70, speed=4):
        assert admission.waiting_s == 70


def test_admission_gives_back_what_a_short_recording_does_not_need() -> None:
    admission = Admission(100)
    with admission.reserve(90, speed=1) as reservation:
        reservation.audio_s = 30
        with admission.reserve(70, speed=1):
            assert admission.waiting_s == 100


def test_admission_lets_an_oversized_request_pass_when_it_is_alone() -> None:
    admission = Admission(10)
    with (
        admission.reserve(90, speed=1),
        pytest.raises(Overloaded),
        admission.reserve(1, speed=1),
    ):
        pass
    assert admission.waiting_s == 0


def test_admission_forgets_a_request_that_fails() -> None:
    admission = Admission(10)
    with pytest.raises(ZeroDivisionError), admission.reserve(10, speed=1):
        _ = 1 / 0
    assert admission.waiting_s == 0


# The torch backend


def test_the_backend_answers_as_transformers_does(model_folder: Path) -> None:
    artefact = read_artefact(model_folder, model_id="tiny", revision=None)
    backend = TorchBackend(artefact)
    noise = np.random.default_rng(1).standard_normal((2, 16_000)).astype(np.float32)
    extractor = AutoFeatureExtractor.from_pretrained(model_folder)
    model = AutoModelForAudioClassification.from_pretrained(model_folder).eval()
    with torch.inference_mode():
        logits = model(**extractor(list(noise), sampling_rate=16_000, return_tensors="pt")).logits
    assert np.abs(backend.probabilities(noise) - torch.softmax(logits, -1).numpy()).max() < 1e-5
    warm = TorchBackend(replace(artefact, temperature=2.0))
    assert np.abs(warm.probabilities(noise) - torch.softmax(logits / 2, -1).numpy()).max() < 1e-5


@pytest.fixture
def folder(model_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(model_folder, tmp_path / "model"))


def test_a_base_model_without_a_trained_head_is_refused(folder: Path) -> None:
    HubertModel(HubertConfig.from_pretrained(folder)).save_pretrained(folder)
    artefact = read_artefact(folder, model_id="you/base", revision=None)
    with pytest.raises(StartupError, match="you/base lacks trained weights for .*fine-tuned"):
        TorchBackend(artefact)


@pytest.mark.parametrize("damage", ["cut off", "not safetensors", "other shapes"])
def test_weights_that_do_not_load_are_refused(folder: Path, damage: str) -> None:
    weights = folder / "model.safetensors"
    if damage == "other shapes":
        config = HubertConfig.from_pretrained(folder)
        config.classifier_proj_size += 1
        config.save_pretrained(folder)
    else:
        weights.write_bytes(weights.read_bytes()[:500] if damage == "cut off" else b"<html>")
    artefact = read_artefact(folder, model_id="you/broken", revision=None)
    with pytest.raises(StartupError, match="you/broken"):
        TorchBackend(artefact)


def test_an_unknown_feature_extractor_is_refused(folder: Path) -> None:
    (folder / "preprocessor_config.json").write_text('{"feature_extractor_type": "Unheard", "sampling_rate": 16000}')
    artefact = read_artefact(folder, model_id="you/odd", revision=None)
    with pytest.raises(StartupError, match="you/odd"):
        TorchBackend(artefact)
