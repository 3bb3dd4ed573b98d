"""Explains in words what the Hugging Face Hub refuses, to the operator of the service and to the training engineer."""

from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)


def explain_refusal(error: BaseException, repo_id: str, *, named_by: str) -> str | None:
    """The change that another try needs, in words; None for an error that is no refusal of the Hub.

    named_by: where the user wrote `repo_id`, such as MODEL_ID.
    """
    status = error.response.status_code if isinstance(error, HfHubHTTPError) else None
    match error:
        case HFValidationError():
            return f"{repo_id} is neither a Hub id like you/genre nor an existing file or folder. Check {named_by}."
        case GatedRepoError():
            return f"{repo_id} is gated. Ask for access on its page, then set HF_TOKEN to a token of that account."
        case RepositoryNotFoundError():
            return (
                f"{repo_id} does not exist on the Hub, or is private. Check {named_by}, or set HF_TOKEN to one that "
                "may read it."
            )
        case RevisionNotFoundError():
            return f"{repo_id} has no such revision. Name a branch, tag or commit that exists."
        case HfHubHTTPError() if status == 401:
            return "The Hub does not accept the token. Set HF_TOKEN to a valid one, or unset it for public repos."
        case HfHubHTTPError() if status == 403:
            return (
                f"The token may not do that with {repo_id}. Set HF_TOKEN to one with write access to push it, read "
                "access to serve it."
            )
        case _:
            return None
