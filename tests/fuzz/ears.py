"""What listens to the files: decoder processes by themselves, and the application with a model that says the same of
everything."""

import asyncio
import io
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import numpy as np
from fastapi import FastAPI

from service.app import create_app
from service.audio import WindowSpec, window_starts
from service.decoding.pool import DecoderPool
from service.errors import AudioError
from service.inference.backend import Outputs, Windows
from service.inference.engine import Engine
from service.metrics import Metrics
from service.model.artefact import Artefact
from service.settings import Settings

RATE = 16_000
WINDOW_S = 1.0
DEADLINE_S = 30
_LOST = "decode: decoder lost"
EXPECTED = {200, 400, 415, 422}


@dataclass
class Findings:
    """What came of the files: how many by outcome, and those that should not have been, with their bytes."""

    outcomes: Counter[str] = field(default_factory=Counter)
    bad: list[tuple[str, bytes]] = field(default_factory=list)
    decoders_lost: int = 0


class Ears:
    """Hears one file at a time for each caller; use it from one event loop."""

    def __init__(self, processes: int) -> None:
        self._metrics = Metrics()
        self._decoders = DecoderPool(processes, self._metrics, wall_s=DEADLINE_S)
        self._app = _application(processes)
        self._client = httpx2.AsyncClient(transport=httpx2.ASGITransport(self._app), base_url="http://service")
        self.findings = Findings()

    async def decode(self, name: str, data: bytes) -> None:
        """By a decoder process; whatever is no problem of the audio is a finding."""
        try:
            async with asyncio.timeout(DEADLINE_S):
                outcome = await self._hear(data)
        except Exception as error:
            outcome = f"decode: {type(error).__name__}"
            self.findings.bad.append((f"{name}: {error!r}", data))
        self.findings.outcomes[outcome] += 1
        if outcome == _LOST:
            self.findings.bad.append((f"{name}: cost a decoder", data))

    async def post(self, name: str, data: bytes) -> None:
        """To the application."""
        response = await self._client.post("/classify", files={"file": ("a", data)}, params={"timeline": len(data) % 2})
        kind = response.json().get("type", "").rpartition(":")[2]
        self.findings.outcomes[f"http: {response.status_code} {kind}".strip()] += 1
        if response.status_code not in EXPECTED:
            self.findings.bad.append((f"{name}: {response.text}", data))

    async def close(self) -> None:
        self.findings.decoders_lost = self._lost()
        self._decoders.close()
        self._app.state.classifier.close()
        await self._client.aclose()

    async def _hear(self, data: bytes) -> str:
        try:
            async with self._decoders.open(io.BytesIO(data), WindowSpec(RATE, WINDOW_S)) as recording:
                for start_s in window_starts(recording.progress.duration_s, WINDOW_S, 3):
                    window = await recording.read(start_s)
                    assert window is None or np.isfinite(window.waveform).all()
                recording.progress.require_sound()
        except AudioError as problem:
            return _LOST if "broke its decoder" in problem.detail else f"decode: {problem.type}"
        return "decode: heard"

    def _lost(self) -> int:
        metrics = (self._metrics, self._app.state.metrics)
        return sum(
            int(sample.value)
            for of_one in metrics
            for counter in of_one.decoder_restarts.collect()
            for sample in counter.samples
            if sample.name.endswith("_total")
        )


class _Backend:
    name = "fixed"
    note: str | None = None
    max_batch = 1

    def infer(self, windows: Windows) -> Outputs:
        assert np.isfinite(windows).all()
        return Outputs(np.tile(np.array([0.6, 0.4], np.float32), (len(windows), 1)))


def _application(processes: int) -> FastAPI:
    settings = Settings(model_id="nowhere", decoders=processes)
    app = create_app(settings, on_startup_failure=lambda: None)
    artefact = Artefact(
        folder=Path("nowhere"),
        model_id="you/genre",
        revision="c" * 40,
        labels=("jazz", "metal"),
        thresholds=None,
        window=WindowSpec(RATE, WINDOW_S),
        do_normalize=True,
        temperature=1.0,
        confidence_threshold=0.5,
        trained_on=None,
        graphs={},
        golden=None,
        reference=None,
        familiarity=None,
        defaulted_fields=(),
    )
    app.state.classifier.load(Engine(artefact, _Backend()))
    return app


@contextmanager
def ears(processes: int) -> Iterator[tuple[Ears, asyncio.Runner]]:
    """With a loop to use them in."""
    with asyncio.Runner() as runner:
        made = Ears(processes)
        try:
            yield made, runner
        finally:
            runner.run(made.close())


async def hear_all(made: Ears, files: Iterator[tuple[str, bytes]], *, at_once: int, post_every: int) -> None:
    """All files, several at once; every so many go to the application, the others to the decoders alone."""
    numbered = enumerate(files)

    async def hear() -> None:
        for number, (name, data) in numbered:
            await (made.decode(name, data) if number % post_every else made.post(name, data))

    await asyncio.gather(*(hear() for _ in range(at_once)))
