"""Clips of data sets on the Hub, in archives and in folders."""

import io
import logging
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from transformers import Wav2Vec2FeatureExtractor

from service.audio import WindowSpec
from tests.support import gtzan
from tests.support.audio_files import encode, sweep
from tests.support.hub_stand_in import HubStandIn
from tests.training.data.clip_folders import _arguments, _two_genres, _write_folder
from training.arguments import DataArguments
from training.data.clips import load_clips
from training.data.inputs import TrainingWindows
from training.errors import TrainingError
from training.synthetic import render


def test_gtzan_from_the_hub_is_read(hub: HubStandIn, caplog: pytest.LogCaptureFixture) -> None:
    hub.create_repo("marsyas/gtzan", repo_type="dataset")
    commit = hub.commit("marsyas/gtzan", gtzan.files(2), repo_type="dataset")
    with caplog.at_level(logging.WARNING, "training"):
        clips = load_clips(_arguments("marsyas/gtzan"))
    assert clips.genres == list(render.GENRES)
    assert len(clips.dataset) == 20
    assert clips.revision == commit
    assert clips.dataset[0]["audio"]["bytes"] == gtzan.clip("blues", 0)
    assert [gtzan.CORRUPT in problem for problem in clips.skipped] == [True]
    assert [record.getMessage() for record in caplog.records if gtzan.CORRUPT in record.getMessage()] == [
        f"Skipped {clips.skipped[0]}"
    ]


def test_the_revision_of_the_data_set_is_used(hub: HubStandIn) -> None:
    hub.create_repo("you/two-versions", repo_type="dataset")
    first = hub.commit("you/two-versions", {"data/genres.tar.gz": gtzan.archive(2)}, repo_type="dataset")
    hub.commit("you/two-versions", {"data/genres.tar.gz": gtzan.archive(3)}, repo_type="dataset")
    assert len(load_clips(_arguments("you/two-versions", first)).dataset) == 20
    assert len(load_clips(_arguments("you/two-versions")).dataset) == 30


def _parquet(genre_column: str, genres: list[int] | list[str], audio_feature: object) -> bytes:
    names = ["jazz", "metal", "jazz", "metal"]
    cells = [{"bytes": gtzan.clip(name, index), "path": f"{index}.wav"} for index, name in enumerate(names)]
    table = pa.table({"audio": cells, genre_column: genres, "extra": [1, 2, 3, 4]})
    features = datasets.Features(
        {
            "audio": audio_feature,
            genre_column: datasets.Value("string")
            if isinstance(genres[0], str)
            else datasets.ClassLabel(names=["jazz", "metal"]),
            "extra": datasets.Value("int64"),
        }
    )
    file = io.BytesIO()
    pa.parquet.write_table(table.cast(features.arrow_schema), file)
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "genre_column", "genres"),
    [("class-label", "genre", [0, 1, 0, 1]), ("string-label", "label", ["jazz", "metal", "jazz", "metal"])],
)
def test_a_parquet_data_set_from_the_hub_is_read(
    hub: HubStandIn, name: str, genre_column: str, genres: list[int] | list[str]
) -> None:
    hub.create_repo(f"you/{name}", repo_type="dataset")
    content = _parquet(genre_column, genres, datasets.Audio())
    hub.commit(f"you/{name}", {"data/train-00000-of-00001.parquet": content}, repo_type="dataset")
    clips = load_clips(_arguments(f"you/{name}"))
    assert clips.genres == ["jazz", "metal"]
    assert clips.dataset["genre"][:] == [0, 1, 0, 1]
    assert clips.dataset[1]["audio"]["bytes"] == gtzan.clip("metal", 1)
    assert clips.dataset.column_names == ["audio", "genre"]


def test_a_parquet_data_set_without_audio_is_refused(hub: HubStandIn) -> None:
    hub.create_repo("you/text", repo_type="dataset")
    file = io.BytesIO()
    pa.parquet.write_table(pa.table({"text": ["a"], "label": [0]}), file)
    hub.commit("you/text", {"data/train.parquet": file.getvalue()}, repo_type="dataset")
    with pytest.raises(TrainingError, match="columns text, label. It needs one of audio"):
        load_clips(_arguments("you/text"))


def test_a_folder_as_kaggle_has_it_is_read(tmp_path: Path) -> None:
    folder = _write_folder(tmp_path, _two_genres() | {"images_original/jazz/jazz00000.png": b"picture"})
    clips = load_clips(_arguments(folder))
    assert clips.genres == ["jazz", "metal"]
    assert len(clips.dataset) == 4
    assert clips.revision is None
    assert clips.name == tmp_path.name, "the path of a local folder is nobody's business"


def test_a_changed_folder_is_read_again(tmp_path: Path) -> None:
    folder = _write_folder(tmp_path, _two_genres())
    assert len(load_clips(_arguments(folder)).dataset) == 4
    _write_folder(tmp_path, {"genres_original/jazz/jazz.00009.wav": gtzan.clip("jazz", 9)})
    assert len(load_clips(_arguments(folder)).dataset) == 5


