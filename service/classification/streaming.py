"""Classifies a recording and tells of each window as it is heard."""

import asyncio
from collections.abc import AsyncGenerator
from typing import BinaryIO

from service.classification.classifier import ClassificationProgress, Classifier
from service.schemas import Classification, ClassifyOptions, WindowLine


async def stream_windows(
    classifier: Classifier, file: BinaryIO, options: ClassifyOptions
) -> AsyncGenerator[WindowLine | Classification, None]:
    """A line for each window, and the answer of `Classifier.classify` last. Close the generator to cancel the work.

    Raises what `classify` raises.
    """
    lines: asyncio.Queue[WindowLine | None] = asyncio.Queue()

    def note(progress: ClassificationProgress) -> None:
        # Without the samples of the window: a client may read slowly.
        span = progress.span(options.top_k) if progress.window else None
        lines.put_nowait(WindowLine(done=progress.done, total=progress.total, window=span))

    work = asyncio.create_task(classifier.classify(file, **options.model_dump(), on_progress=note))
    work.add_done_callback(lambda _: lines.put_nowait(None))
    try:
        while line := await lines.get():
            yield line
        yield work.result()
    finally:
        work.cancel()
        # It reads a file that the caller closes.
        await asyncio.wait({work})
