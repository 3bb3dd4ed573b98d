"""Repos of the stand-in: tokens, blobs, commits, and the errors of the Hub."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Literal

import yaml

Gated = Literal["auto", "manual", False]
Json = dict[str, Any]

LFS_SUFFIXES = (".safetensors", ".tar.gz", ".parquet", ".png")
LFS_OVER_BYTES = 1_000_000
GIT_ATTRIBUTES = "".join(f"*{suffix} filter=lfs diff=lfs merge=lfs -text\n" for suffix in LFS_SUFFIXES).encode()

_FRONT_MATTER = re.compile(r"\A---\s*\n(.*?)\n---\s*(?:\n|\Z)", re.DOTALL)


@dataclass(frozen=True)
class Token:
    """An access token: whose it is, what it may do, and the organisations of its user."""

    user: str
    role: Literal["read", "write"]
    orgs: tuple[str, ...] = ()

    def sees(self, namespace: str) -> bool:
        """Whether the private and gated repos of the namespace are open to this token."""
        return namespace == self.user or namespace in self.orgs


@dataclass(frozen=True)
class Blob:
    """The content of one file and whether it is kept in git or in the large file storage."""

    data: bytes = field(repr=False)
    lfs: bool

    @cached_property
    def sha256(self) -> str:
        """The name of the content in the large file storage."""
        return hashlib.sha256(self.data).hexdigest()

    @cached_property
    def git_oid(self) -> str:
        """The name of the git blob: of the content, or of the pointer that stands for it."""
        blob = self.pointer if self.lfs else self.data
        return hashlib.sha1(b"blob %d\0" % len(blob) + blob).hexdigest()

    @property
    def pointer(self) -> bytes:
        """What git keeps of a file in the large file storage."""
        spec = "version https://git-lfs.github.com/spec/v1"
        return f"{spec}\noid sha256:{self.sha256}\nsize {len(self.data)}\n".encode()

    @property
    def etag(self) -> str:
        """What a client calls the content in its cache, and what it compares to skip an unchanged upload."""
        return self.sha256 if self.lfs else self.git_oid


@dataclass(frozen=True)
class Commit:
    """One commit: the files after it, and the paths it changed."""

    oid: str
    message: str
    description: str
    author: str
    date: str
    parent: "Commit | None" = field(repr=False)
    files: Mapping[str, Blob] = field(repr=False)
    changed: tuple[str, ...]


@dataclass
class Repo:
    """A model or dataset repo."""

    repo_type: str
    repo_id: str
    private: bool = False
    gated: Gated = False
    commits: dict[str, Commit] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    lfs_objects: dict[str, Blob] = field(default_factory=dict)
    lfs_parts: dict[tuple[str, int], bytes] = field(default_factory=dict)

    @property
    def namespace(self) -> str:
        """The user or organisation the repo belongs to."""
        return self.repo_id.split("/")[0]

    @property
    def web_path(self) -> str:
        """The repo's path on the site: a dataset's has a prefix, a model's has none."""
        return self.repo_id if self.repo_type == "model" else f"{self.repo_type}s/{self.repo_id}"

    def at(self, revision: str) -> Commit:
        """The commit that a branch, a tag or a commit hash names."""
        oid = self.branches.get(revision) or self.tags.get(revision) or revision
        if oid not in self.commits:
            raise HubError(404, f"Invalid rev id: {revision}", code="RevisionNotFound")
        return self.commits[oid]

    def add_commit(
        self,
        changes: Mapping[str, Blob | None],
        message: str,
        *,
        branch: str,
        author: str,
        description: str = "",
    ) -> Commit:
        """Put a commit on a branch; a change to None removes the file."""
        parent = self.at(branch) if branch in self.branches else None
        before = parent.files if parent else {}
        files = {path: blob for path, blob in {**before, **changes}.items() if blob is not None}
        names = [(path, blob.git_oid) for path, blob in sorted(files.items())]
        seed = [self.web_path, len(self.commits), parent.oid if parent else None, message, names]
        commit = Commit(
            oid=hashlib.sha1(json.dumps(seed).encode()).hexdigest(),
            message=message,
            description=description,
            author=author,
            date=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            parent=parent,
            files=files,
            changed=tuple(sorted(path for path, blob in changes.items() if before.get(path) != blob)),
        )
        self.commits[commit.oid] = commit
        self.branches[branch] = commit.oid
        return commit

    def history(self, revision: str) -> list[Commit]:
        """The commits behind a revision, newest first."""
        commits = []
        commit: Commit | None = self.at(revision)
        while commit is not None:
            commits.append(commit)
            commit = commit.parent
        return commits


class HubError(Exception):
    """An error answer; over plain http the clients have little but its `X-Error-Code` header to go by."""

    def __init__(self, status: int, message: str, *, code: str | None = None, **extra: object) -> None:
        super().__init__(message)
        self.status = status
        # A header cannot hold all that a path may.
        in_header = "".join(char if " " <= char <= "~" else "?" for char in message)
        self.headers = {"X-Error-Message": in_header} | ({"X-Error-Code": code} if code else {})
        self.content = {"error": message, **extra}


def needs_lfs(path: str, size: int) -> bool:
    """Whether a file goes to the large file storage; an empty one never does."""
    return size > 0 and (size > LFS_OVER_BYTES or path.endswith(LFS_SUFFIXES))


def front_matter(readme: str) -> Json:
    """The YAML block that opens a repo card, as it fits into JSON; empty where there is none."""
    found = _FRONT_MATTER.match(readme)
    data = yaml.safe_load(found.group(1)) if found else None
    return json.loads(json.dumps(data, default=str)) if isinstance(data, dict) else {}