def test_a_local_archive_is_read(tmp_path: Path) -> None:
    path = tmp_path / "genres.tar.gz"
    path.write_bytes(gtzan.archive(2))
    assert len(load_clips(_arguments(path)).dataset) == 20


def test_synthetic_music_is_loaded(tmp_path: Path) -> None:
    arguments = DataArguments(
        dataset="synthetic", synthetic_clips_per_genre=2, synthetic_duration_s=2, max_duration_s=1
    )
    clips = load_clips(arguments)
    assert clips.name == "synthetic music"
    assert len(clips.dataset) == 20
    assert clips.dataset[0]["audio"]["path"] == "blues/blues.00000.flac"


def test_a_truncated_archive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "genres.tar.gz"
    path.write_bytes(gtzan.archive(2)[:10_000])
    with pytest.raises(TrainingError, match=r"genres.tar.gz is no readable .tar.gz. Download it again."):
        load_clips(_arguments(path))


def test_clips_of_any_rate_and_channels_become_windows_of_one_shape(tmp_path: Path) -> None:
    stereo = np.stack([sweep(2, 44_100)] * 2, axis=1)
    files = [encode(sweep(2, rate), "wav", rate) for rate in (8_000, 22_050, 96_000)] + [encode(stereo, "wav", 44_100)]
    names = ("jazz/a.wav", "jazz/b.wav", "metal/a.wav", "metal/b.wav")
    clips = load_clips(_arguments(_write_folder(tmp_path, dict(zip(names, files, strict=True)))))
    extractor = Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=True)
    windows = TrainingWindows(clips.dataset, extractor, WindowSpec(16_000, 1), seed=0, random_crop=False)
    assert [windows[index]["input_values"].shape for index in range(4)] == [(16_000,)] * 4


def test_genres_are_numbered_as_the_base_knows_them(tmp_path: Path) -> None:
    folder = _write_folder(tmp_path, _two_genres())
    clips = load_clips(_arguments(folder), ["metal", "jazz"])
    assert clips.genres == ["metal", "jazz"]
    assert clips.dataset["genre"][:] == [1, 1, 0, 0]
    assert [audio["path"].split("/")[0] for audio in clips.dataset["audio"]] == ["jazz", "jazz", "metal", "metal"]


def test_genres_that_the_base_does_not_know_are_named(tmp_path: Path) -> None:
    folder = _write_folder(tmp_path, _two_genres())
    with pytest.raises(TrainingError, match="does not know jazz; the data has no polka, pop.*--new_head"):
        load_clips(_arguments(folder), ["polka", "metal", "pop"])


@pytest.mark.parametrize(
    ("dataset", "message"),
    [("you/nowhere", "does not exist on the Hub, or is private"), ("./nowhere/at/all", "neither a Hub id")],
)
def test_a_data_set_that_is_not_there_is_refused(hub: HubStandIn, dataset: str, message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        load_clips(_arguments(dataset))


def test_a_gated_data_set_is_refused(hub: HubStandIn) -> None:
    hub.create_repo("other/gated", repo_type="dataset", gated="auto")
    hub.commit("other/gated", gtzan.files(2), repo_type="dataset")
    with pytest.raises(TrainingError, match="gated. Ask for access"):
        load_clips(_arguments("other/gated"))


def test_a_script_without_an_archive_is_refused(hub: HubStandIn) -> None:
    hub.create_repo("you/script", repo_type="dataset")
    hub.commit("you/script", {"script.py": gtzan.SCRIPT}, repo_type="dataset")
    with pytest.raises(TrainingError, match="is a loading script"):
        load_clips(_arguments("you/script"))


def test_a_passing_fault_of_the_hub_is_retried(hub: HubStandIn) -> None:
    hub.create_repo("you/flaky", repo_type="dataset")
    hub.commit("you/flaky", {"data/genres.tar.gz": gtzan.archive(2)}, repo_type="dataset")
    hub.fail("GET /api/datasets/you/flaky", status=503, times=1)
    assert len(load_clips(_arguments("you/flaky")).dataset) == 20


@pytest.mark.parametrize("missing", [None, -1])
def test_clip_without_a_genre_is_left_out(hub: HubStandIn, missing: int | None) -> None:
    """The class label -1 means unknown, and would otherwise count as the last genre."""
    repo = f"you/unlabelled{missing}"
    hub.create_repo(repo, repo_type="dataset")
    clips = [gtzan.clip(genre, seed) for genre in ("jazz", "metal") for seed in range(3)]
    dataset = datasets.Dataset.from_dict(
        {"audio": [{"bytes": clip, "path": "a.wav"} for clip in clips], "genre": [0, 0, 0, 1, 1, missing]},
        features=datasets.Features(
            {
                "audio": {"bytes": datasets.Value("binary"), "path": datasets.Value("string")},
                "genre": datasets.ClassLabel(names=["jazz", "metal"]),
            }
        ),
    )
    file = io.BytesIO()
    dataset.to_parquet(file)
    hub.commit(repo, {"data/train.parquet": file.getvalue()}, repo_type="dataset")
    loaded = load_clips(_arguments(repo))
    assert loaded.dataset["genre"][:] == [0, 0, 0, 1, 1]
    assert len(loaded.skipped) == 1
    assert "has no genre" in loaded.skipped[0]
