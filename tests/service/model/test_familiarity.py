"""Distances from known music: near is not told, far is, and a file that does not belong is refused."""

from pathlib import Path

import numpy as np
import pytest

from service.errors import StartupError
from service.model.familiarity import SPECTRUM_FEATURES, Familiarity, describe
from service.model.serving_file import FamiliarityEntry

_RATE = 16_000
_SIZE = SPECTRUM_FEATURES + 4


@pytest.fixture
def known() -> Familiarity:
    """Two genres, at 0 and at 10 in each feature, with standard deviations of 1 and 2."""
    means = np.stack([np.zeros(_SIZE), np.full(_SIZE, 10)]).astype(np.float32)
    whitening = np.stack([np.eye(_SIZE), np.eye(_SIZE) / 2]).astype(np.float32)
    return Familiarity(means, whitening, threshold=1.5)


def test_distance_is_in_standard_deviations_of_each_genre(known: Familiarity) -> None:
    assert known.distances(np.full(_SIZE, 4, np.float32)) == pytest.approx([4, 3])


def test_recordings_of_either_genre_are_familiar_and_those_between_are_not(known: Familiarity) -> None:
    draw = np.random.default_rng(0)
    for mean, deviation in ((0, 1), (10, 2)):
        assert not known.is_unfamiliar([draw.normal(mean, deviation, _SIZE).astype(np.float32)])
    assert known.is_unfamiliar([draw.normal(4, 1, _SIZE).astype(np.float32)])


def test_recording_is_the_mean_of_its_windows(known: Familiarity) -> None:
    far = np.full(_SIZE, 2, np.float32)
    assert known.is_unfamiliar([far])
    assert not known.is_unfamiliar([far, -far])


def test_description_does_not_hear_the_level_and_hears_the_sound() -> None:
    draw = np.random.default_rng(0)
    noise = draw.standard_normal(_RATE).astype(np.float32)
    other_noise = draw.standard_normal(_RATE).astype(np.float32)
    tone = np.sin(2 * np.pi * 440 * np.arange(_RATE) / _RATE).astype(np.float32)
    described = describe(noise, _RATE, None)
    assert described.shape == (SPECTRUM_FEATURES,)
    assert described.dtype == np.float32
    assert describe((noise / 10).astype(np.float32), _RATE, None) == pytest.approx(described, abs=1e-3)
    likeness = np.abs(describe(other_noise, _RATE, None) - described).mean()
    assert np.abs(describe(tone, _RATE, None) - described).mean() > 5 * likeness


def test_description_ends_with_the_embedding() -> None:
    embedding = np.array([3, 1, 4, 1], np.float32)
    described = describe(np.random.default_rng(0).standard_normal(_RATE).astype(np.float32), _RATE, embedding)
    assert described[SPECTRUM_FEATURES:].tolist() == embedding.tolist()


@pytest.mark.parametrize("rate", [1_000, 8_000, 48_000])
def test_windows_of_any_rate_are_described(rate: int) -> None:
    noise = np.random.default_rng(0).standard_normal(rate // 2).astype(np.float32)
    assert np.isfinite(describe(noise, rate, None)).all()


def test_file_is_read_as_it_was_written(known: Familiarity, tmp_path: Path) -> None:
    read = Familiarity.load(tmp_path, FamiliarityEntry(sha256=known.save(tmp_path), threshold=1.5, clips=50))
    assert read.threshold == 1.5
    assert np.array_equal(read.means, known.means)
    assert np.array_equal(read.whitening, known.whitening)


def test_file_of_another_checksum_is_refused(known: Familiarity, tmp_path: Path) -> None:
    known.save(tmp_path)
    with pytest.raises(StartupError, match=r"familiarity\.safetensors is missing or not the file"):
        Familiarity.load(tmp_path, FamiliarityEntry(sha256="0" * 64, threshold=1.5, clips=50))


@pytest.mark.parametrize(
    ("means", "whitening", "told"),
    [
        (np.zeros((2, _SIZE)), np.zeros((2, _SIZE, _SIZE - 1)), "other shapes"),
        (np.zeros((2, 8)), np.zeros((2, 8, 8)), "other shapes"),
        (np.full((2, _SIZE), np.nan), np.zeros((2, _SIZE, _SIZE)), "not finite"),
    ],
)
def test_file_of_other_contents_is_refused(tmp_path: Path, means: np.ndarray, whitening: np.ndarray, told: str) -> None:
    digest = Familiarity(means.astype(np.float32), whitening.astype(np.float32), 1.5).save(tmp_path)
    with pytest.raises(StartupError, match=told):
        Familiarity.load(tmp_path, FamiliarityEntry(sha256=digest, threshold=1.5, clips=50))


def test_file_that_is_no_safetensors_is_refused(tmp_path: Path) -> None:
    (tmp_path / "familiarity.safetensors").write_bytes(b"\0" * 100)
    from service.model.serving_file import sha256

    digest = sha256(tmp_path / "familiarity.safetensors")
    with pytest.raises(StartupError, match="is damaged"):
        Familiarity.load(tmp_path, FamiliarityEntry(sha256=digest, threshold=1.5, clips=50))


def test_embeddings_of_another_size_are_refused(known: Familiarity) -> None:
    known.require_embedding(4)
    with pytest.raises(StartupError, match="embeddings of 4 numbers, and the model answers 0"):
        known.require_embedding(0)
