from collections import Counter
from collections.abc import Sequence

import datasets
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.data.artists import has_artists, listed
from training.data.clips import SYNTHETIC_MUSIC, Clips
from training.data.splits import Split, split, split_folds
from training.errors import TrainingError


def _clips(
    names: Sequence[str], *, name: str = "a folder", artists: Sequence[str] | None = None, digests: Sequence[str] = ()
) -> Clips:
    genres = sorted({clip.split(".")[0] for clip in names})
    columns = {
        "audio": [{"bytes": b"", "path": f"{clip.split('.')[0]}/{clip}.wav"} for clip in names],
        "genre": [genres.index(clip.split(".")[0]) for clip in names],
    }
    features = datasets.Features(
        {
            "audio": {"bytes": datasets.Value("large_binary"), "path": datasets.Value("string")},
            "genre": datasets.ClassLabel(names=genres),
        }
    )
    if artists is not None:
        columns["artist"] = list(artists)
        features["artist"] = datasets.Value("string")
    return Clips(datasets.Dataset.from_dict(columns, features=features), tuple(digests or names), name, None, (), {})


def _numbered(counts: dict[str, int]) -> list[str]:
    return [f"{genre}.{seed:05}" for genre, count in counts.items() for seed in range(count)]


def _names(dataset: datasets.Dataset) -> list[str]:
    return [audio["path"].split("/")[1].removesuffix(".wav").removesuffix(".flac") for audio in dataset["audio"]]


def _held_out(clips: Clips, seed: int = 42) -> set[str]:
    return set(_names(split(clips, "random", seed).test))


def _parts(chosen: Split) -> tuple[set[str], set[str], set[str]]:
    return set(_names(chosen.train)), set(_names(chosen.validation)), set(_names(chosen.test))


@settings(deadline=None, max_examples=20)
@given(counts=st.lists(st.integers(2, 60), min_size=2, max_size=5), seed=st.integers(0, 2**31))
def test_a_tenth_of_each_genre_is_held_out_and_nothing_is_lost(counts: list[int], seed: int) -> None:
    names = _numbered({f"genre{index}": count for index, count in enumerate(counts)})
    chosen = split(_clips(names), "random", seed)
    for genre, count in enumerate(counts):
        held_out = chosen.test["genre"][:].count(genre)
        assert held_out == max(1, round(count * 0.1))
        assert chosen.train["genre"][:].count(genre) == count - held_out
    assert chosen.chosen_on_test
    assert sorted([*_names(chosen.train), *_names(chosen.test)]) == sorted(names)


def test_the_split_is_the_same_on_any_machine() -> None:
    """Names, not hashes of audio: whoever has GTZAN gets this split."""
    assert sorted(_held_out(_clips(_numbered({"jazz": 30, "metal": 20})))) == [
        "jazz.00004",
        "jazz.00014",
        "jazz.00029",
        "metal.00014",
        "metal.00019",
    ]


def test_the_order_of_the_clips_does_not_matter() -> None:
    names = _numbered({"jazz": 30, "metal": 20})
    assert _held_out(_clips(names)) == _held_out(_clips(names[::-1]))


def test_a_missing_clip_moves_at_most_one_other() -> None:
    names = _numbered({"jazz": 100, "metal": 100})
    without = _held_out(_clips([name for name in names if name != "jazz.00054"]))
    assert len(_held_out(_clips(names)) - without) <= 1


def test_another_seed_draws_others() -> None:
    clips = _clips(_numbered({"jazz": 100, "metal": 100}))
    assert _held_out(clips, 1) != _held_out(clips, 2)


def test_gtzan_is_split_by_the_fault_filtered_lists() -> None:
    names = _numbered(dict.fromkeys({name.split(".")[0] for name in listed("train")}, 100))
    gtzan = _clips([name for name in names if name != "jazz.00054"], name="marsyas/gtzan")
    chosen = split(gtzan, "artist", 0)
    train, validation, test = _parts(chosen)
    assert (len(train), len(validation), len(test)) == (442, 197, 290), "443 with the clip that is corrupt"
    assert [train | {"jazz.00054"}, validation, test] == [set(listed(part)) for part in ("train", "valid", "test")]
    assert chosen.caution is None
    assert not chosen.chosen_on_test


