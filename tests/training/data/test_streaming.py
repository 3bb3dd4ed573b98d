import hashlib
import io
import shutil
import tarfile
from collections import Counter
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import torch
from torch.utils.data import DataLoader
from transformers import Wav2Vec2FeatureExtractor

from service.audio import WindowSpec
from tests.support.audio_files import encode, sweep
from tests.support.hub_stand_in import HubStandIn
from tests.support.variants import usual
from training.arguments import DataArguments
from training.data.clips import open_clip
from training.data.inputs import TrainingWindows
from training.data.splits import Split, TrainingStream
from training.data.streaming import StreamedWindows, mixed, stream_clips
from training.errors import TrainingError
from training.finetuning.trainer import class_weights

_PER_GENRE = 30
_BROKEN = "metal/broken.wav"


def _clip(number: int) -> bytes:
    """A clip of its own: no two are the same file."""
    return encode(sweep(1, 8_000) * np.float32(1 - number / 200), "wav", 8_000)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty clips of two genres, one that is broken, and the name of each clip beside its content."""
    root = tmp_path_factory.mktemp("music")
    for index in range(2 * _PER_GENRE):
        path = root / ("jazz" if index < _PER_GENRE else "metal") / f"{index}.wav"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(_clip(index))
    (root / _BROKEN).write_bytes(b"RIFF broken")
    return root


def _arguments(dataset: Path | str) -> DataArguments:
    return DataArguments(dataset=str(dataset), streaming=True, max_duration_s=1)


def _digests(folder: Path) -> set[str]:
    return {hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.rglob("*.wav") if file.name[0] != "b"}


def _stream(split: Split) -> TrainingStream:
    assert split.stream is not None
    return split.stream


def _epoch(stream: TrainingStream, number: int) -> list[str]:
    return [digest for digest, _ in stream.epoch(number)]


def test_each_clip_is_held_out_or_comes_once_in_an_epoch(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clips, split = stream_clips(_arguments(folder), tmp_path, seed=1)
    assert [name in caplog.text for name in (_BROKEN, "Skipped")] == [True, True]
    assert len(clips.skipped) == 1
    assert Counter(clips.dataset["genre"]) == {0: 3, 1: 3}, "a tenth of each"
    trained = _epoch(_stream(split), 0)
    assert len(trained) == len(set(trained)) == len(_stream(split)) == 54
    assert set(trained) | set(clips.digests) == _digests(folder)
    assert not set(trained) & set(clips.digests)
    assert split.chosen_on_test
    assert split.sizes == {"train": 54, "validation": 6, "test": 6}


def test_the_order_is_another_in_each_epoch_and_the_same_in_each_run(folder: Path, tmp_path: Path) -> None:
    _, split = stream_clips(_arguments(folder), tmp_path, seed=1)
    _, again = stream_clips(_arguments(folder), tmp_path, seed=1)
    assert _epoch(_stream(split), 0) != _epoch(_stream(split), 1)
    assert _epoch(_stream(again), 1) == _epoch(_stream(split), 1)


def test_genres_stay_with_their_clips(folder: Path, tmp_path: Path) -> None:
    _, split = stream_clips(_arguments(folder), tmp_path, seed=1, known_genres=["metal", "jazz"])
    assert {(clip["audio"]["path"].split("/")[0], clip["genre"]) for _, clip in _stream(split).epoch(0)} == {
        ("metal", 0),
        ("jazz", 1),
    }
    assert split.test["genre"][:].count(1) == 3


def test_a_pass_that_ended_is_not_repeated_and_one_that_was_cut_is(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stream_clips(_arguments(folder), tmp_path, seed=1)
    caplog.clear()
    stream_clips(_arguments(folder), tmp_path, seed=1)
    assert "Skipped" not in caplog.text
    (tmp_path / "index.json").unlink()
    stream_clips(_arguments(folder), tmp_path, seed=1)
    assert "Skipped" in caplog.text
    assert len(list(tmp_path.iterdir())) == 7, "six clips and the index"


@pytest.mark.parametrize("changed", usual("clips", of=["clips", "seed", "window", "commit"]))
def test_a_pass_over_other_clips_is_not_taken_for_this_one(folder: Path, tmp_path: Path, changed: str) -> None:
    """As after a dry run with another data set."""
    other = tmp_path / "other"
    for index in range(8):
        path = other / ("jazz" if index < 4 else "metal") / f"{index}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_clip(100 + index))
    first = _arguments(other if changed == "clips" else folder)
    if changed == "window":
        first.max_duration_s = 2
    if changed == "commit":
        first.dataset_revision = "v1"
    stream_clips(first, tmp_path / "aside", seed=2 if changed == "seed" else 1)
    clips, split = stream_clips(_arguments(folder), tmp_path / "aside", seed=1)
    alone, _ = stream_clips(_arguments(folder), tmp_path / "alone", seed=1)
    assert clips.digests == alone.digests
    assert len(_epoch(_stream(split), 0)) == len(_stream(split)) == 54


def test_a_stream_tells_how_often_each_genre_comes(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "data" / "metal").mkdir(parents=True)
    shutil.copytree(folder / "jazz", tmp_path / "data" / "jazz")
    for number in range(10):
        (tmp_path / "data" / "metal" / f"{number}.wav").write_bytes(_clip(100 + number))
    _, split = stream_clips(_arguments(tmp_path / "data"), tmp_path / "aside", seed=1)
    assert _stream(split).counts == [27, 9]
    torch.testing.assert_close(class_weights(split), torch.tensor([36 / 54, 36 / 18]))


def test_a_copy_of_a_held_out_clip_is_not_trained_on(folder: Path, tmp_path: Path) -> None:
    """Whatever its name, in whatever container the data set comes: the draw is by content."""
    clips, _ = stream_clips(_arguments(folder), tmp_path / "of folder", seed=1)
    by_digest = {hashlib.sha256(file.read_bytes()).hexdigest(): file for file in folder.rglob("*.wav")}
    with tarfile.open(tmp_path / "music.tar.gz", "w:gz") as archive:
        for name in ("jazz", "metal"):
            archive.add(folder / name, name)
        archive.add(by_digest[clips.digests[0]], "jazz/another name.wav")
    again, split = stream_clips(_arguments(tmp_path / "music.tar.gz"), tmp_path / "of archive", seed=1)
    assert set(again.digests) == set(clips.digests)
    assert len(_epoch(_stream(split), 0)) == len(_stream(split)) == 54


def test_another_seed_holds_out_others(folder: Path, tmp_path: Path) -> None:
    first, second = (stream_clips(_arguments(folder), tmp_path / str(seed), seed)[0] for seed in (1, 2))
    assert set(first.digests) != set(second.digests)


@pytest.mark.parametrize("workers", [0, 2])
def test_workers_share_the_clips_of_an_epoch(folder: Path, tmp_path: Path, workers: int) -> None:
    clips, split = stream_clips(_arguments(folder), tmp_path, seed=1)
    extractor = Wav2Vec2FeatureExtractor(do_normalize=False, return_attention_mask=True)
    windows = TrainingWindows(clips.dataset, extractor, WindowSpec(16_000, 1), seed=1, random_crop=False)
    loader = DataLoader(StreamedWindows(_stream(split), windows), batch_size=8, num_workers=workers)
    peaks = [round(float(values.max()), 5) for batch in loader for values in batch["input_values"]]
    assert len(peaks) == len(set(peaks)) == 54


def test_the_buffer_is_bounded_in_bytes_and_mixes() -> None:
    clips = iter([(str(number), {"audio": {"bytes": bytes(10)}}) for number in range(100)])
    drawn = mixed(clips, np.random.default_rng(0), capacity_bytes=200)
    first, _ = next(drawn)
    assert next(clips)[0] == "21", "twenty are held, and one more was read to draw from"
    rest = [digest for digest, _ in drawn]
    assert sorted([first, *rest], key=int) == [str(number) for number in range(100) if number != 21]
    assert rest != sorted(rest, key=int)


@pytest.mark.parametrize("audio", ["feature", "bytes"])
def test_a_data_set_on_the_hub_whose_genres_are_text(hub: HubStandIn, tmp_path: Path, audio: str) -> None:
    repo = f"you/streamed-{audio}"
    hub.create_repo(repo, repo_type="dataset")
    rows = {
        "audio": [{"bytes": _clip(number), "path": f"{number}.wav"} for number in range(20)],
        "label": ["samba" if number % 2 else "polka" for number in range(20)],
    }
    plain = {"bytes": datasets.Value("binary"), "path": datasets.Value("string")}
    stored = datasets.Features({"audio": plain, "label": datasets.Value("string")})
    table = pa.Table.from_pydict(rows, schema=stored.arrow_schema)
    if audio == "feature":
        features = datasets.Features({"audio": datasets.Audio(), "label": datasets.Value("string")})
        table = table.cast(features.arrow_schema)
    file = io.BytesIO()
    pa.parquet.write_table(table, file)
    hub.commit(repo, {"data/train-00000-of-00001.parquet": file.getvalue()}, repo_type="dataset")
    clips, split = stream_clips(_arguments(repo), tmp_path, seed=1)
    assert clips.genres == ["polka", "samba"]
    assert clips.revision == hub.head(repo, repo_type="dataset")
    assert len(_epoch(_stream(split), 0)) == len(_stream(split)) == 18


def test_a_sample_to_calibrate_with_holds_no_held_out_clip(folder: Path, tmp_path: Path) -> None:
    clips, split = stream_clips(_arguments(folder), tmp_path, seed=1)
    (tmp_path / "sample").mkdir()
    sample = _stream(split).sample(10, tmp_path / "sample")
    assert len(sample) == 10
    assert not {hashlib.sha256(open_clip(audio).read()).hexdigest() for audio in sample["audio"]} & set(clips.digests)


def test_a_genre_of_one_clip_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "data" / "jazz").mkdir(parents=True)
    (tmp_path / "data" / "polka").mkdir()
    for name in ("jazz/0.wav", "jazz/1.wav", "polka/2.wav"):
        (tmp_path / "data" / name).write_bytes(_clip(int(name[-5])))
    with pytest.raises(TrainingError, match="genre polka has 1 usable clips"):
        stream_clips(_arguments(tmp_path / "data"), tmp_path / "aside", seed=1)


@pytest.mark.parametrize("option", [{"split": "artist"}, {"split": "both"}])
def test_splits_that_need_all_clips_at_once_are_refused(option: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="Leave out --split"):
        DataArguments(streaming=True, **option)  # type: ignore[arg-type]


def test_sorted_genres_that_the_buffer_does_not_mix_are_told(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with tarfile.open(tmp_path / "music.tar", "w") as archive:
        for name in ("jazz", "metal"):
            archive.add(folder / name, name)
    stream_clips(_arguments(tmp_path / "music.tar"), tmp_path / "mixed", seed=1)
    stream_clips(_arguments(folder), tmp_path / "of folder", seed=1, shuffled_bytes=100_000)
    assert "sorted by genre" not in caplog.text, "the files of a folder come in a random order"
    stream_clips(_arguments(tmp_path / "music.tar"), tmp_path / "sorted", seed=1, shuffled_bytes=100_000)
    assert "sorted by genre" in caplog.text
