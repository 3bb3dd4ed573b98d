"""Routes of the operator: swap the model now, return to the one before. Every one needs a key of ADMIN_KEYS_FILE."""

from fastapi import APIRouter, Depends, Request
from fastapi.security import APIKeyHeader, HTTPBearer

from service.api.classifying import ClassifierDep
from service.api.routes import ReloaderDep
from service.auth.keys import KeyRing
from service.classification.classifier import Classifier
from service.errors import Draining, ModelLoading, ModelRefused, ModelUnavailable, Unauthorized
from service.problems import responses
from service.schemas import ModelReference, Reload

PREFIX = "/admin"

_HINT = "Send a key of ADMIN_KEYS_FILE as `Authorization: Bearer <key>` or `X-API-Key: <key>`."


def _require_key(request: Request) -> None:
    keys: KeyRing = request.app.state.admin_keys
    if not keys.accepts_headers(request.headers):
        raise Unauthorized(_HINT)


router = APIRouter(
    prefix=PREFIX,
    tags=["operate"],
    dependencies=[
        Depends(_require_key),
        # For the OpenAPI document alone.
        Depends(HTTPBearer(auto_error=False)),
        Depends(APIKeyHeader(name="X-API-Key", auto_error=False)),
    ],
    responses=responses(Unauthorized, ModelRefused, ModelUnavailable, ModelLoading, Draining),
)


@router.post("/reload")
async def reload(reloader: ReloaderDep, classifier: ClassifierDep) -> Reload:
    """Swap in the newest commit of MODEL_REVISION now; it must prove itself first. Answers once it is done."""
    return Reload(result=await reloader.reload(), model=_reference(classifier))


@router.post("/rollback")
async def rollback(reloader: ReloaderDep, classifier: ClassifierDep) -> Reload:
    """Return to the model before; the one that is left is not taken again until the repo changes."""
    await reloader.roll_back()
    return Reload(result="rolled_back", model=_reference(classifier))


def _reference(classifier: Classifier) -> ModelReference:
    return classifier.engine.reference
