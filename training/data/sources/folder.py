"""Clips in a folder on this machine."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from training.arguments import DataArguments
from training.data.sources.archive import archive_source, is_archive
from training.data.sources.clip_source import MAX_CLIP_BYTES, ClipSource, Example, Member, members_source
from training.data.sources.columns import TableSource
from training.data.sources.layout import NEEDED, Tree, is_clip
from training.data.sources.metadata import is_metadata, label
from training.data.sources.tables import file_tables, is_saved, is_table, saved_tables
from training.errors import TrainingError


def folder_source(root: Path, arguments: DataArguments, *, streaming: bool) -> ClipSource | TableSource:
    """The clips of a folder, whatever lies in it. Raises TrainingError."""
    files, folders = _walk(root)
    clips = [file for file in files if is_clip(file)]
    tables = [root / file for file in files if is_table(file.name)]
    archives = [root / file for file in files if is_archive(file.name)]
    if is_saved(os.listdir(root)):
        return saved_tables(root, arguments, streaming=streaming)
    if tables and (not clips or arguments.audio_column is not None):
        return file_tables(root, tables, arguments, streaming=streaming)
    if archives and not clips:
        return archive_source(root.name, archives, arguments)
    if not clips and files:
        kinds = sorted({file.suffix.lower() or file.name for file in files})
        raise TrainingError(f"{root.name} holds no audio, only {', '.join(kinds[:8])}. {NEEDED}")
    tree = Tree(root.name, clips, frozenset(folders))
    metadata = [file for file in files if is_metadata(file)]
    members = label(tree, metadata, lambda file: (root / file).read_bytes(), arguments)
    return members_source(
        _folder_clips, {"root": str(root), "members": members}, members, *map(_state, _paths(root, members))
    )


def _walk(root: Path) -> tuple[list[PurePosixPath], list[PurePosixPath]]:
    """Files and folders below a folder, relative to it, sorted. Links are followed; each real folder is read once."""
    files, folders, seen = [], [], {os.path.realpath(root)}
    for parent, inside, names in os.walk(root, followlinks=True):
        inside.sort()
        inside[:] = [name for name in inside if _is_new(os.path.realpath(Path(parent, name)), seen)]
        relative = PurePosixPath(Path(parent).relative_to(root))
        folders += [relative / name for name in inside]
        files += [relative / name for name in names if _is_file(Path(parent, name))]
    return sorted(files), sorted(folders)


def _is_new(real: str, seen: set[str]) -> bool:
    is_new = real not in seen
    seen.add(real)
    return is_new


def _is_file(path: Path) -> bool:
    # A link to a file that is gone is listed, and told when it is read.
    return path.is_file() or (path.is_symlink() and not path.exists())


def _paths(root: Path, members: Sequence[Member]) -> list[Path]:
    return [root / member.place for member in members if member.place]


def _state(path: Path) -> str:
    if not path.is_file():
        return f"{path} is gone"
    stat = path.stat()
    return f"{path} {stat.st_size} {stat.st_mtime_ns}"


def _folder_clips(root: str, members: list[Member]) -> Iterator[Example]:
    for member in members:
        yield member.example(*((None, "") if member.problem else _read(Path(root, member.place))))


def _read(path: Path) -> tuple[bytes | None, str]:
    """The content of a file; or why it cannot be read."""
    try:
        if path.stat().st_size > MAX_CLIP_BYTES:
            return None, f"is larger than {MAX_CLIP_BYTES // 2**20} MB"
        return path.read_bytes(), ""
    except FileNotFoundError:
        return None, "the file is not there"
    except OSError as error:
        return None, f"cannot be read ({error.strerror})"
