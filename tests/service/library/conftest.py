"""An actor of the pool, in this process, and music."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.audio_files import encode, sweep

if TYPE_CHECKING:
    from service.library.actor import Job, LibraryActor


@pytest.fixture(scope="module")
def job(model_folder: Path) -> "Job":
    # Imported late: huggingface_hub reads HF_ENDPOINT when it is imported, and tests/conftest.py sets it afterwards.
    from service.library.actor import Job
    from service.library.recordings.recording import RecordingLimits
    from service.model.artefact import read_artefact

    return Job(
        model_id=str(model_folder),
        model_revision="main",
        revision=read_artefact(model_folder, model_id="tiny", revision=None).revision,
        backend="auto",
        threads=1,
        max_batch=0,
        max_windows=3,
        embedding=True,
        limits=RecordingLimits(max_bytes=5_000_000, deadline_s=60),
    )


@pytest.fixture(scope="module")
def actor(job: "Job") -> Iterator["LibraryActor"]:
    from service.library.actor import LibraryActor

    actor = LibraryActor(job)
    yield actor
    actor.close()


@pytest.fixture(scope="session")
def music(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine recordings in three formats, one of them of three windows."""
    folder = tmp_path_factory.mktemp("music")
    for index, format in enumerate(("mp3", "flac", "m4a") * 3):
        waveform = sweep(100.0 if index == 0 else 2.0 + index / 4, 22_050)
        (folder / f"{index}.{format}").write_bytes(encode(waveform, format, 22_050))
    return folder
