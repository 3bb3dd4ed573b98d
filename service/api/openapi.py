"""The OpenAPI document of the service, in a form that client generators understand."""

from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI

_VALIDATION_ERROR = "#/components/schemas/HTTPValidationError"


def install(app: FastAPI) -> None:
    """Let every schema of the document have a name of its own, and no route an error that it never answers."""
    usual = app.openapi

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            made = usual()
            schemas = made["components"]["schemas"]
            _lift_definitions(made["paths"], schemas)
            _drop_validation_errors(made["paths"], schemas)
        return usual()

    app.openapi = document  # type: ignore[method-assign]


def _lift_definitions(paths: dict[str, Any], schemas: dict[str, Any]) -> None:
    """Move the definitions that `schemas.schema_of` leaves beside its references to where they lead."""
    for part in list(_objects(paths)):
        for name, schema in part.pop("$defs", {}).items():
            if schemas.setdefault(name, schema) != schema:
                raise ValueError(f"Two schemas have the name {name}.")


def _drop_validation_errors(paths: dict[str, Any], schemas: dict[str, Any]) -> None:
    """Drop the errors that FastAPI adds to routes with parameters: those that can fail say so themselves."""
    for responses in [part["responses"] for part in _objects(paths) if "responses" in part]:
        for status, response in list(responses.items()):
            if any(part.get("$ref") == _VALIDATION_ERROR for part in _objects(response)):
                del responses[status]
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)


def _objects(part: Any) -> Iterator[dict[str, Any]]:
    """All objects in a part of a document, itself included."""
    if isinstance(part, dict):
        yield part
    for value in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        yield from _objects(value)
