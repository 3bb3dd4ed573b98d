"""Actions of the page, asked by two tabs of one visit at once."""

import asyncio
from pathlib import Path

import gradio as gr

from service.ui.actions import Actions
from service.ui.views import alike
from service.ui.views.alike import Recording
from tests.service.classification.test_classifier import FixedBackend, classifier


def test_what_is_heard_while_a_batch_runs_stays_in_the_visit(tmp_path: Path) -> None:
    files = [{"name": f"{number}.wav", "path": str(tmp_path / f"{number}.wav")} for number in range(3)]
    event = gr.EventData(None, {"files": files})
    backend = FixedBackend()
    backend.gate.set()
    actions = Actions(classifier(backend))

    async def visit() -> list[Recording]:
        results: list[Recording] = []
        updates = actions.batch(results, event)
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
