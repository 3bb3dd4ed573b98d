"""Clips in archives, which are read twice and never unpacked: first the names, then the clips.

Nothing is written under the names in an archive; those that lead out of the archive are left out all the same.
"""

import hashlib
import os
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

from training.arguments import DataArguments
from training.data.sources.clip_source import MAX_CLIP_BYTES, ClipSource, Example, Member, members_source
from training.data.sources.layout import NEEDED, Tree, is_clip
from training.data.sources.metadata import is_metadata, label
from training.errors import TrainingError

_SUFFIXES = frozenset({".zip", ".tar", ".gz", ".tgz", ".bz2", ".tbz2", ".xz", ".txz"})

# Deflate reaches 1,032 to 1, and silence in a WAV nearly that, so the ratio counts only for what is large.
_MAX_RATIO = 200
_SMALL_CLIP_BYTES = 64 * 2**20
_SMALL_ARCHIVE_BYTES = 2**30

_READABLE_METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA})
_ENCRYPTED = 0x1

Read = tuple[bytes | None, str]
"""The content of a file; or why it cannot be read."""


@dataclass(frozen=True)
class _Listing:
    """Names of the files by their path in the archive, and the folders that the archive lists."""

    files: Mapping[PurePosixPath, str]
    folders: Sequence[PurePosixPath]
    unsafe: Sequence[str]


def is_archive(name: str) -> bool:
    """Whether a file is an archive by its name."""
    return PurePosixPath(name).suffix.lower() in _SUFFIXES


def _place(path: Path) -> PurePosixPath:
    """Where the content of an archive would lie unpacked: in a folder of its name, of which jazz.1.zip is a part."""
    return PurePosixPath(path.parent, path.name.split(".")[0])


def archive_source(name: str, paths: Sequence[Path], arguments: DataArguments) -> ClipSource:
    """The clips of one archive, or of several as if each lay unpacked in a folder of its name. Raises TrainingError."""
    places: dict[PurePosixPath, tuple[Path, str]] = {}
    folders, outside = set(), []
    base = Path(os.path.commonpath([path.parent for path in paths]))
    for path in paths:
        top = _place(path.relative_to(base)) if len(paths) > 1 else PurePosixPath()
        listing = _list_zip(path) if _is_zip(path) else _list_tar(path)
        if twice := next((top / file for file in listing.files if top / file in places), None):
            raise TrainingError(
                f"{name} has {twice} in {places[twice][0].name} and in {path.name}. Rename one of them."
            )
        places |= {top / file: (path, listed) for file, listed in listing.files.items()}
        folders |= {top / folder for folder in listing.folders}
        problem = "its name leads out of the archive"
        outside += [Member("", listed, None, problem=problem).in_utf8() for listed in listing.unsafe]
    clips = sorted(filter(is_clip, places))
    if not clips and places:
        kinds = sorted({file.suffix.lower() or file.name for file in places})
        raise TrainingError(f"{name} holds no audio, only {', '.join(kinds[:8])}. {NEEDED}")

    def read(file: PurePosixPath) -> bytes:
        path, listed = places[file]
        [(_, (content, why))] = _read(path, {listed})
        if content is None:
            raise TrainingError(f"{file} in {path.name} {why}.")
        return content

    metadata = sorted(filter(is_metadata, places))
    members = [*label(Tree(name, clips, frozenset(folders)), metadata, read, arguments), *outside]
    wanted: dict[str, dict[str, Member]] = {str(path): {} for path in paths}
    for member in members:
        path, listed = places[PurePosixPath(member.place)] if member.place else (paths[0], f"\0{member.path}")
        wanted[str(path)][listed] = member
    return members_source(_archive_clips, {"wanted": wanted}, members, *map(_state, paths))


def _state(path: Path) -> str:
    stat = path.stat()
    return f"{path.resolve()} {stat.st_size} {stat.st_mtime_ns}"


def _archive_clips(wanted: Mapping[str, Mapping[str, Member]]) -> Iterator[Example]:
    for path, members in wanted.items():
        yield from (member.example(None) for member in members.values() if member.problem)
        usable = {listed for listed, member in members.items() if not member.problem}
        for listed, (content, why) in _read(Path(path), usable):
            yield members[listed].example(content, why)


