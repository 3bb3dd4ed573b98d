"""Turns errors into answers: application/problem+json (RFC 9457), with the request id and nothing internal."""

from contextvars import Context
from typing import Any
from uuid import uuid4

from asgi_correlation_id import correlation_id
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import iter_route_contexts
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.routing import Match
from starlette.types import Receive, Scope, Send

from service.errors import InternalError, InvalidParameter, ServiceError, Unauthorized
from service.schemas import ErrorObject, Problem, schema_of

# Clients of the Hugging Face dialect and of the Open Inference Protocol read errors in a shape of their own.
_DIALECT_PATHS = {"/", "/predict", "/health", "/info"}
_DIALECT_PREFIX = "/v2/"


def install(app: FastAPI) -> None:
    """Answer every exception of the routes as a problem."""
    app.add_exception_handler(ServiceError, _service_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_exception)


class ProblemResponse(JSONResponse):
    """A problem as an HTTP answer; on the paths of another dialect it has the shape that is usual there.

    One that answers a ServiceError leaves its type in the scope, for the metrics.
    """

    media_type = "application/problem+json"
    error_type: type[ServiceError] | None = None

    def __init__(self, body: Problem, headers: dict[str, str]) -> None:
        super().__init__(body.model_dump(), body.status, headers)
        error = ErrorObject(error=body.detail, type=body.type, request_id=body.request_id)
        self._in_dialect = JSONResponse(error.model_dump(), body.status, headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer."""
        if self.error_type:
            mark_refused(scope, self.error_type)
        if _is_dialect(scope):
            return await self._in_dialect(scope, receive, send)
        return await super().__call__(scope, receive, send)


def mark_refused(scope: Scope, error_type: type[ServiceError]) -> None:
    """Note in the scope of a request that it is refused, and why."""
    scope["refusal"] = error_type.type


def refusal(scope: Scope) -> str | None:
    """The problem type that a request was answered with; None when it was not refused."""
    return scope.get("refusal")


def problem(error: ServiceError) -> ProblemResponse:
    """The answer to a request that ends with this error."""
    headers = {} if error.retry_after_s is None else {"Retry-After": str(error.retry_after_s)}
    if isinstance(error, Unauthorized):
        headers["WWW-Authenticate"] = "Bearer"
    response = ProblemResponse(describe(error), headers)
    response.error_type = type(error)
    return response


def connection_problem(error: ServiceError) -> ProblemResponse:
    """The answer to what never became a request: it has an id of its own, where a request brings one."""

    def answer() -> ProblemResponse:
        correlation_id.set(uuid4().hex)
        response = problem(error)
        response.headers["X-Request-ID"] = correlation_id.get() or ""
        return response

    # The current context may be that of the request before on the same connection.
    return Context().run(answer)


def describe(error: ServiceError) -> Problem:
    """The problem that tells a client of an error."""
    return _describe(f"urn:music-genre:{error.type}", error.title, error.status, error.detail)


def http_problem(status: int, title: str, detail: str, headers: dict[str, str] | None = None) -> ProblemResponse:
    """A problem that is nothing but its HTTP status, such as 404."""
    return ProblemResponse(_describe("about:blank", title, status, detail), headers or {})


def responses(*errors: type[ServiceError], in_dialect: bool = False) -> dict[int | str, dict[str, Any]]:
    """The OpenAPI entries of a route that may answer these errors, on a path of another dialect or not."""
    content: dict[str, Any] = {"application/problem+json": {"schema": schema_of(Problem)}}
    if in_dialect:
        content = {"application/json": {"schema": schema_of(ErrorObject)}}
    by_status: dict[int | str, list[str]] = {}
    for error in errors:
        by_status.setdefault(error.status, []).append(f"`{error.type}`: {error.title.lower()}")
    return {
        status: {
            "description": "; ".join(lines),
            "content": content,
        }
        for status, lines in by_status.items()
    }


async def _service_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, ServiceError)
    return problem(error)


async def _validation_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"][1:]) or str(first["loc"][0])
    return problem(InvalidParameter(f"{where}: {first['msg']}."))


async def _http_exception(request: Request, error: Exception) -> Response:
    """Answers what FastAPI itself refuses: an unknown path, a wrong method."""
    assert isinstance(error, HTTPException)
    headers = dict(error.headers or {})
    # A mounted application says itself what it takes.
    if error.status_code == 405 and (methods := _methods(request)):
        headers["Allow"] = ", ".join(sorted(methods))
    return http_problem(error.status_code, error.detail, error.detail, headers)


def _methods(request: Request) -> set[str]:
    """The methods of a path, of all its routes: the router names those of the first."""
    routes = iter_route_contexts(request.app.routes)
    matching = [route for route in routes if route.matches(request.scope)[0] is not Match.NONE]
    return {method for route in matching for method in route.methods or ()}


def internal_error() -> ProblemResponse:
    """The answer to a request on which the service failed; the log has the reason."""
    return problem(InternalError())


def _describe(type_: str, title: str, status: int, detail: str) -> Problem:
    return Problem(type=type_, title=title, status=status, detail=detail, request_id=correlation_id.get() or "")


def _is_dialect(scope: Scope) -> bool:
    # A mounted application, such as the page, has its own path for the root of the other.
    path = scope.get("path", "").removeprefix(scope.get("app_root_path", scope.get("root_path", "")))
    return path in _DIALECT_PATHS or f"{path}/".startswith(_DIALECT_PREFIX)
