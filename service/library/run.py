"""Runs the command: plans, classifies, writes the parts and prints the summary."""

import sys
import time
from collections.abc import Set
from contextlib import ExitStack

import pyarrow as pa

from service.library import pipeline
from service.library.actor import Job
from service.library.options import Options
from service.library.output.parts import Parts, Provenance
from service.library.output.progress import Progress
from service.library.output.summary import summarise, write_csv
from service.library.planning import Changed, Plan, plan
from service.library.recordings.recording import RecordingLimits
from service.library.recordings.sources import list_recordings
from service.library.signals import Ended
from service.model.artefact import read_artefact
from service.model.hub.repo import fetch, remember
from service.runtime.resources import available_cpus
from service.settings import Settings

# A part is written when it has so many rows or is so old: that much done work a killed run loses.
_PART_ROWS = 10_000
_PART_S = 20.0
_MAX_CPUS = 4


def run(options: Options, settings: Settings) -> None:
    """Classify what is not done yet. What is done stays where Ended is raised, which a signal does."""
    job, provenance = _pin(options, settings)
    parts = Parts(options.out)
    with parts.locked():
        parts.check(provenance, allow_mixture=options.allow_mixture)
        _do(options, parts, job, provenance)
        if options.csv:
            write_csv(parts)
        sys.stdout.write(summarise(parts))


def _pin(options: Options, settings: Settings) -> tuple[Job, Provenance]:
    """The model at the commit that it has now, which all workers must have too."""
    snapshot = fetch(settings.model_id, settings.model_revision, deadline_s=settings.startup_deadline_s)
    artefact = read_artefact(snapshot.folder, model_id=settings.model_id, revision=snapshot.commit)
    remember(snapshot, settings.model_revision)
    max_windows = options.max_windows or settings.max_windows
    job = Job(
        model_id=settings.model_id if snapshot.commit else str(snapshot.folder),
        model_revision=snapshot.commit or settings.model_revision,
        revision=artefact.revision,
        backend=settings.backend,
        threads=options.num_cpus or settings.cpu_threads or min(available_cpus(), _MAX_CPUS),
        max_batch=settings.max_batch,
        max_windows=max_windows,
        embedding=options.embedding,
        limits=RecordingLimits(round(options.max_file_mb * 1e6), options.deadline_s),
    )
    return job, Provenance(artefact.revision, max_windows, options.embedding)


def _do(options: Options, parts: Parts, job: Job, provenance: Provenance) -> None:
    """Classify on a Ray that is started only where there is something to do, as starting takes seconds."""
    with ExitStack() as stack:
        if options.content:
            stack.enter_context(pipeline.ray_running())
        work = _plan(options, parts, job)
        sys.stderr.write(f"{len(work.todo):,} recordings to classify, {work.done:,} done before.\n")
        if not work.todo:
            return
        if not options.content:
            stack.enter_context(pipeline.ray_running())
        pool = pipeline.Pool(options.actors, job.threads, options.num_gpus)
        progress = Progress(len(work.todo))
        stack.callback(progress.close)
        writer = stack.enter_context(Writer(parts, provenance, work.again))
        for rows in pipeline.classify(work.todo, job, pool):
            writer.add(rows)
            progress.add(rows)


def _plan(options: Options, parts: Parts, job: Job) -> Plan:
    known = parts.known()
    changed: Changed | None = None
    if options.content:

        def changed(paths: list[str]) -> set[str]:
            return pipeline.changed_content({path: known[path].sha256 for path in paths}, job.limits)

    assert options.source is not None, "parsed"
    listed = list_recordings(options.source, options.path_column)
    return plan(listed, known, job.limits.max_bytes, retry_errors=options.retry_errors, changed=changed)


class Writer:
    """Gathers rows to parts. A row comes once, also where a worker was lost between doing and telling, or a signal ends
    the run while a part is written: the rows go into the same part again.

    again: paths whose rows of before go once there are new ones, so that a run that cannot begin costs none.
    """

    def __init__(self, parts: Parts, provenance: Provenance, again: Set[str] = frozenset()) -> None:
        self._parts = parts
        self._provenance = provenance
        self._again = again
        self._waiting: list[pa.Table] = []
        self._name = ""
        self._since = time.monotonic()

    def __enter__(self) -> "Writer":
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._flush()
        except Ended:
            # The signal came meanwhile. Another one ends the program.
            self._flush()
            raise

    def add(self, rows: pa.Table) -> None:
        """Take rows, and write a part when there are enough of them or the oldest has waited for long."""
        if not self._waiting:
            self._since = time.monotonic()
            self._name = self._parts.next_name()
        self._waiting.append(rows)
        if sum(map(len, self._waiting)) >= _PART_ROWS or time.monotonic() - self._since >= _PART_S:
            self._flush()

    def _flush(self) -> None:
        if self._waiting:
            self._parts.drop(self._again)
            self._again = frozenset()
            self._parts.add(pa.concat_tables(self._waiting), self._provenance, self._name)
            self._waiting = []