def _read(path: Path, wanted: set[str]) -> Iterator[tuple[str, Read]]:
    return _read_zip(path, wanted) if _is_zip(path) else _read_tar(path, wanted)


def _listing(path: Path, names: Sequence[tuple[str, bool]]) -> _Listing:
    """The listing of names, each with whether it is a folder."""
    files: dict[PurePosixPath, str] = {}
    folders, unsafe = [], []
    for listed, is_folder in names:
        # Some programs on Windows write backslashes.
        file = PurePosixPath(listed.replace("\\", "/"))
        if file.is_absolute() or ".." in file.parts or PureWindowsPath(listed).drive:
            unsafe += [listed] if is_clip(file) else []
        elif is_folder:
            folders.append(file)
        else:
            files[file] = listed
    return _Listing(files, folders, unsafe)


def _is_zip(path: Path) -> bool:
    return path.suffix.lower() == ".zip" or zipfile.is_zipfile(path)


def _list_zip(path: Path) -> _Listing:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise TrainingError(f"{path.name} is no readable .zip. Download it again.") from error
    clips = [entry for entry in entries if is_clip(PurePosixPath(entry.filename))]
    if any(entry.flag_bits & _ENCRYPTED for entry in clips):
        raise TrainingError(f"{path.name} is encrypted. Unpack it with its password and name the folder instead.")
    if any(entry.compress_type not in _READABLE_METHODS for entry in clips):
        raise TrainingError(
            f"{path.name} is packed by a method that Python cannot read. Unpack it and name the folder instead."
        )
    total_bytes = sum(entry.file_size for entry in clips)
    if total_bytes > max(_SMALL_ARCHIVE_BYTES, _MAX_RATIO * path.stat().st_size):
        raise TrainingError(
            f"{path.name} claims to unpack to {total_bytes / 2**30:,.0f} GB, over {_MAX_RATIO} times its size: it is "
            "broken or a zip bomb. Download it again."
        )
    return _listing(path, [(entry.filename, entry.is_dir()) for entry in entries])


def _read_zip(path: Path, wanted: set[str]) -> Iterator[tuple[str, Read]]:
    """The entries in an order that mixes genres, the same each time: a stream of them is mixed no further."""
    with zipfile.ZipFile(path) as archive:
        for listed in sorted(wanted, key=lambda name: hashlib.sha256(name.encode("utf-8", "replace")).digest()):
            entry = archive.getinfo(listed)
            try:
                yield listed, _bomb(entry) or (archive.read(entry), "")
            except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError):
                yield listed, (None, "is damaged in the archive")


def _bomb(entry: zipfile.ZipInfo) -> Read | None:
    """The refusal of an entry that is too large, or that is small until it is unpacked. zipfile reads no byte more
    than an entry's directory claims."""
    if entry.file_size > MAX_CLIP_BYTES:
        return None, f"is larger than {MAX_CLIP_BYTES // 2**20} MB"
    if entry.file_size > max(_SMALL_CLIP_BYTES, _MAX_RATIO * entry.compress_size):
        return None, f"unpacks to over {_MAX_RATIO} times its size"
    return None


def _list_tar(path: Path) -> _Listing:
    try:
        with tarfile.open(path) as archive:
            names = [(member.name, member.isdir()) for member in archive if member.isfile() or member.isdir()]
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise TrainingError(f"{path.name} is no readable .tar.gz. Download it again.") from error
    return _listing(path, names)


def _read_tar(path: Path, wanted: set[str]) -> Iterator[tuple[str, Read]]:
    """The members in their order: a compressed archive cannot be read in another."""
    with tarfile.open(path) as archive:
        for member in archive:
            if member.isfile() and member.name in wanted:
                file = archive.extractfile(member)
                if member.size > MAX_CLIP_BYTES or file is None:
                    yield member.name, (None, f"is larger than {MAX_CLIP_BYTES // 2**20} MB")
                else:
                    yield member.name, (file.read(), "")
