"""Routes that read: info, listings and files of repos."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from urllib.parse import parse_qs, quote

from starlette.responses import JSONResponse, Response

from tests.support.hub_stand_in.calls import Access, _Call
from tests.support.hub_stand_in.repos import Blob, Commit, HubError, Json, Repo, front_matter

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


class FileRoutes(Access):
    """Answers what repos hold."""

    def _repo_info(self, call: _Call) -> Response:
        repo = self._readable(call)
        commit = repo.at(call.params.get("revision", "main"))
        readme = commit.files.get("README.md")
        card = front_matter(readme.data.decode(errors="replace")) if readme else {}
        files = sorted(commit.files.items())
        info = {
            "id": repo.repo_id,
            "author": repo.namespace,
            "sha": commit.oid,
            "createdAt": repo.history(commit.oid)[-1].date,
            "lastModified": commit.date,
            "private": repo.private,
            "gated": repo.gated,
            "disabled": False,
            "downloads": 0,
            "likes": 0,
            "tags": card.get("tags") or [],
            "cardData": card,
            "siblings": [_sibling(path, blob, call.flag("blobs")) for path, blob in files],
        }
        if repo.repo_type == "model":
            info |= {key: card[key] for key in ("pipeline_tag", "library_name") if key in card}
        if call.expand:
            info = {key: value for key, value in info.items() if key == "id" or key in call.expand}
        return JSONResponse(info)

    def _refs(self, call: _Call) -> Response:
        repo = self._readable(call)
        branches, tags = _refs("refs/heads", repo.branches), _refs("refs/tags", repo.tags)
        return JSONResponse({"branches": branches, "tags": tags, "converts": [], "pullRequests": []})

    def _commits(self, call: _Call) -> Response:
        commits = self._readable(call).history(call.params["revision"])
        return self._page(call, [_commit_entry(commit) for commit in commits])

    def _tree(self, call: _Call) -> Response:
        repo = self._readable(call)
        commit = repo.at(call.params["revision"])
        folder = call.params.get("path", "").strip("/")
        prefix = f"{folder}/" if folder else ""
        paths = [path for path in commit.files if path.startswith(prefix)]
        if folder and not paths:
            raise _entry_not_found(folder, commit)
        folders = {str(parent) for path in paths for parent in PurePosixPath(path).parents} - {"."}
        found = sorted(path for path in {*paths, *folders} if path.startswith(prefix))
        if not call.flag("recursive"):
            found = [path for path in found if "/" not in path.removeprefix(prefix)]
        return self._page(call, _path_entries(repo, commit, found, expand=call.flag("expand")))

    def _paths_info(self, call: _Call) -> Response:
        repo = self._readable(call)
        commit = repo.at(call.params["revision"])
        form = parse_qs(call.body.decode())
        asked = {path.strip("/") for path in form.get("paths", [])}
        folders = {str(parent) for path in commit.files for parent in PurePosixPath(path).parents} - {"."}
        expand = form.get("expand", [""])[0].lower() == "true"
        found = sorted(asked & (commit.files.keys() | folders))
        return JSONResponse(_path_entries(repo, commit, found, expand=expand))

    def _page(self, call: _Call, entries: Sequence[Json]) -> Response:
        """One page of a list; the address of the next is in the `Link` header."""
        start = int(call.query.get("cursor", 0))
        end = start + self._hub.page_size
        more = end < len(entries)
        link = {"Link": f'<{call.url.include_query_params(cursor=end)}>; rel="next"'} if more else {}
        return JSONResponse(entries[start:end], headers=link)

    def _resolve(self, call: _Call) -> Response:
        repo = self._ungated(call)
        commit = repo.at(call.params["revision"])
        path = call.params["path"]
        blob = commit.files.get(path)
        if blob is None:
            raise _entry_not_found(path, commit)
        headers = {
            "ETag": f'"{blob.etag}"',
            "X-Repo-Commit": commit.oid,
            "Accept-Ranges": "bytes",
            "Content-Disposition": f"inline; filename*=UTF-8''{quote(path.split('/')[-1])}",
        }
        if blob.lfs:
            headers |= {"X-Linked-Etag": f'"{blob.sha256}"', "X-Linked-Size": str(len(blob.data))}
        return _file_answer(blob.data, call.headers.get("range"), headers)


def _entry_not_found(path: str, commit: Commit) -> HubError:
    error = HubError(404, f"Entry not found: {path}", code="EntryNotFound")
    # By this header a client remembers for which commit the file is missing.
    error.headers["X-Repo-Commit"] = commit.oid
    return error


def _lfs_info(blob: Blob) -> Json:
    return {"size": len(blob.data), "pointerSize": len(blob.pointer)}


def _sibling(path: str, blob: Blob, metadata: bool) -> Json:
    if not metadata:
        return {"rfilename": path}
    lfs = {"lfs": {"sha256": blob.sha256, **_lfs_info(blob)}} if blob.lfs else {}
    return {"rfilename": path, "size": len(blob.data), "blobId": blob.git_oid, **lfs}


def _refs(prefix: str, refs: Mapping[str, str]) -> list[Json]:
    return [{"name": name, "ref": f"{prefix}/{name}", "targetCommit": oid} for name, oid in refs.items()]


def _commit_entry(commit: Commit) -> Json:
    authors = [{"user": commit.author}]
    named = {"id": commit.oid, "title": commit.message, "message": commit.description}
    return {**named, "authors": authors, "date": commit.date}


def _path_entries(repo: Repo, commit: Commit, paths: Iterable[str], *, expand: bool) -> list[Json]:
    """Files and folders as `tree` and `paths-info` list them."""
    history = repo.history(commit.oid) if expand else []
    entries = []
    for path in paths:
        entry = _path_entry(commit, path)
        if expand:
            last = next(past for past in history if any(_is_within(file, path) for file in past.changed))
            entry["lastCommit"] = {"id": last.oid, "title": last.message, "date": last.date}
        entries.append(entry)
    return entries


def _path_entry(commit: Commit, path: str) -> Json:
    blob = commit.files.get(path)
    if blob is None:
        within = [(name, file.git_oid) for name, file in sorted(commit.files.items()) if _is_within(name, path)]
        oid = hashlib.sha1(json.dumps(within).encode()).hexdigest()
        return {"type": "directory", "oid": oid, "size": 0, "path": path}
    lfs = {"lfs": {"oid": blob.sha256, **_lfs_info(blob)}} if blob.lfs else {}
    return {"type": "file", "oid": blob.git_oid, "size": len(blob.data), "path": path, **lfs}


def _is_within(file: str, path: str) -> bool:
    return file == path or file.startswith(f"{path}/")


def _file_answer(data: bytes, asked: str | None, headers: dict[str, str]) -> Response:
    """The whole file, or the range of it that was asked for."""
    media_type = "application/octet-stream"
    found = _RANGE.fullmatch(asked) if asked else None
    if found is None or found.groups() == ("", ""):
        return Response(data, headers=headers, media_type=media_type)
    first, last = found.groups()
    start = int(first) if first else max(len(data) - int(last), 0)
    end = min(int(last) + 1, len(data)) if first and last else len(data)
    if start >= end:
        return Response(status_code=416, headers={**headers, "Content-Range": f"bytes */{len(data)}"})
    headers["Content-Range"] = f"bytes {start}-{end - 1}/{len(data)}"
    return Response(data[start:end], status_code=206, headers=headers, media_type=media_type)
