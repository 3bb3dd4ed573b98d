import datasets
from hypothesis import given, settings
from hypothesis import strategies as st

from training.splits import split_random


def _dataset(counts: dict[str, int], suffix: str = "wav", skip: frozenset[str] = frozenset()) -> datasets.Dataset:
    names = [f"{genre}.{seed:05}" for genre, count in counts.items() for seed in range(count)]
    names = [name for name in names if name not in skip]
    genres = sorted(counts)
    return datasets.Dataset.from_dict(
        {
            "audio": [{"bytes": b"", "path": f"{name.split('.')[0]}/{name}.{suffix}"} for name in names],
            "genre": [genres.index(name.split(".")[0]) for name in names],
        },
        features=datasets.Features(
            {
                "audio": {"bytes": datasets.Value("large_binary"), "path": datasets.Value("string")},
                "genre": datasets.ClassLabel(names=genres),
            }
        ),
    )


def _held_out(dataset: datasets.Dataset, seed: int = 42) -> set[str]:
    return {audio["path"].split("/")[1].rsplit(".", 1)[0] for audio in split_random(dataset, seed)["test"]["audio"]}


@settings(deadline=None, max_examples=20)
@given(counts=st.lists(st.integers(2, 60), min_size=2, max_size=5), seed=st.integers(0, 2**31))
def test_a_tenth_of_each_genre_is_held_out_and_nothing_is_lost(counts: list[int], seed: int) -> None:
    dataset = _dataset({f"genre{index}": count for index, count in enumerate(counts)})
    splits = split_random(dataset, seed)
    for genre, count in enumerate(counts):
        held_out = splits["test"]["genre"][:].count(genre)
        assert held_out == max(1, round(count * 0.1))
        assert splits["train"]["genre"][:].count(genre) == count - held_out
    paths = [audio["path"] for part in splits.values() for audio in part["audio"]]
    assert len(paths) == len(set(paths)) == len(dataset)


def test_the_split_is_the_same_on_any_machine() -> None:
    """Names, not hashes of audio: whoever has GTZAN gets this split."""
    assert sorted(_held_out(_dataset({"jazz": 30, "metal": 20}))) == [
        "jazz.00004",
        "jazz.00014",
        "jazz.00029",
        "metal.00014",
        "metal.00019",
    ]


def test_order_and_format_of_the_clips_do_not_matter() -> None:
    wav = _dataset({"jazz": 30, "metal": 20})
    flac = _dataset({"jazz": 30, "metal": 20}, "flac")
    assert _held_out(wav) == _held_out(flac.select(range(49, -1, -1)))


def test_a_missing_clip_moves_at_most_one_other() -> None:
    whole = _held_out(_dataset({"jazz": 100, "metal": 100}))
    without = _held_out(_dataset({"jazz": 100, "metal": 100}, skip=frozenset({"jazz.00054"})))
    assert len(whole - without) <= 1


def test_another_seed_draws_others() -> None:
    dataset = _dataset({"jazz": 100, "metal": 100})
    assert _held_out(dataset, 1) != _held_out(dataset, 2)
