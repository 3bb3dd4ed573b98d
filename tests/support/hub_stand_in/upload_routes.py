"""Routes that write: large files and commits."""

import base64
import hashlib
import json
import math

from starlette.responses import JSONResponse, Response

from tests.support.hub_stand_in.calls import Access, _Call
from tests.support.hub_stand_in.repos import Blob, Commit, HubError, Json, Repo, needs_lfs


class UploadRoutes(Access):
    """Takes large files and commits."""

    def _preupload(self, call: _Call) -> Response:
        present = self._writable(call).at(call.params["revision"]).files
        answers = []
        for file in call.json()["files"]:
            path, blob = file["path"], present.get(file["path"])
            mode = "lfs" if needs_lfs(path, file["size"]) else "regular"
            oid = {"oid": blob.etag} if blob else {}
            answers.append({"path": path, "uploadMode": mode, "shouldIgnore": False, **oid})
        return JSONResponse({"files": answers})

    def _lfs_batch(self, call: _Call) -> Response:
        repo = self._writable(call)
        storage = f"{call.base_url}/lfs/{repo.repo_type}s/{repo.repo_id}"
        objects = []
        for asked in call.json()["objects"]:
            oid, size = asked["oid"], asked["size"]
            address = f"{storage}/{oid}"
            actions = {"upload": self._lfs_upload(address, size), "verify": {"href": f"{address}/verify"}}
            objects.append({"oid": oid, "size": size} | ({} if oid in repo.lfs_objects else {"actions": actions}))
        return JSONResponse({"objects": objects})

    def _lfs_upload(self, address: str, size: int) -> Json:
        """Where an object is to be sent: in one piece, or part by part."""
        part_size = self._hub.part_size
        if part_size is None or size <= part_size:
            return {"href": address}
        parts = {str(part): f"{address}/parts/{part}" for part in range(1, math.ceil(size / part_size) + 1)}
        return {"href": f"{address}/complete", "header": {"chunk_size": str(part_size), **parts}}

    def _lfs_put(self, call: _Call) -> Response:
        return self._lfs_keep(call, call.body)

    def _lfs_put_part(self, call: _Call) -> Response:
        key = (call.params["oid"], int(call.params["part"]))
        self._storage(call).lfs_parts[key] = call.body
        return Response(status_code=200, headers={"ETag": hashlib.md5(call.body).hexdigest()})

    def _lfs_complete(self, call: _Call) -> Response:
        parts = self._storage(call).lfs_parts
        numbers = [part["partNumber"] for part in call.json()["parts"]]
        return self._lfs_keep(call, b"".join(parts.pop((call.params["oid"], number), b"") for number in numbers))

    def _lfs_keep(self, call: _Call, data: bytes) -> Response:
        blob = Blob(data, lfs=True)
        if blob.sha256 != call.params["oid"]:
            raise HubError(400, "The content does not match its oid")
        self._storage(call).lfs_objects[blob.sha256] = blob
        return Response(status_code=200)

    def _storage(self, call: _Call) -> Repo:
        repo = self._hub._repos.get(call.repo_key)
        if repo is None:
            raise HubError(403, "The upload address has expired")
        return repo

    def _lfs_verify(self, call: _Call) -> Response:
        blob = self._writable(call).lfs_objects.get(call.params["oid"])
        if blob is None or len(blob.data) != call.json()["size"]:
            raise HubError(404, "The object is not in the storage")
        return Response(status_code=200)

    def _commit(self, call: _Call) -> Response:
        repo, branch = self._writable(call), call.params["revision"]
        if branch not in repo.branches or "create_pr" in call.query:
            raise HubError(404, f"Invalid rev id: {branch}", code="RevisionNotFound")
        lines = [json.loads(line) for line in call.body.splitlines() if line.strip()]
        header = next(line["value"] for line in lines if line["key"] == "header")
        head = repo.at(branch)
        if header.get("parentCommit", head.oid) != head.oid:
            raise HubError(412, "A commit has happened since. Please refresh and try again.")
        changes: dict[str, Blob | None] = {}
        for line in lines:
            changes |= _changes(repo, head, line["key"], line["value"])
        author = call.token.user if call.token else ""
        commit = repo.add_commit(
            changes,
            header["summary"],
            branch=branch,
            author=author,
            description=header.get("description", ""),
        )
        url = f"{call.base_url}/{repo.web_path}/commit/{commit.oid}"
        return JSONResponse({"success": True, "commitOid": commit.oid, "commitUrl": url, "hookOutput": ""})


def _changes(repo: Repo, head: Commit, kind: str, value: Json) -> dict[str, Blob | None]:
    """What one line of a commit's payload does to which files."""
    path = value.get("path", "")
    match kind:
        case "header":
            return {}
        case "file":
            return {path: Blob(base64.b64decode(value["content"]), lfs=False)}
        case "lfsFile":
            if value["oid"] not in repo.lfs_objects:
                raise HubError(400, f"LFS pointer of {path} points to a file that does not exist")
            return {path: repo.lfs_objects[value["oid"]]}
        case "deletedFile" if path in head.files:
            return {path: None}
        case "deletedFolder":
            return {file: None for file in head.files if file.startswith(path.rstrip("/") + "/")}
        case "deletedFile":
            raise HubError(404, f"A file with this name doesn't exist: {path}", code="EntryNotFound")
    raise HubError(400, f"Unknown operation: {kind}")
