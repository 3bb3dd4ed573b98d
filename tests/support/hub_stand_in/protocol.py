"""The Hub's HTTP protocol: which route is answered by what."""

from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import unquote

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.support.hub_stand_in.calls import _Call
from tests.support.hub_stand_in.file_routes import FileRoutes
from tests.support.hub_stand_in.front_door import _bearer
from tests.support.hub_stand_in.repo_routes import RepoRoutes
from tests.support.hub_stand_in.repos import HubError
from tests.support.hub_stand_in.upload_routes import UploadRoutes

if TYPE_CHECKING:
    from tests.support.hub_stand_in.stand_in import HubStandIn

MAX_BODY_BYTES = 2 * 1024**3


class _Protocol(RepoRoutes, FileRoutes, UploadRoutes):
    """The Hub's HTTP protocol over the repos of a stand-in."""

    def __init__(self, hub: "HubStandIn") -> None:
        super().__init__(hub)
        model, dataset = "/{namespace}/{name}", "/{kind:repo_kind}/{namespace}/{name}"
        api, storage = f"/api{dataset}", f"/lfs{dataset}"
        route = self._route
        self.app = Starlette(
            routes=[
                route("GET", "/api/whoami-v2", self._whoami),
                route("GET", "/api/agent-harnesses", self._agent_harnesses),
                route("POST", "/api/validate-yaml", self._validate_yaml),
                route("POST", "/api/repos/create", self._create_repo),
                route("DELETE", "/api/repos/delete", self._delete_repo),
                route("GET", api, self._repo_info),
                route("GET", api + "/revision/{revision}", self._repo_info),
                route("GET", api + "/auth-check", self._auth_check),
                route("GET", api + "/auth-check/write", self._auth_check_write),
                route("PUT", api + "/settings", self._settings),
                route("GET", api + "/refs", self._refs),
                route("GET", api + "/commits/{revision}", self._commits),
                route("GET", api + "/tree/{revision}", self._tree),
                route("GET", api + "/tree/{revision}/{path:path}", self._tree),
                route("POST", api + "/paths-info/{revision}", self._paths_info),
                route("POST", api + "/branch/{branch}", self._create_branch),
                route("DELETE", api + "/branch/{branch}", self._delete_branch),
                route("POST", api + "/tag/{revision}", self._create_tag),
                route("DELETE", api + "/tag/{revision}", self._delete_tag),
                route("POST", api + "/preupload/{revision}", self._preupload),
                route("POST", api + "/commit/{revision}", self._commit),
                route("POST", dataset + ".git/info/lfs/objects/batch", self._lfs_batch),
                route("POST", model + ".git/info/lfs/objects/batch", self._lfs_batch),
                route("PUT", storage + "/{oid}", self._lfs_put),
                route("PUT", storage + "/{oid}/parts/{part:int}", self._lfs_put_part),
                route("POST", storage + "/{oid}/complete", self._lfs_complete),
                route("POST", storage + "/{oid}/verify", self._lfs_verify),
                route("GET", dataset + "/resolve/{revision}/{path:path}", self._resolve),
                route("GET", model + "/resolve/{revision}/{path:path}", self._resolve),
            ],
            exception_handlers={HubError: _error_answer, 404: _unknown, 405: _unknown},
            max_body_size=MAX_BODY_BYTES,
        )

    def _route(self, method: str, path: str, handler: Callable[[_Call], Response]) -> Route:
        async def endpoint(request: Request) -> Response:
            body = await request.body()
            with self._hub._lock:
                return handler(self._call(request, body))

        return Route(path, endpoint, methods=[method])

    def _call(self, request: Request, body: bytes) -> _Call:
        bearer = _bearer(request.headers)
        if bearer is not None and bearer not in self._hub.tokens:
            # A bad token is refused even where none is needed.
            raise HubError(401, "Invalid credentials in Authorization header")
        return _Call(
            url=request.url,
            base_url=str(request.base_url).rstrip("/"),
            params={name: unquote(str(value)) for name, value in request.path_params.items()},
            query=request.query_params,
            expand=request.query_params.getlist("expand"),
            headers=request.headers,
            body=body,
            token=self._hub.tokens[bearer] if bearer else None,
        )


async def _error_answer(_: Request, error: Exception) -> Response:
    assert isinstance(error, HubError)
    return JSONResponse(error.content, error.status, headers=error.headers)


async def _unknown(request: Request, _: Exception) -> Response:
    request.scope["unknown"] = True
    message = f"Not in the stand-in's protocol: {request.method} {request.url.path}"
    return JSONResponse({"error": message}, 404)
