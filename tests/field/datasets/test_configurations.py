"""Data sets on the Hub with several configurations and parts, of tables and of audio files."""

from pathlib import Path

import datasets
import pytest

from tests.field.datasets.recipes import Files, cell, pushed, read, table, tree, write
from tests.support.hub_stand_in import HubStandIn
from training.errors import TrainingError

pytestmark = pytest.mark.thorough

_STREAMING = pytest.mark.parametrize("streaming", [False, True], ids=["stored", "streamed"])


def _card(*configs: str) -> bytes:
    return "\n".join(["---", "configs:", *configs, "---", "# Music"]).encode()


def _rows(*genres: str) -> bytes:
    cells: list[object] = [cell(number) for number in range(len(genres))]
    text = datasets.Value("string")
    return table({"file": cells, "music_genre": list(genres)}, {"file": datasets.Audio(), "music_genre": text})


_SMALL, _FULL = ("jazz", "rock") * 2, ("jazz", "rock", "pop") * 2
_TABLES: Files = {"small/train.parquet": _rows(*_SMALL), "full/train.parquet": _rows(*_FULL)}
_CONFIGS = tuple(
    f"- config_name: {name}\n  data_files:\n  - split: train\n    path: {name}/*.parquet" for name in ("small", "full")
)


@_STREAMING
def test_configuration_and_columns_are_chosen(streaming: bool, tmp_path: Path, hub: HubStandIn) -> None:
    repo = pushed(hub, tmp_path.name, _TABLES | {"README.md": _card(*_CONFIGS)})
    with pytest.raises(TrainingError, match="has the configurations small, full. Choose one with --dataset_config"):
        read(repo, tmp_path, streaming=streaming)
    with pytest.raises(TrainingError, match="has the configurations small, full, and none called large"):
        read(repo, tmp_path, streaming=streaming, dataset_config="large")
    with pytest.raises(TrainingError, match="has the columns file, music_genre"):
        read(repo, tmp_path, streaming=streaming, dataset_config="full")
    options = {"audio_column": "file", "genre_column": "music_genre"}
    small = read(repo, tmp_path, streaming=streaming, dataset_config="small", **options)
    full = read(repo, tmp_path, streaming=streaming, dataset_config="full", **options)
    assert (small.genres, full.genres) == ({"jazz": 2, "rock": 2}, {"jazz": 2, "rock": 2, "pop": 2})


def test_configuration_of_a_local_folder_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "music", _TABLES)
    with pytest.raises(TrainingError, match="music is on this machine, where data sets have no configurations"):
        read(str(tmp_path / "music"), tmp_path, streaming=False, dataset_config="small")


@_STREAMING
def test_default_configuration_is_taken(streaming: bool, tmp_path: Path, hub: HubStandIn) -> None:
    card = _card(_CONFIGS[0], f"{_CONFIGS[1]}\n  default: true")
    repo = pushed(hub, tmp_path.name, _TABLES | {"README.md": card})
    found = read(repo, tmp_path, streaming=streaming, genre_column="music_genre")
    assert found.genres == {"jazz": 2, "rock": 2, "pop": 2}


@_STREAMING
def test_parts_of_tables_are_chosen(streaming: bool, tmp_path: Path, hub: HubStandIn) -> None:
    files = {"data/train-00000-of-00001.parquet": _rows(*_FULL), "data/test-00000-of-00001.parquet": _rows(*_SMALL)}
    repo = pushed(hub, tmp_path.name, files)
    options = {"genre_column": "music_genre"}
    assert read(repo, tmp_path, streaming=streaming, dataset_split="test", **options).genres == {"jazz": 2, "rock": 2}
    with pytest.raises(TrainingError, match="has the parts train, test, and none called dev"):
        read(repo, tmp_path, streaming=streaming, dataset_split="dev", **options)


@_STREAMING
@pytest.mark.parametrize("part", ["train", "test", None])
def test_configuration_of_audio_files_is_read(
    part: str | None, streaming: bool, tmp_path: Path, hub: HubStandIn
) -> None:
    config = (
        "- config_name: small\n  data_files:\n  - split: train\n    path: small/a/**\n"
        "  - split: test\n    path: small/b/**"
    )
    files = tree("small/a/jazz", "small/a/rock", "small/b/jazz", "small/b/rock", "full/a/polka")
    repo = pushed(hub, tmp_path.name, files | {"README.md": _card(config, "- config_name: full\n  data_dir: full")})
    options = {} if part is None else {"dataset_split": part}
    found = read(repo, tmp_path, streaming=streaming, dataset_config="small", **options)
    assert found.genres == ({"jazz": 2, "rock": 2} if part else {"jazz": 4, "rock": 4})
