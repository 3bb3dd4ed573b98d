"""The pipeline on Ray Data: paths go in as rows, a pool of actors classifies them, rows come out as they are done."""

import logging
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa

from service.library.actor import Job, LibraryActor
from service.library.reading import hash_of
from service.runtime.resources import available_cpus

# Rows of a block, which is the work that an actor is given at a time: enough that handing it over costs nothing beside
# it, and few enough that all actors end together.
_BLOCKS_PER_ACTOR = 50
_MIN_BLOCK = 8
_MAX_BLOCK = 128
# Two, so that the model has work also while a block is handed over.
_CALLS_PER_ACTOR = 2
# Paths and rows are small: a local Ray need not take a third of the memory for them.
_STORE_BYTES = 256 << 20
_HASH_BLOCK = 256


@dataclass(frozen=True)
class Pool:
    """Actors of the pool. actors: at most; None for as many as the cluster holds. num_cpus, num_gpus: of each."""

    actors: int | None
    num_cpus: int
    num_gpus: float


@contextmanager
def ray_running() -> Iterator[None]:
    """Ray while the block runs: that of RAY_ADDRESS, else one of this machine, which ends with the block."""
    # Ray reads these when it is imported: it sends nothing home, and tells its own progress nowhere.
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_DATA_DISABLE_PROGRESS_BARS", "1")
    # Its own log lines are no news for whoever runs this; what goes wrong is raised.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    import ray
    import ray.data

    options: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False, "configure_logging": True}
    if address := os.environ.get("RAY_ADDRESS"):
        ray.init(address, **options)
    else:
        ray.init(
            "local",
            num_cpus=available_cpus(),
            include_dashboard=False,
            object_store_memory=_STORE_BYTES,
            **options,
        )
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.execution_options.verbose_progress = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    try:
        yield
    finally:
        ray.shutdown()


def classify(paths: Sequence[str], job: Job, pool: Pool) -> Iterator[pa.Table]:
    """The rows of all paths, in no order, a block at a time. What a lost worker had is done by the others."""
    import ray.data

    actors = min(pool.actors or _room(pool), max(1, math.ceil(len(paths) / _MIN_BLOCK)))
    size = min(max(math.ceil(len(paths) / (actors * _BLOCKS_PER_ACTOR)), _MIN_BLOCK), _MAX_BLOCK)
    results = ray.data.from_arrow(_blocks(paths, size)).map_batches(
        LibraryActor,
        fn_constructor_args=(job,),
        batch_size=None,
        batch_format="pyarrow",
        zero_copy_batch=True,
        num_cpus=pool.num_cpus,
        num_gpus=pool.num_gpus or None,
        compute=ray.data.ActorPoolStrategy(
            min_size=1,
            max_size=actors,
            initial_size=actors,
            max_concurrent_calls_per_actor=_CALLS_PER_ACTOR,
            max_tasks_in_flight_per_actor=2 * _CALLS_PER_ACTOR,
            enable_true_multi_threading=True,
        ),
    )
    yield from results.iter_batches(batch_size=None, batch_format="pyarrow")


def changed_content(known: dict[str, str | None], max_bytes: int) -> set[str]:
    """The paths whose content has another sha256 than is known, or cannot be read."""
    import ray.data

    changed: set[str] = set()
    hashing = partial(_hashes, max_bytes=max_bytes)
    blocks = ray.data.from_arrow(_blocks(list(known), _HASH_BLOCK))
    hashes = blocks.map_batches(hashing, batch_size=None, batch_format="pyarrow")
    for table in hashes.iter_batches(batch_size=None, batch_format="pyarrow"):
        assert isinstance(table, pa.Table)
        pairs = zip(table.column("path").to_pylist(), table.column("sha256").to_pylist(), strict=True)
        changed |= {path for path, digest in pairs if digest is None or digest != known[path]}
    return changed


def _hashes(batch: pa.Table, max_bytes: int) -> pa.Table:
    digests = [hash_of(path, max_bytes) for path in batch.column("path").to_pylist()]
    return batch.append_column("sha256", pa.array(digests, pa.string()))


def _room(pool: Pool) -> int:
    """Actors that the cluster holds now."""
    import ray

    resources = ray.cluster_resources()  # type: ignore[no-untyped-call]
    rooms = [resources.get("CPU", 1) // pool.num_cpus]
    if pool.num_gpus:
        rooms.append(resources.get("GPU", 0) // pool.num_gpus)
    return max(1, int(min(rooms)))


def _blocks(paths: Sequence[str], size: int) -> list[pa.Table]:
    return [
        pa.table({"path": pa.array(paths[start : start + size], pa.string())}) for start in range(0, len(paths), size)
    ]
