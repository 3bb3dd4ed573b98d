"""Actions of the page, asked by two tabs of one visit at once."""

import asyncio
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from service.ui import actions
from service.ui.actions import Actions
from service.ui.views import alike, wording
from service.ui.views.alike import Recording
from tests.service.classification.test_classifier import FixedBackend, classifier
from tests.support.audio_files import encode, sweep


def test_what_is_heard_while_a_batch_runs_stays_in_the_visit(tmp_path: Path) -> None:
    files = [{"name": f"{number}.wav", "path": str(tmp_path / f"{number}.wav")} for number in range(3)]
    event = gr.EventData(None, {"files": files})
    backend = FixedBackend()
    backend.gate.set()
    page = Actions(classifier(backend))

    async def visit() -> list[Recording]:
        results: list[Recording] = []
        updates = page.batch(results, event)
        await anext(updates)
        results.append(alike.failed(1, "heard meanwhile", "reason"))
        async for _, shown, *_ in updates:
            last = shown
        return last  # type: ignore[no-any-return]

    found = asyncio.run(visit())
    assert [(recording.number, recording.row["file"]) for recording in found] == [
        (1, "heard meanwhile"),
        (2, "0.wav"),
        (3, "1.wav"),
        (4, "2.wav"),
    ]


def test_an_unforeseen_error_on_the_page_is_counted_as_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    song = tmp_path / "song.wav"
    song.write_bytes(encode(sweep(1.0), "wav"))
    monkeypatch.setattr(actions, "upload_dir", lambda: tmp_path)
    backend = FixedBackend()
    backend.gate.set()
    made = classifier(backend)
    monkeypatch.setattr(made, "classify", None)

    async def visit() -> list[tuple[Any, ...]]:
        return [update async for update in Actions(made).answer(str(song))]

    assert wording.FAILED in str(asyncio.run(visit())[-1][0].value)
    assert made._metrics.rejected.labels("internal-error")._value.get() == 1
