import datasets
import numpy as np
import numpy.typing as npt
import pytest

from service.audio import Waveform
from tests.support.audio_files import encode, sweep
from training.evaluation.robustness import conditions, robustness

RATE = 16_000
CLIPS = 10


def _tone(frequency_hz: float, duration_s: float = 2.0) -> Waveform:
    time_s = np.arange(round(duration_s * RATE)) / RATE
    return (0.3 * np.sin(2 * np.pi * frequency_hz * time_s)).astype(np.float32)


@pytest.fixture(scope="module")
def clips() -> datasets.Dataset:
    """Low (100 Hz) and high (1 kHz) tones in turn; one clip more than a batch, and half a second less in the last."""
    waveforms = [_tone((100, 1_000)[index % 2]) for index in range(CLIPS - 1)] + [_tone(1_000, 1.5)]
    audio = [
        {"bytes": encode(waveform, "wav", RATE), "path": f"{index}.wav"} for index, waveform in enumerate(waveforms)
    ]
    return datasets.Dataset.from_dict({"audio": audio, "genre": [index % 2 for index in range(CLIPS)]})


def _by_pitch(waveforms: list[Waveform]) -> npt.NDArray[np.float64]:
    """Low tones are genre 0, high ones genre 1, and what is hardly audible is taken for high."""
    high = [
        waveform.std() < 0.02 or np.abs(np.fft.rfft(waveform)).argmax() * RATE / len(waveform) > 300
        for waveform in waveforms
    ]
    probabilities: npt.NDArray[np.float64] = np.eye(2)[np.asarray(high, int)]
    return probabilities


def test_every_clip_is_judged_under_every_condition(clips: datasets.Dataset) -> None:
    right = robustness(clips, _by_pitch, sampling_rate=RATE, show_progress=False)
    assert right.keys() == conditions(RATE).keys()
    assert all(answers.shape == (CLIPS,) and answers.dtype == np.bool_ for answers in right.values())
    # A low tone does not pass the telephone; nothing else takes it away.
    assert right.pop("phone band").tolist() == [False, True] * (CLIPS // 2)
    assert all(answers.all() for answers in right.values())


def test_progress_is_shown_when_asked_for(clips: datasets.Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    few = clips.select([0])
    robustness(few, _by_pitch, sampling_rate=RATE, show_progress=False)
    assert capsys.readouterr().err == ""
    robustness(few, _by_pitch, sampling_rate=RATE)
    assert "1/1" in capsys.readouterr().err


def test_the_conditions_are_those_of_the_report() -> None:
    waveform = sweep(30, RATE)
    seconds = {name: len(condition(waveform)) / RATE for name, condition in conditions(RATE).items()}
    assert seconds == pytest.approx(
        {
            "mp3 at 64 kb/s": 30,
            "phone band": 30,
            "noise at 10 dB": 30,
            "2 semitones up": 30,
            "2 semitones down": 30,
            "10 % faster": 30 / 1.1,
            "10 % slower": 30 / 0.9,
            "3 s excerpt": 3,
            "5 s excerpt": 5,
            "10 s excerpt": 10,
            "30 s excerpt": 30,
        },
        abs=1e-4,
    )


def test_excerpts_come_from_the_middle() -> None:
    waveform = sweep(30, RATE)
    by_name = conditions(RATE)
    np.testing.assert_array_equal(by_name["10 s excerpt"](waveform), waveform[10 * RATE : 20 * RATE])
    np.testing.assert_array_equal(by_name["30 s excerpt"](waveform), waveform)
    np.testing.assert_array_equal(by_name["5 s excerpt"](waveform[: 2 * RATE]), waveform[: 2 * RATE])


def test_noise_is_the_same_for_the_same_clip_only() -> None:
    distort = conditions(RATE)["noise at 10 dB"]
    first, other = _tone(440), _tone(441)
    np.testing.assert_array_equal(distort(first), distort(first.copy()))
    correlation = np.corrcoef(distort(first) - first, distort(other) - other)[0, 1]
    assert abs(correlation) < 0.1
