"""Clips in a data set repo on the Hub: files of audio, archives, or tables."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import datasets
from datasets.packaged_modules.audiofolder.audiofolder import AudioFolder
from huggingface_hub import HfApi, HfFileSystem, hf_hub_download, snapshot_download

from training import hub
from training.arguments import DataArguments
from training.data.sources.archive import archive_source, is_archive
from training.data.sources.clip_source import ClipSource, Example, Member, members_source
from training.data.sources.columns import TableSource, wanted_parts
from training.data.sources.layout import Tree, is_clip
from training.data.sources.metadata import is_metadata, label
from training.data.sources.tables import is_saved, is_table, saved_tables, table_errors_explained
from training.errors import TrainingError

# Of a data set with a loading script, which `datasets` refuses: the archive beside it is read directly.
_GTZAN_ARCHIVE = "data/genres.tar.gz"
_DOWNLOADS_AT_ONCE = 8


@dataclass(frozen=True)
class HubFiles:
    """Reads files of a repo at one commit. names: the files there are. keep: whether the Hub's cache stores them."""

    repo_id: str
    commit: str
    names: frozenset[str]
    keep: bool

    def __call__(self, name: str) -> bytes | None:
        """The content of a file; None where the repo has no such file."""
        if name not in self.names:
            return None
        if self.keep:
            return self.download(name).read_bytes()
        path = f"datasets/{self.repo_id}@{self.commit}/{name}"
        content: bytes = hub.retrying(HfFileSystem().read_bytes, path)
        return content

    def state(self, name: str) -> str:
        """The commit, at which a file stays what it is."""
        return f"{name} {self.commit}"

    def download(self, name: str) -> Path:
        """The file in the Hub's cache."""
        path = hub.retrying(hf_hub_download, self.repo_id, name, repo_type="dataset", revision=self.commit)
        return Path(path)


def hub_source(arguments: DataArguments) -> tuple[ClipSource | TableSource, str]:
    """The clips of a repo, whatever it holds, and their commit. Raises TrainingError."""
    repo_id = arguments.dataset
    with hub.hub_errors_explained(repo_id):
        info = hub.retrying(HfApi().dataset_info, repo_id, revision=arguments.dataset_revision)
        names = [file.rfilename for file in info.siblings or []]
        files = HubFiles(repo_id, str(info.sha), frozenset(names), keep=not arguments.streaming)
        has_configs = bool(info.card_data and info.card_data.get("configs"))
        with table_errors_explained(repo_id):
            return _open(files, names, arguments, has_configs=has_configs), files.commit


def _open(
    files: HubFiles, names: Sequence[str], arguments: DataArguments, *, has_configs: bool
) -> ClipSource | TableSource:
    if _GTZAN_ARCHIVE in names:
        return archive_source(files.repo_id, [files.download(_GTZAN_ARCHIVE)], arguments)
    if is_saved([PurePosixPath(name).name for name in names]):
        root = hub.retrying(snapshot_download, files.repo_id, repo_type="dataset", revision=files.commit)
        return saved_tables(Path(root), arguments, streaming=arguments.streaming)
    if not has_configs and arguments.dataset_config in (None, "default"):
        has_tables = any(map(is_table, names))
        clips = any(is_clip(PurePosixPath(name)) for name in names)
        if (clips or any(map(is_archive, names))) and not (has_tables and (not clips or arguments.audio_column)):
            return _files_source(files, {"": names}, arguments)
    return _configured_source(files, arguments)


def _configured_source(files: HubFiles, arguments: DataArguments) -> ClipSource | TableSource:
    """The data set as its card describes it, or as `datasets` makes it out."""
    config = _config_name(files, arguments.dataset_config)
    builder = hub.retrying(datasets.load_dataset_builder, files.repo_id, config, revision=files.commit)
    if isinstance(builder, AudioFolder):
        # Its own reader needs torchcodec.
        parts = _parts_of(files, builder.config.data_files, arguments.dataset_split)
        return _files_source(files, parts, replace(arguments, dataset_split=None))
    loaded = hub.retrying(
        datasets.load_dataset, files.repo_id, config, revision=files.commit, streaming=arguments.streaming
    )
    return TableSource(files.repo_id, dict(loaded), arguments, files)


def _config_name(files: HubFiles, wanted: str | None) -> str | None:
    names: list[str] = hub.retrying(datasets.get_dataset_config_names, files.repo_id, revision=files.commit)
    if wanted is not None and wanted not in names:
        raise TrainingError(
            f"{files.repo_id} has the configurations {', '.join(names)}, and none called {wanted}. Change "
            "--dataset_config or leave it out."
        )
    if wanted is not None or len(names) == 1:
        return wanted or names[0]
    default: str | None = hub.retrying(datasets.get_dataset_default_config_name, files.repo_id, revision=files.commit)
    if default is None:
        raise TrainingError(
            f"{files.repo_id} has the configurations {', '.join(names)}. Choose one with --dataset_config."
        )
    return default


def _parts_of(files: HubFiles, data_files: Mapping[str, Sequence[str]], wanted: str | None) -> dict[str, list[str]]:
    """The files in the wanted parts of a configuration."""
    root = f"hf://datasets/{files.repo_id}@{files.commit}/"
    return {
        part: [str(file).removeprefix(root) for file in data_files[part]]
        for part in wanted_parts(files.repo_id, list(data_files), wanted)
    }


def _files_source(files: HubFiles, parts: Mapping[str, Sequence[str]], arguments: DataArguments) -> ClipSource:
    """Audio in files of its own, or else in archives. parts: names of files; the part is empty where there are none."""
    names = [name for of_part in parts.values() for name in of_part]
    if not any(is_clip(PurePosixPath(name)) for name in names):
        archives = [files.download(name) for name in names if is_archive(name)]
        return archive_source(files.repo_id, archives, arguments)
    members = [
        member._replace(path=member.path.replace("/", f"/{part}/", 1) if part else member.path)
        for part, of_part in parts.items()
        for member in _labelled(files, of_part, arguments)
    ]
    return members_source(_hub_clips, {"files": files, "members": members}, members, files.repo_id, files.commit)


def _labelled(files: HubFiles, names: Sequence[str], arguments: DataArguments) -> list[Member]:
    paths = sorted(map(PurePosixPath, names))
    tree = Tree(files.repo_id, list(filter(is_clip, paths)))
    metadata = list(filter(is_metadata, paths))
    return label(tree, metadata, lambda file: files.download(str(file)).read_bytes(), arguments)


def _hub_clips(files: HubFiles, members: list[Member]) -> Iterator[Example]:
    """The clips in their order, some of them downloaded at once."""
    with ThreadPoolExecutor(_DOWNLOADS_AT_ONCE) as pool:
        for start in range(0, len(members), _DOWNLOADS_AT_ONCE):
            some = members[start : start + _DOWNLOADS_AT_ONCE]
            contents = pool.map(lambda member: None if member.problem else files(member.place), some)
            yield from (member.example(content) for member, content in zip(some, contents, strict=True))
