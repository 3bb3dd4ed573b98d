"""Release of a model: to the branch that services follow when it is good enough, beside it when it is not."""

import logging
from datetime import UTC, datetime
from pathlib import Path

from training import hub
from training.errors import TrainingError
from training.evaluation.gate import Verdict

logger = logging.getLogger(__name__)


def release(folder: Path, hub_model_id: str, verdict: Verdict | None) -> None:
    """Push a model to the main branch and tag it; to a branch of its own when the push gate refused it.

    verdict: None where nothing was compared. Raises TrainingError, which says how to push it later.
    """
    is_good = verdict is None or verdict.passed
    branch = hub.MAIN if is_good else f"refused-{datetime.now(UTC):%Y-%m-%d-%H%M%S}"
    if not is_good:
        logger.warning("Worse than the model that is served: %s. It goes to the branch %s.", verdict, branch)
    try:
        commit = hub.push(folder, hub_model_id, branch)
    except TrainingError as error:
        again = f"python -m training.push {folder.parent} --hub_model_id {hub_model_id}"
        how = "push it later with" if is_good else "the gate refused it, and this has services take it all the same"
        raise TrainingError(f"{error} The model is safe in {folder}; {how}: {again}") from error
    if not is_good:
        logger.info("Pushed %s, commit %s, branch %s", hub_model_id, commit, branch)
        return
    if verdict is not None:
        logger.info("The push gate is passed: %s.", verdict)
    logger.info("Pushed %s, commit %s, tag %s", hub_model_id, commit, hub.tag_release(hub_model_id, commit) or "none")
