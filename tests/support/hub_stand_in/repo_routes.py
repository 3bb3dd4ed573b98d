"""Routes of accounts, repos, branches and tags."""

import yaml
from starlette.responses import JSONResponse, Response

from tests.support.hub_stand_in.calls import Access, _anonymous, _Call, _repo_not_found, _require_write
from tests.support.hub_stand_in.repos import HubError, Repo, front_matter


class RepoRoutes(Access):
    """Answers about accounts, repos, branches and tags."""

    def _whoami(self, call: _Call) -> Response:
        if call.token is None:
            raise _anonymous()
        access = {"displayName": call.token.role, "role": call.token.role}
        orgs = [{"type": "org", "name": org} for org in call.token.orgs]
        auth = {"type": "access_token", "accessToken": access}
        return JSONResponse({"type": "user", "name": call.token.user, "orgs": orgs, "auth": auth})

    def _agent_harnesses(self, _: _Call) -> Response:
        """What the client asks once per cache folder, to tell in its user agent which coding agent runs it."""
        return JSONResponse({"standardEnvVars": [], "harnesses": {}})

    def _validate_yaml(self, call: _Call) -> Response:
        try:
            metadata = front_matter(str(call.json()["content"]))
        except yaml.YAMLError as error:
            return JSONResponse({"errors": [{"message": str(error)}], "warnings": []}, 400)
        warnings = [] if metadata else [{"message": "empty or missing yaml metadata in repo card"}]
        return JSONResponse({"errors": [], "warnings": warnings})

    def _create_repo(self, call: _Call) -> Response:
        asked = call.json()
        namespace = asked.get("organization") or (call.token.user if call.token else "")
        repo_type = asked.get("type") or "model"
        _require_write(call, namespace, f"create a {repo_type} under the namespace {namespace}")
        if repo_type not in ("model", "dataset"):
            raise HubError(400, f"Not in the stand-in's protocol: a repo of type {repo_type}")
        repo = Repo(repo_type, f"{namespace}/{asked['name']}", private=asked.get("visibility") == "private")
        url = f"{call.base_url}/{repo.web_path}"
        if (repo_type, repo.repo_id) in self._hub._repos:
            raise HubError(409, f"You already created this {repo_type} repo", url=url)
        self._hub._add_repo(repo)
        return JSONResponse({"url": url, "name": repo.repo_id, "private": repo.private})

    def _delete_repo(self, call: _Call) -> Response:
        asked = call.json()
        namespace = asked.get("organization") or (call.token.user if call.token else "")
        key = (asked.get("type") or "model", f"{namespace}/{asked['name']}")
        if key not in self._hub._repos:
            raise _repo_not_found(call)
        _require_write(call, namespace, f"delete {key[0]} {key[1]}")
        del self._hub._repos[key]
        return Response(status_code=200)

    def _settings(self, call: _Call) -> Response:
        repo, asked = self._writable(call), call.json()
        repo.gated = asked.get("gated", repo.gated)
        repo.private = asked.get("visibility", "private" if repo.private else "public") == "private"
        return JSONResponse({"private": repo.private, "gated": repo.gated})

    def _auth_check(self, call: _Call) -> Response:
        self._ungated(call)
        return Response(status_code=200)

    def _auth_check_write(self, call: _Call) -> Response:
        self._writable(call)
        return Response(status_code=200)

    def _create_branch(self, call: _Call) -> Response:
        repo, branch = self._writable(call), call.params["branch"]
        if branch in repo.branches:
            raise HubError(409, f"Reference already exists: refs/heads/{branch}")
        repo.branches[branch] = repo.at(call.json().get("startingPoint") or "main").oid
        return Response(status_code=201)

    def _delete_branch(self, call: _Call) -> Response:
        repo, branch = self._writable(call), call.params["branch"]
        if branch == "main":
            raise HubError(403, "Cannot delete the main branch")
        if repo.branches.pop(branch, None) is None:
            raise HubError(404, f"Invalid rev id: {branch}", code="RevisionNotFound")
        return Response(status_code=200)

    def _create_tag(self, call: _Call) -> Response:
        repo, tag = self._writable(call), str(call.json()["tag"])
        if tag in repo.tags:
            raise HubError(409, f"Reference already exists: refs/tags/{tag}")
        repo.tags[tag] = repo.at(call.params["revision"]).oid
        return Response(status_code=201)

    def _delete_tag(self, call: _Call) -> Response:
        repo, tag = self._writable(call), call.params["revision"]
        if repo.tags.pop(tag, None) is None:
            raise HubError(404, f"Invalid rev id: {tag}", code="RevisionNotFound")
        return Response(status_code=200)
