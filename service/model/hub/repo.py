"""Pulls a model repo from the Hugging Face Hub, or from its cache, into a verified local folder."""

import errno
import hashlib
import logging
import os
import re
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import (
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RevisionNotFoundError,
)
from tenacity import Retrying, before_sleep_log, retry_if_exception, stop_before_delay, wait_exponential_jitter

from service.errors import StartupError
from service.model import layout
from service.model.hub.client import STALL_S, bound_requests
from service.model.hub.files import CorruptFileError, verify
from service.model.hub.refusals import explain_refusal

logger = logging.getLogger(__name__)

# What serving reads. Weights only as safetensors: the other formats are pickles, which run code when they are loaded.
# And only those at the top of the repo: a Trainer's checkpoints lie in folders, and hold weights of their own.
_FILES = [
    layout.CONFIG,
    layout.FEATURE_EXTRACTOR,
    layout.PROCESSOR,
    layout.SERVING,
    layout.FAMILIARITY,
    *layout.WEIGHTS,
    "model-*-of-*.safetensors",
    f"{layout.GRAPH_FOLDER}/*.xml",
    f"{layout.GRAPH_FOLDER}/*.bin",
    f"{layout.GRAPH_FOLDER}/*.safetensors",
    f"{layout.GOLDEN_FOLDER}/*.flac",
]

_SERVED_SUFFIXES = {".json", ".safetensors", ".xml", ".bin", ".flac"}

_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class Snapshot:
    """The files of one commit of a model repo.

    commit: 40 hexadecimal digits; None for a local folder. is_stale: it comes from the cache, as the Hub was out of
    reach.
    """

    folder: Path
    commit: str | None
    is_stale: bool = field(default=False, compare=False)


class HubUnreachable(Exception):
    """The Hub does not say which commit a revision is at. The message says why, in words for the operator."""


def fetch(model_id: str, revision: str, *, deadline_s: float) -> Snapshot:
    """The model repo at a revision, its files checked against their hashes.

    model_id: a local folder is used as it is. Without the Hub, the snapshot that was remembered last is used.
    Passing faults (no connection, timeouts, 429, 5xx) are retried with backoff for `deadline_s` seconds; a commit that
    does not arrive by then leaves the one that was remembered. `remember` the new one once it has proved itself.
    Raises StartupError, which says what to change: at once for a lasting fault, else after the deadline.
    """
    if Path(model_id).is_dir():
        return Snapshot(Path(model_id).resolve(), None)
    # Short enough that a stall leaves time for another try.
    bound_requests(min(STALL_S, deadline_s / 3))
    retrying = Retrying(
        retry=retry_if_exception(lambda error: isinstance(error, _PASSING)),
        stop=stop_before_delay(deadline_s),
        wait=wait_exponential_jitter(multiplier=0.25, max=30, jitter=0.25),
        before_sleep=before_sleep_log(logger, logging.WARNING),
        reraise=True,
    )
    try:
        return retrying(_pull, model_id, revision)
    except _PASSING as error:
        with suppress(CorruptFileError):
            if earlier := _from_cache(model_id, revision):
                return earlier
        raise StartupError(
            f"The Hugging Face Hub did not deliver {model_id} within {deadline_s:g} s ({error}). Check the network and "
            "HF_ENDPOINT, or start once with a connection so that the model is cached."
        ) from error


def head(model_id: str, revision: str) -> str:
    """The commit that a revision is at now, by one request; of a local folder, a hash of the times and sizes of its
    files, which tells whether it has changed. Raises HubUnreachable."""
    if Path(model_id).is_dir():
        return _signature(Path(model_id))
    bound_requests(STALL_S)
    try:
        commit = HfApi().model_info(model_id, revision=revision, expand=["sha"]).sha
    except (OSError, httpx2.HTTPError, HFValidationError) as error:
        reason = _lasting_reason(error, model_id, revision)
        raise HubUnreachable(reason or f"The Hub did not answer ({type(error).__name__}).") from error
    assert commit is not None, "asked for"
    return commit


def is_commit(revision: str) -> bool:
    """Whether a revision is a full commit hash, whose files never change."""
    return _COMMIT.fullmatch(revision) is not None