def test_synthetic_music_with_the_names_of_gtzan_is_not_split_as_gtzan() -> None:
    names = _numbered(dict.fromkeys({name.split(".")[0] for name in listed("train")}, 100))
    chosen = split(_clips(names, name=SYNTHETIC_MUSIC), "artist", 0)
    assert chosen.sizes == {"train": 800, "validation": 100, "test": 100}


@pytest.mark.parametrize("told_by", ["column", "file name"])
def test_an_artist_is_on_one_side(told_by: str) -> None:
    if told_by == "column":
        names = _numbered({"jazz": 60, "metal": 60})
        artists = [f"artist {number % 15} of {name.split('.')[0]}" for number, name in enumerate(names)]
        clips = _clips(names, artists=artists)
        by_name = dict(zip(names, artists, strict=True))
    else:
        names = [f"{genre}.Band{n % 15} - song {n}" for genre in ("jazz", "metal") for n in range(60)]
        clips = _clips(names)
        by_name = {name: name.split(" - ")[0] for name in names}
    chosen = split(clips, "artist", 3)
    train, validation, test = ({by_name[name] for name in part} for part in _parts(chosen))
    assert train | validation | test == set(by_name.values())
    assert not train & validation
    assert not train & test
    assert not validation & test
    assert chosen.name == "artist"


def test_without_artists_the_split_is_random_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    clips = _clips(_numbered({"jazz": 30, "metal": 30}))
    chosen = split(clips, "artist", 42)
    assert chosen.name == "random"
    assert set(_names(chosen.test)) == _held_out(clips)
    assert chosen.caution is not None
    assert "artists of this data are not known" in chosen.caution
    assert "falls back to random" in caplog.text


def test_one_artist_for_a_whole_genre_is_refused() -> None:
    names = _numbered({"jazz": 30, "metal": 30})
    artists = ["Everybody" if name.startswith("jazz") else name for name in names]
    with pytest.raises(TrainingError, match="The genre jazz has no clip in the train part"):
        split(_clips(names, artists=artists), "artist", 0)


@pytest.mark.parametrize("count", [3, 5])
def test_every_clip_tests_once_in_its_folds(count: int) -> None:
    names = _numbered({"jazz": 23, "metal": 40})
    splits = split_folds(_clips(names), count, 1)
    tested = Counter(name for fold in splits for name in _names(fold.test))
    assert tested == Counter(names)
    for fold in splits:
        train, validation, test = _parts(fold)
        assert len(train) + len(validation) + len(test) == len(names)
        assert not train & test
        assert not validation & test
        assert abs(len(test) - len(names) / count) <= 2


def test_more_folds_than_clips_are_refused() -> None:
    with pytest.raises(TrainingError, match="The genre jazz has no clip"):
        split_folds(_clips(_numbered({"jazz": 4, "metal": 40})), 5, 1)


def test_the_same_file_on_both_sides_is_refused_and_named() -> None:
    names = _numbered({"jazz": 30, "metal": 30})
    held_out = sorted(_held_out(_clips(names)))[0]
    trained = next(name for name in names if name not in _held_out(_clips(names)))
    digests = ["copy" if name in (held_out, trained) else name for name in names]
    with pytest.raises(TrainingError, match=f"{trained} and {held_out} are the same file"):
        split(_clips(names, digests=digests), "random", 42)


@pytest.mark.thorough
def test_the_same_file_twice_on_one_side_is_no_fault() -> None:
    names = _numbered({"jazz": 30, "metal": 30})
    trained = [name for name in names if name not in _held_out(_clips(names))][:2]
    digests = ["copy" if name in trained else name for name in names]
    assert len(split(_clips(names, digests=digests), "random", 42).train) == 54


def test_numbers_of_tracks_are_no_artists() -> None:
    names = [f"{number:02} - {title}" for number in range(1, 6) for title in ("One", "Two")]
    assert not has_artists(_clips(names))
    assert has_artists(_clips([*(f"Band {name}" for name in names), "11 - Three"]))


def test_clips_of_one_name_are_drawn_by_the_seed() -> None:
    clips = _clips(["jazz.1", "rock.1"] * 20, digests=[str(number) for number in range(40)])
    held_out = [sorted(split(clips, "random", seed).indices["test"]) for seed in range(4)]
    assert len({tuple(indices) for indices in held_out}) > 1
