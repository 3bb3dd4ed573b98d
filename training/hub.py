"""Uses the Hub for training: retries passing faults, explains lasting ones, pushes a model in one commit."""

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ParamSpec, TypeVar

import httpx2
from huggingface_hub import HfApi, get_token
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from tenacity import Retrying, before_sleep_log, retry_if_exception, stop_after_attempt, wait_exponential_jitter

from service.errors import StartupError
from service.model.artefact import Artefact, read_artefact
from service.model.hub.refusals import explain_refusal
from service.model.hub.repo import fetch
from service.model.layout import CONFIG, GOLDEN_FOLDER, GRAPH_FOLDER
from training.errors import TrainingError, is_full

logger = logging.getLogger(__name__)

_ATTEMPTS = 6
_MAX_WAIT_S = 60
_PULL_DEADLINE_S = 600.0

MAIN = "main"
"""The branch that services follow, unless MODEL_REVISION names another."""

P = ParamSpec("P")
T = TypeVar("T")


def retrying(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function of the Hub client; again, with growing pauses, while the fault may pass."""
    attempts = Retrying(
        retry=retry_if_exception(_passing),
        stop=stop_after_attempt(_ATTEMPTS),
        wait=wait_exponential_jitter(initial=1, max=_MAX_WAIT_S),
        before_sleep=before_sleep_log(logger, logging.WARNING),
        reraise=True,
    )
    return attempts(function, *args, **kwargs)


@contextmanager
def hub_errors_explained(repo_id: str) -> Iterator[None]:
    """Turn what the Hub refuses into a TrainingError that says what to do. A full disk is not the Hub's doing."""
    try:
        yield
    except (OSError, httpx2.HTTPError, HFValidationError, RuntimeError) as error:
        if is_full(error):
            raise
        raise TrainingError(_explain(error, repo_id)) from error


def preflight(repo_id: str, *, private: bool | None) -> str:
    """Create the model repo, or find it, and prove that it can be written, before hours of training.

    Returns its full id (`genre` becomes `you/genre`). Raises TrainingError.
    """
    if get_token() is None:
        raise TrainingError("A push needs a token. Set HF_TOKEN to one with write access.")
    api = HfApi()
    with hub_errors_explained(repo_id):
        full_id = retrying(api.create_repo, repo_id, private=private, exist_ok=True).repo_id
        retrying(api.auth_check, full_id, write=True)
    return full_id


def current_model(repo_id: str) -> Artefact | None:
    """The model on the main branch; None, after a line in the log, where there is none that can be served.

    Raises TrainingError where the Hub does not deliver it.
    """
    with hub_errors_explained(repo_id):
        if not retrying(HfApi().file_exists, repo_id, CONFIG, revision=MAIN):
            logger.warning("There is no model on the branch to compare with.")
            return None
    try:
        snapshot = fetch(repo_id, MAIN, deadline_s=_PULL_DEADLINE_S)
    except StartupError as error:
        raise TrainingError(f"The model to compare with cannot be had: {error}") from error
    if snapshot.is_stale:
        raise TrainingError(f"The Hub did not deliver the model of {repo_id} to compare with. Try again.")
    try:
        return read_artefact(snapshot.folder, model_id=repo_id, revision=snapshot.commit)
    except StartupError as error:
        logger.warning("The model on the branch cannot be served, so there is none to compare with: %s", error)
        return None


def push(folder: Path, repo_id: str, branch: str = MAIN) -> str:
    """Push a model folder in one commit, and return the commit's hash. Raises TrainingError; the folder stays.

    branch: made of the main branch where it is new.
    """
    api = HfApi()
    with hub_errors_explained(repo_id):
        if branch != MAIN:
            retrying(api.create_branch, repo_id, branch=branch, exist_ok=True)
        commit = retrying(
            api.upload_folder,
            repo_id=repo_id,
            folder_path=folder,
            revision=branch,
            commit_message="Train a music genre classifier",
            # What an earlier push left and this one lacks must not be served.
            delete_patterns=[
                *("*.safetensors", "*.safetensors.index.json", "*.json", "*.png"),
                *(f"{GRAPH_FOLDER}/*", f"{GOLDEN_FOLDER}/*"),
            ],
        )
    return commit.oid


def tag_release(repo_id: str, commit: str) -> str | None:
    """Tag a commit as the next of v1, v2, ..., for MODEL_REVISION; None, after a line in the log, when that fails.

    A commit that has such a tag already, as the same files were pushed again, keeps it.
    """
    api = HfApi()
    try:
        with hub_errors_explained(repo_id):
            tags = retrying(api.list_repo_refs, repo_id).tags
            releases = {int(found[1]): tag for tag in tags if (found := re.fullmatch(r"v(\d+)", tag.name))}
            if releases and releases[max(releases)].target_commit == commit:
                return f"v{max(releases)}"
            name = f"v{max(releases, default=0) + 1}"
            retrying(api.create_tag, repo_id, tag=name, revision=commit)
    except TrainingError as error:
        logger.warning("The commit %s of %s is pushed, and has no tag: %s", commit, repo_id, error)
        return None
    return name


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and its causes: the clients wrap what happened in errors of their own, with less to say."""
    current: BaseException | None = error
    while current is not None:
        yield current
        current = current.__cause__


def _passing(error: BaseException) -> bool:
    for cause in _chain(error):
        if isinstance(cause, HfHubHTTPError):
            return cause.response.status_code == 429 or cause.response.status_code >= 500
        if isinstance(cause, (ConnectionError, TimeoutError, httpx2.TransportError)):
            return True
    return False


def _explain(error: Exception, repo_id: str) -> str:
    refused = next((cause for cause in _chain(error) if isinstance(cause, HfHubHTTPError)), error)
    if reason := explain_refusal(refused, repo_id, named_by="the id"):
        return reason
    if "scripts are no longer supported" in str(error):
        return f"{repo_id} is a loading script, which `datasets` refuses. Use a copy as parquet or as a folder."
    if _passing(error):
        return f"The Hub did not answer for {repo_id} ({type(error).__name__}). Check the network and try again."
    return f"{repo_id} cannot be used: {error}"