def remember(snapshot: Snapshot, revision: str) -> None:
    """Let the cache name this commit where it is asked for the revision and the Hub cannot be reached."""
    if snapshot.commit is None or _COMMIT.fullmatch(revision):
        return
    # The documented layout of the cache: snapshots/<commit>, refs/<revision>.
    reference = snapshot.folder.parents[1] / "refs" / revision
    written = reference.with_name(f".{reference.name}.{os.getpid()}")
    try:
        if reference.is_file() and reference.read_text(encoding="ascii") == snapshot.commit:
            return
        reference.parent.mkdir(parents=True, exist_ok=True)
        written.write_text(snapshot.commit, encoding="ascii")
        written.replace(reference)
    except OSError as error:
        logger.warning("The cache cannot note the new commit.", extra={"reason": error.strerror})


class _PassingError(Exception):
    """A fault that may be gone at the next try."""


_PASSING = (_PassingError, CorruptFileError)


def _pull(model_id: str, revision: str) -> Snapshot:
    if _COMMIT.fullmatch(revision) and (pinned := _cached(model_id, revision)):
        verify(pinned)
        return Snapshot(pinned, revision)
    try:
        # Asked also for its errors: with anything in the cache, the download hides that the Hub refuses.
        commit = HfApi().model_info(model_id, revision=revision, expand=["sha"]).sha
    except (OSError, httpx2.HTTPError, HFValidationError) as error:
        if reason := _lasting_reason(error, model_id, revision):
            raise StartupError(reason) from error
        if earlier := _from_cache(model_id, revision, is_stale=not isinstance(error, OfflineModeIsEnabled)):
            return earlier
        raise _PassingError(type(error).__name__) from error
    assert commit is not None, "asked for"
    try:
        # By its hash: by branch, the client lets the cache name the commit before its files are there.
        folder = Path(snapshot_download(model_id, revision=commit, allow_patterns=_FILES))
    except (OSError, httpx2.HTTPError) as error:
        if reason := _lasting_reason(error, model_id, revision):
            raise StartupError(reason) from error
        raise _PassingError(type(error).__name__) from error
    verify(folder)
    return Snapshot(folder, commit)


def _from_cache(model_id: str, revision: str, *, is_stale: bool = True) -> Snapshot | None:
    """What the cache remembers of a revision, if it has all files of that. Raises CorruptFileError."""
    if not (folder := _cached(model_id, revision)):
        return None
    logger.warning("The Hub is out of reach; starting from the cache.", extra={"commit": folder.name})
    verify(folder)
    return Snapshot(folder, folder.name, is_stale)


def _lasting_reason(error: Exception, model_id: str, revision: str) -> str | None:
    """The change that another try needs, in words; None for a passing fault."""
    match error:
        case RevisionNotFoundError():
            return f"{model_id} has no revision {revision}. Set MODEL_REVISION to a branch, tag or commit that exists."
        case OfflineModeIsEnabled() if _cached(model_id, revision) is None:
            return f"HF_HUB_OFFLINE is set and {model_id} is not in the cache. Unset it for the first start."
        case OSError(errno=errno.ENOSPC):
            return "The disk of the model cache is full. Free some space, or set HF_HOME to another disk."
        case OSError(errno=errno.EROFS | errno.EACCES):
            return f"The model cache cannot be written, and holds no {model_id}. Set HF_HOME to a folder that can."
        case _:
            return explain_refusal(error, model_id, named_by="MODEL_ID")


def _cached(model_id: str, revision: str) -> Path | None:
    try:
        return Path(
            snapshot_download(
                model_id,
                revision=revision,
                allow_patterns=_FILES,
                local_files_only=True,
            )
        )
    except LocalEntryNotFoundError:
        return None


def _signature(folder: Path) -> str:
    digest = hashlib.sha256(str(folder.resolve()).encode())
    for path in sorted(folder.rglob("*")):
        if path.suffix in _SERVED_SUFFIXES and path.is_file():
            status = path.stat()
            digest.update(f"{path} {status.st_size} {status.st_mtime_ns}".encode())
    return f"local-{digest.hexdigest()[:12]}"
