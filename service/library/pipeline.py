"""The pipeline on Ray Data: paths go in as rows, a pool of actors classifies them, rows come out as they are done."""

import logging
import math
import os
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa

from service.library.actor import Job, LibraryActor
from service.library.recordings.problems import LibraryError
from service.library.recordings.reading import hash_of
from service.library.recordings.recording import RecordingLimits
from service.runtime.resources import available_cpus

# Rows of a block, which is the work that an actor is given at a time: enough that handing it over costs little, and few
# enough that all actors finish at about the same time.
_BLOCKS_PER_ACTOR = 50
_MIN_BLOCK = 8
_MAX_BLOCK = 128
# Two, so that the model has work also while a block is handed over.
_CALLS_PER_ACTOR = 2
# Paths and rows are small: a local Ray need not take a third of the memory for them.
_STORE_BYTES = 256 << 20
_HASH_BLOCK = 256
_CONNECT_S = 10.0


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

    options: dict[str, Any] = {"logging_level": logging.CRITICAL, "log_to_driver": False}
    if address := os.environ.get("RAY_ADDRESS"):
        _check_address(address)
    else:
        address = "local"
        # Without the dashboard, and for this machine alone.
        options |= {"num_cpus": available_cpus(), "include_dashboard": False, "object_store_memory": _STORE_BYTES}
    _start(address, options)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    try:
        yield
    except ray.exceptions.RayError as error:
        # The last line is that of the error that a worker raised.
        reason = str(error).strip().splitlines()[-1].strip()
        raise LibraryError(f"Ray gave up. {reason.partition('Error: ')[2] or reason}") from error
    finally:
        ray.shutdown()


def _start(address: str, options: dict[str, Any]) -> None:
    """Start Ray, or join it; once more where that fails, as a busy machine takes longer than Ray waits for it."""
    import ray

    # Ray sets one that ends the program at once.
    handler = signal.getsignal(signal.SIGTERM)
    for is_last in (False, True):
        try:
            with _silent():
                ray.init(address, **options)
            signal.signal(signal.SIGTERM, handler)
            return
        except Exception as error:
            signal.signal(signal.SIGTERM, handler)
            # Of any type: Ray raises a bare one where its processes take more than half a minute.
            ray.shutdown()
            if is_last:
                reason = " ".join(str(error).split()).rstrip(".")
                raise LibraryError(
                    f"Ray did not start: {reason}. Mend that, or run the same command when the machine is less busy."
                ) from error


@contextmanager
def _silent() -> Iterator[None]:
    """Keep what libraries in C print from stderr while the block runs: Ray tells there how much it will tell."""
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _check_address(address: str) -> None:
    """Raises LibraryError where nothing listens, which Ray would find out in minutes, or no node of Ray does."""
    if "://" in address:
        raise LibraryError(
            f"RAY_ADDRESS={address} is no address of a node. Give the head's host:port (6379), or run this command on "
            "the cluster, as a job."
        )
    host, _, port = address.rpartition(":")
    if not port.isdecimal():
        # Such as "auto", the Ray of this machine.
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), _CONNECT_S).close()
    except (OSError, OverflowError) as error:
        raise LibraryError(f"Nothing listens at RAY_ADDRESS={address}. Start Ray there, or unset it.") from error


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


def changed_content(known: dict[str, str | None], limits: RecordingLimits) -> set[str]:
    """The paths whose content has another sha256 than is known. One that cannot be read now keeps its row: a disk that
    is not there would otherwise cost every answer."""
    import ray.data

    changed: set[str] = set()
    hashing = partial(_hashes, limits=limits)
    blocks = ray.data.from_arrow(_blocks(list(known), _HASH_BLOCK))
    hashes = blocks.map_batches(hashing, batch_size=None, batch_format="pyarrow")
    for table in hashes.iter_batches(batch_size=None, batch_format="pyarrow"):
        assert isinstance(table, pa.Table)
        pairs = zip(table.column("path").to_pylist(), table.column("sha256").to_pylist(), strict=True)
        changed |= {path for path, digest in pairs if digest not in (None, known[path])}
    return changed


def _hashes(batch: pa.Table, limits: RecordingLimits) -> pa.Table:
    digests = [hash_of(path, limits.max_bytes, limits.deadline_s) for path in batch.column("path").to_pylist()]
    return batch.append_column("sha256", pa.array(digests, pa.string()))


def _room(pool: Pool) -> int:
    """Actors that the nodes hold now. Raises LibraryError where that is none."""
    import ray

    wanted = {"CPU": pool.num_cpus, "GPU": pool.num_gpus}
    every = ray.nodes()  # type: ignore[no-untyped-call]
    nodes = [node["Resources"] for node in every if node["Alive"]]
    room = sum(int(min(node.get(name, 0) // amount for name, amount in wanted.items() if amount)) for node in nodes)
    if not room:
        raise LibraryError(
            f"No machine has {pool.num_cpus} cores and {pool.num_gpus:g} GPUs for an actor. Lower --num_cpus or "
            "--num_gpus; where machines are still to come, say how many --actors."
        )
    return room


def _blocks(paths: Sequence[str], size: int) -> list[pa.Table]:
    return [
        pa.table({"path": pa.array(paths[start : start + size], pa.string())}) for start in range(0, len(paths), size)
    ]
