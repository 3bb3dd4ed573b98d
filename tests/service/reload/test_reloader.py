"""The reloader's memory of what it refused, and its answer while the first model loads."""

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pytest

from service.classification.classifier import Classifier
from service.classification.reload import Reloader
from service.decoding.pool import DecoderPool
from service.errors import ModelLoading, ModelRefused, StartupError
from service.inference.engine import Engine
from service.inference.loading import ModelLoader
from service.metrics import Metrics
from service.model.hub.repo import Snapshot
from tests.service.classification.test_classifier import FixedBackend, classifier


@dataclass
class Repo:
    """A repo whose newest commit is `newest`; those in `broken` cannot be loaded, none before `delivered` is set.

    kept: the commits that a start without the Hub would serve, the last one at the end.
    """

    engine_of: Callable[[str], Engine]
    newest: str = "v1"
    broken: set[str] = field(default_factory=set)
    delivered: threading.Event = field(default_factory=threading.Event)
    kept: list[str | None] = field(default_factory=list)
    can_change = True

    def head(self) -> str:
        return self.newest

    def pull(self, commit: str | None = None) -> Snapshot:
        self.delivered.wait(30)
        return Snapshot(Path("/nowhere"), commit or self.newest)

    def load(self, snapshot: Snapshot) -> Engine:
        if snapshot.commit in self.broken:
            raise StartupError("Out of memory.")
        return self.engine_of(str(snapshot.commit))

    def keep(self, snapshot: Snapshot) -> None:
        self.kept.append(snapshot.commit)


@pytest.fixture
def served() -> Classifier:
    backend = FixedBackend()
    backend.gate.set()
    return classifier(backend)


@pytest.fixture
def repo(served: Classifier) -> Repo:
    engine = served.engine
    return Repo(lambda commit: Engine(replace(engine.artefact, revision=commit), engine.backend))


def _reloader(repo: Repo, served: Classifier) -> Reloader:
    decoders = cast(DecoderPool, None)  # These models have no golden clips.
    return Reloader(lambda: cast(ModelLoader, repo), served, decoders, Metrics(), interval_s=0)


def _revision(served: Classifier) -> Any:
    return served.engine.artefact.revision


def test_a_failed_rollback_forgets_no_refusal(repo: Repo, served: Classifier) -> None:
    """What was rolled back from is not swapped in again by itself."""
    reloader = _reloader(repo, served)
    repo.delivered.set()

    async def operate() -> None:
        await reloader.load_first()
        repo.newest = "v2"
        assert await reloader.reload() == "swapped"
        await reloader.roll_back()
        repo.broken = {"v2"}
        with pytest.raises(ModelRefused, match="Out of memory"):
            await reloader.roll_back()
        repo.broken = set()
        await reloader._look()
        assert _revision(served) == "v1"
        assert await reloader.reload() == "swapped"
        assert _revision(served) == "v2"

    asyncio.run(operate())


def test_while_the_first_model_loads_an_operator_is_told_at_once(repo: Repo, served: Classifier) -> None:
    reloader = _reloader(repo, served)

    async def operate() -> None:
        loading = asyncio.create_task(reloader.load_first())
        await asyncio.sleep(0.1)
        for act in (reloader.reload, reloader.roll_back):
            with pytest.raises(ModelLoading):
                await asyncio.wait_for(act(), 5)
        repo.delivered.set()
        await loading

    asyncio.run(operate())


def test_a_start_without_the_hub_gets_only_what_has_proved_itself(repo: Repo, served: Classifier) -> None:
    repo.delivered.set()
    repo.broken = {"v1"}

    async def operate() -> None:
        with pytest.raises(StartupError, match="Out of memory"):
            await _reloader(repo, served).load_first()
        assert repo.kept == []
        repo.newest = "v2"
        reloader = _reloader(repo, served)
        await reloader.load_first()
        assert repo.kept == ["v2"]
        repo.newest = "v3"
        await reloader.reload()
        await reloader.roll_back()
        assert repo.kept == ["v2", "v3", "v2"]

    asyncio.run(operate())
