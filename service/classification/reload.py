"""Keeps the model current: loads the first, watches the revision, swaps in new commits that have proven themselves."""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from service.classification.classifier import Classifier
from service.classification.golden import check_golden_clips
from service.decoding.pool import DecoderPool
from service.errors import ModelLoading, ModelRefused, ModelUnavailable, ServiceError, StartupError
from service.inference.engine import Engine
from service.metrics import Metrics
from service.runtime.daemon_thread import in_daemon_thread
from service.runtime.periodic import run_periodically

if TYPE_CHECKING:
    from service.inference.loading import ModelLoader
    from service.model.hub.repo import Snapshot

logger = logging.getLogger(__name__)

Outcome = Literal["swapped", "unchanged"]


@dataclass(frozen=True)
class _Loaded:
    """A model that has passed its checks. head: identifies the state of the repo that it was loaded from."""

    head: str
    snapshot: "Snapshot"


class Reloader:
    """Loads models into a classifier, one at a time, each beside the one that answers.

    make_loader: imports the libraries that compute, so it is called in a thread. interval_s: seconds between two looks
    at the revision; 0 for none. stale_since: Unix time since when nobody can tell whether the model is the newest; None
    while the Hub answers.
    """

    def __init__(
        self,
        make_loader: "Callable[[], ModelLoader]",
        classifier: Classifier,
        decoders: DecoderPool,
        metrics: Metrics,
        *,
        interval_s: float,
    ) -> None:
        self._make_loader = make_loader
        self._classifier = classifier
        self._decoders = decoders
        self._metrics = metrics
        self._interval_s = interval_s
        self._lock = asyncio.Lock()
        self._loader: ModelLoader | None = None
        self._current: _Loaded | None = None
        self._previous: _Loaded | None = None
        self._refused: str | None = None
        self.stale_since: float | None = None

    async def load_first(self) -> None:
        """Load the model that the settings name. Raises StartupError, or what a bug raises."""
        started = time.perf_counter()
        async with self._lock:
            self._loader = loader = await in_daemon_thread("startup", self._make_loader)
            snapshot = await in_daemon_thread("startup", loader.pull)
            head = await in_daemon_thread("startup", loader.head) if snapshot.commit is None else snapshot.commit
            self._serve(await self._prove(loader, snapshot), started)
            self._current = _Loaded(head, snapshot)
            if snapshot.is_stale:
                self._mark_stale()
            await in_daemon_thread("startup", lambda: loader.keep(snapshot))

    async def watch(self) -> None:
        """Look at the revision every `interval_s` seconds, until cancelled. Call it once the first model is loaded."""
        if not self._interval_s or not self._ready_loader.can_change:
            return
        await asyncio.sleep(self._interval_s)
        await run_periodically(self._look, self._interval_s)

    async def reload(self) -> Outcome:
        """Swap in the newest commit now, one that was refused before included; `unchanged` when it answers already.

        Raises ModelRefused, ModelUnavailable and ModelLoading.
        """
        return await self._reload(again=True)

    async def roll_back(self) -> None:
        """Return to the model before this one; the one that is left is not taken again until the repo changes.

        Raises ModelRefused when there was none, ModelUnavailable and ModelLoading.
        """
        # The lock is held while the first model loads.
        loader = self._ready_loader
        async with self._lock:
            current, previous = self._current, self._previous
            assert current is not None, "a loader is ready with the first model"
            if previous is None or previous.snapshot.commit is None:
                raise ModelRefused("There is no model to return to: this one is the first, or a local folder.")
            snapshot = await self._pull(loader, previous.snapshot.commit)
            started = time.perf_counter()
            self._serve(await self._try(loader, snapshot, None), started)
            self._previous, self._current, self._refused = current, previous, current.head
            self._metrics.model_reloads.labels("rolled_back").inc()
            await in_daemon_thread("reload", lambda: loader.keep(snapshot))

    @property
    def _ready_loader(self) -> "ModelLoader":
        if self._loader is None or self._current is None:
            raise ModelLoading("The first model is still loading. Try again shortly.", retry_after_s=5)
        return self._loader

    async def _look(self) -> None:
        try:
            await self._reload(again=False)
        except (ModelRefused, ModelUnavailable):
            # Logged and counted where it was found out.
            return

    async def _reload(self, *, again: bool) -> Outcome:
        loader = self._ready_loader
        async with self._lock:
            current = self._current
            assert current is not None, "a loader is ready with the first model"
            head = await self._head(loader)
            if head == current.head or (head == self._refused and not again):
                return "unchanged"
            snapshot = await self._pull(loader, None if head.startswith("local-") else head)
            started = time.perf_counter()
            self._serve(await self._try(loader, snapshot, head), started)
            self._previous, self._current, self._refused = current, _Loaded(head, snapshot), None
            self._metrics.model_reloads.labels("swapped").inc()
            await in_daemon_thread("reload", lambda: loader.keep(snapshot))
            return "swapped"

    async def _head(self, loader: "ModelLoader") -> str:
        from service.model.hub.repo import HubUnreachable

        try:
            head = await in_daemon_thread("reload", loader.head)
        except HubUnreachable as error:
            self._mark_stale(str(error))
            raise ModelUnavailable(str(error)) from error
        if self.stale_since is not None:
            logger.info("the Hub answers again")
        self.stale_since = None
        self._metrics.model_stale.set(0)
        return head

    async def _pull(self, loader: "ModelLoader", commit: str | None) -> "Snapshot":
        try:
            return await in_daemon_thread("reload", lambda: loader.pull(commit))
        except StartupError as error:
            self._metrics.model_reloads.labels("not_delivered").inc()
            self._mark_stale(str(error))
            raise ModelUnavailable(str(error)) from error

    async def _try(self, loader: "ModelLoader", snapshot: "Snapshot", head: str | None) -> Engine:
        """The engine of a commit. One that fails is remembered by its head, where it has one. Raises ModelRefused."""
        try:
            return await self._prove(loader, snapshot)
        except StartupError as error:
            reason = str(error)
        except ServiceError as error:
            # The decoders or the disk have no room: the model is not to blame, and is tried again.
            raise ModelUnavailable(error.detail) from error
        except Exception:
            logger.exception("A new model could not be loaded.")
            reason = "The service failed to load it. It was logged."
        if head is not None:
            self._refused = head
        self._metrics.model_reloads.labels("refused").inc()
        logger.error("a new model is refused, the old one goes on: %s", reason, extra={"revision": snapshot.commit})
        raise ModelRefused(reason)

    async def _prove(self, loader: "ModelLoader", snapshot: "Snapshot") -> Engine:
        engine = await in_daemon_thread("reload", lambda: loader.load(snapshot))
        try:
            await check_golden_clips(engine, self._decoders)
        except BaseException:
            engine.close()
            raise
        return engine

    def _serve(self, engine: Engine, started: float) -> None:
        """Answer new requests with this engine; those in flight finish on theirs, which goes with the last of them."""
        self._classifier.load(engine)
        logger.info(
            "model ready",
            extra={
                "model_id": engine.artefact.model_id,
                "revision": engine.artefact.revision,
                "backend": engine.backend.name,
                "defaulted": engine.artefact.defaulted_fields,
                "load_s": round(time.perf_counter() - started, 1),
            },
        )

    def _mark_stale(self, reason: str = "The Hub is out of reach.") -> None:
        if self.stale_since is None:
            self.stale_since = time.time()
            self._metrics.model_stale.set(self.stale_since)
            logger.warning("the model may be stale: %s", reason)
