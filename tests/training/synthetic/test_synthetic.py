"""The synthetic music: the same clip everywhere, a different one for every seed, and sound from end to end."""

import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pretty_midi
import pytest
import soundfile

from training.synthetic.__main__ import main
from training.synthetic.render import GENRES, SAMPLING_RATE, Format, encode, render
from training.synthetic.styles import BEATS_PER_BAR, KITS, QUALITIES, SCALES, STYLES


def test_the_genres_are_those_of_gtzan() -> None:
    gtzan = "blues classical country disco hiphop jazz metal pop reggae rock"
    assert " ".join(GENRES) == gtzan


def test_clip_is_the_same_in_another_process() -> None:
    module = "from training.synthetic.render import render"
    program = f"import sys; {module}; sys.stdout.buffer.write(render('jazz', 7, 1.5).tobytes())"
    environment = {**os.environ, "PYTHONHASHSEED": "12345"}
    process = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, check=True)
    assert process.stdout == render("jazz", 7, 1.5).tobytes()


def test_a_clip_does_not_depend_on_those_before_it() -> None:
    alone = render("classical", 1, 1.0)
    render("metal", 2, 1.0)
    np.testing.assert_array_equal(render("classical", 1, 1.0), alone)


@pytest.mark.parametrize("duration_s", [0.01, 1.0, 3.3, 10.01])
def test_a_clip_has_the_exact_length_format_and_peak(duration_s: float) -> None:
    clip = render("reggae", 0, duration_s)
    assert clip.dtype == np.float32
    assert clip.shape == (round(duration_s * SAMPLING_RATE),)
    assert np.abs(clip).max() == pytest.approx(10 ** (-1 / 20), rel=1e-3)


def test_all_genres_and_seeds_differ() -> None:
    clips = [render(genre, seed, 2.0) for genre in GENRES for seed in (0, 1)]
    alike = np.abs(np.corrcoef(np.stack(clips)))
    np.fill_diagonal(alike, 0.0)
    # Unlike clips correlate by chance alone; one that differs in nothing but level would reach 1.
    assert alike.max() < 0.9


@pytest.mark.parametrize("genre", GENRES)
@pytest.mark.parametrize("seed", [0, 1])
def test_a_clip_sounds_from_end_to_end(genre: str, seed: int) -> None:
    clip = render(genre, seed, 6.0)
    assert np.abs(clip[: round(0.3 * SAMPLING_RATE)]).max() > 0.02
    assert _loudness(clip, window_s=0.5).min() > 0.01


@pytest.mark.parametrize("genre", GENRES)
def test_every_name_and_pattern_of_a_style_can_be_played(genre: str) -> None:
    style = STYLES[genre]
    assert set(style.kits) <= set(KITS)
    for harmony in style.harmonies:
        assert harmony.scale in SCALES
        assert {chord.lstrip("b").lstrip("IV") for chord in harmony.chords.split()} <= set(QUALITIES)
    for part in style.parts:
        for instrument in part.instruments:
            pretty_midi.instrument_name_to_program(instrument)
        for pattern in part.patterns:
            assert set(pattern) <= set(".-x13578m")
            assert len(pattern) % BEATS_PER_BAR == 0
    for groove in style.grooves:
        for drum, pattern in groove.items():
            pretty_midi.drum_name_to_note_number(drum)
            assert set(pattern) <= set(".xo")
            assert len(pattern) % BEATS_PER_BAR == 0


def test_an_unknown_genre_is_refused_with_the_list() -> None:
    with pytest.raises(ValueError, match="'polka'.*blues.*rock"):
        render("polka", 0)


@pytest.mark.parametrize("duration_s", [0.0, -1.0, float("nan"), float("inf")])
def test_an_impossible_duration_is_refused(duration_s: float) -> None:
    with pytest.raises(ValueError, match="duration"):
        render("pop", 0, duration_s)


@pytest.mark.parametrize("format", ["flac", "wav"])
def test_an_encoded_clip_reads_back(format: Format) -> None:
    clip = render("disco", 0, 1.0)
    file = soundfile.SoundFile(io.BytesIO(encode(clip, format)))
    assert (file.format, file.subtype) == (format.upper(), "PCM_16")
    assert (file.samplerate, file.channels) == (SAMPLING_RATE, 1)
    # One step of 16 bits.
    np.testing.assert_allclose(file.read(dtype="float32"), clip, atol=1 / 2**15)


def test_the_command_line_writes_the_layout_of_gtzan(tmp_path: Path) -> None:
    main([str(tmp_path), "--clips_per_genre", "2", "--duration_s", "0.2", "--first_seed", "4", "--format", "wav"])
    files = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    assert files == sorted(f"{genre}/{genre}.{seed:05d}.wav" for genre in GENRES for seed in (4, 5))
    clip, _ = soundfile.read(tmp_path / "pop" / "pop.00005.wav", dtype="float32")
    np.testing.assert_allclose(clip, render("pop", 5, 0.2), atol=1 / 2**15)


@pytest.mark.parametrize(
    "option",
    ["--clips_per_genre=0", "--clips_per_genre=-3", "--duration_s=0", "--duration_s=nan", "--first_seed=-1"],
)
def test_the_command_line_refuses_what_it_cannot_make(
    option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([str(tmp_path), option])
    assert option.split("=")[0] in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def _loudness(clip: npt.NDArray[np.float32], window_s: float) -> npt.NDArray[np.float32]:
    """The root mean square of every whole window."""
    window = round(window_s * SAMPLING_RATE)
    windows = clip[: len(clip) // window * window].reshape(-1, window)
    loudness: npt.NDArray[np.float32] = np.sqrt((windows**2).mean(axis=1))
    return loudness
