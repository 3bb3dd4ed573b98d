"""The parts of the page, without a browser: words, colours, pictures, tables and code."""

import csv
import io
import re
from pathlib import Path

import numpy as np
import pytest

from service.audio import Window
from service.classification.occlusion import Evidence, Segment
from service.errors import AudioError, NotReady, Overloaded
from service.schemas import Classification, ModelReference, RecordingWarning, Score, Span
from service.ui.examples import examples
from service.ui.views import answer, multi_upload, results_table, spectrogram, timeline, wording
from service.ui.views.figures import colours
from service.ui.views.snippets import snippets
from tests.conftest import GENRES

RATE = 16_000
NO_PEAKS = np.empty((0, 2), np.float32)
HOSTILE = "<img src=x onerror=alert(1)>"


def classification(*shares: float, labels: tuple[str, ...] = GENRES, decision: str = "accepted") -> Classification:
    scores = [Score(label=label, score=share) for label, share in zip(labels, shares, strict=False)]
    spans = [
        Span(start_s=30.0 * n, end_s=30.0 * n + 30, genre=score.label, confidence=score.score, scores=scores)
        for n, score in enumerate(scores)
    ]
    return Classification(
        genre=scores[0].label,
        confidence=scores[0].score,
        decision=decision,
        scores=scores,
        duration_s=240,
        analysed_s=90,
        timeline=spans,
        model=ModelReference(id=HOSTILE, revision="c" * 40, backend="fixed"),
        request_id="",
    )


@pytest.mark.parametrize("kind", [*AudioError.__subclasses__(), *NotReady.__subclasses__(), Overloaded])
def test_each_state_of_the_page_has_its_own_text(kind: type[AudioError]) -> None:
    assert wording.explain(kind.__new__(kind)) != wording.FAILED


@pytest.mark.parametrize(("share", "text"), [(1.0, "100 %"), (0.999, "99 %"), (0.125, "12 %"), (0.0, "0 %")])
def test_percent_does_not_promise_certainty(share: float, text: str) -> None:
    assert wording.percent(share) == text


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (59.7, "1:00"), (75, "1:15"), (3_725, "1:02:05")])
def test_clock(seconds: float, text: str) -> None:
    assert wording.clock(seconds) == text


@pytest.mark.parametrize(
    ("shares", "expected"),
    [
        ((0.4, 0.3, 0.2, 0.1), GENRES[:3]),
        ((0.45, 0.3, 0.2), GENRES[:2]),
        ((0.49, 0.1, 0.1), GENRES[:2]),
    ],
)
def test_an_uncertain_answer_names_two_or_three(shares: tuple[float, ...], expected: tuple[str, ...]) -> None:
    uncertain = classification(*shares, decision="uncertain")
    assert tuple(answer.candidates(uncertain)) == expected
    html = answer.render(uncertain)
    assert "Uncertain" in html
    assert all(genre in html for genre in expected)


def test_an_accepted_answer_names_one() -> None:
    html = answer.render(classification(0.92, 0.05))
    assert "blues" in html
    assert "classical" not in html
    assert "<strong>92 %</strong>, very sure" in html


def test_text_of_a_model_repo_or_a_file_is_escaped() -> None:
    hostile = classification(0.6, 0.4, labels=(HOSTILE, f"{HOSTILE}2"))
    uncertain = hostile.model_copy(update={"decision": "uncertain"})
    evidence = Evidence(HOSTILE, 0.5, (Segment(0, 1, 0.2),))
    results = [results_table.result(HOSTILE, hostile)]
    pages = [
        answer.render(hostile),
        answer.render(uncertain),
        timeline.render(hostile, NO_PEAKS),
        spectrogram.evidence_html(evidence),
        wording.notice(HOSTILE),
        results_table.downloads(results),
    ]
    for page in pages:
        assert HOSTILE not in page


def luminance(colour: str) -> float:
    """Relative, by WCAG 2.2."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return float(np.dot([0.2126, 0.7152, 0.0722], linear))


def test_every_colour_can_be_seen_on_light_and_dark() -> None:
    made = colours(list(GENRES))
    assert len(set(made.values())) == len(GENRES)
    for colour in made.values():
        for background in ("#ffffff", "#0a0f1e"):
            low, high = sorted([luminance(colour), luminance(background)])
            assert (high + 0.05) / (low + 0.05) >= 3, (colour, background)


def test_a_colour_belongs_to_its_genre_whatever_the_order() -> None:
    assert colours(list(GENRES)) == colours(list(reversed(GENRES)))


@pytest.mark.parametrize("windows", [1, 8, 1_200])
def test_an_outline_keeps_the_loudest_and_stays_small(windows: int) -> None:
    samples = np.zeros(30 * RATE, np.float32)
    samples[: 10 * RATE] = 0.25
    samples[5 * RATE] = -0.9
    # The last third only fills the window.
    peaks = timeline.peaks_of(Window(60.0, 80.0, samples), RATE, windows)
    assert 1 <= len(peaks) <= 400 / windows + 1
    loudest = peaks[peaks[:, 1].argmax()]
    assert loudest == pytest.approx([65, 0.9], abs=20 / len(peaks))
    assert peaks[:, 0].min() >= 60
    assert peaks[:, 0].max() < 80


def test_a_timeline_joins_neighbours_of_one_genre() -> None:
    several = classification(0.5, 0.3, 0.2)
    assert several.timeline is not None
    spans = [
        several.timeline[0],
        several.timeline[0].model_copy(update={"start_s": 30.0, "end_s": 60.0}),
        several.timeline[2],
    ]
    html = timeline.render(several.model_copy(update={"timeline": spans}), NO_PEAKS)
    assert re.findall(r'data-start="([\d.]+)"', html) == ["0.0", "60.0"]


@pytest.mark.thorough
def test_an_hour_of_changes_makes_a_bounded_timeline() -> None:
    several = classification(0.5, 0.5)
    assert several.timeline is not None
    spans = [
        several.timeline[number % 2].model_copy(update={"start_s": 3.0 * number, "end_s": 3.0 * number + 3})
        for number in range(1_200)
    ]
    html = timeline.render(several.model_copy(update={"timeline": spans, "duration_s": 3_600}), NO_PEAKS)
    assert html.count("data-start") == 60
    assert "and 1140 more" in html
    assert len(html) < 100_000


def test_a_spectrogram_shows_a_tone_where_it_is() -> None:
    time_s = np.arange(2 * RATE) / RATE
    low, high = (
        spectrogram.decibels_of(Window(0, 2, np.sin(2 * np.pi * hertz * time_s).astype(np.float32)), RATE)
        for hertz in (200, 4_000)
    )
    assert low.mean(axis=1).argmax() < 20 < 60 < high.mean(axis=1).argmax()
    assert low.max() == 0
    assert low.min() >= -80.1


@pytest.mark.parametrize("event", [None, "x", {}, {"files": 7}, {"files": [7, {}, {"name": 7, "path": "/etc/passwd"}]}])
def test_an_event_that_the_page_did_not_send_holds_no_files(event: object) -> None:
    assert multi_upload.files_of(event) == []


def test_a_batch_is_bounded() -> None:
    files = [{"name": "a", "path": None if number else "b"} for number in range(1_000)]
    assert multi_upload.files_of({"files": files}) == [("a", "b"), *[("a", None)] * (multi_upload.MAX_FILES - 1)]


def test_table_of_results_is_in_words() -> None:
    assert results_table.HEADERS == [
        "File",
        "Genre",
        "Confidence",
        "Decision",
        "Second best",
        "Length",
        "Heard",
        "Model",
    ]
    single = classification(0.92, labels=("speech",))
    assert results_table.rows([results_table.result("a.mp3", single)])[0][:5] == [
        "a.mp3",
        "speech",
        "92 %",
        "accepted",
        "",
    ]


def test_a_spreadsheet_runs_no_file_name() -> None:
    rows = csv.DictReader(io.StringIO(results_table.to_csv([results_table.failure("=cmd|' /C calc'!A0", "damaged")])))
    assert next(rows)["file"] == "'=cmd|' /C calc'!A0"


@pytest.mark.parametrize("base", ["https://host.example", "https://host.example:8443/a/b/", "http://[::1]:8000"])
def test_code_names_the_address_of_the_visitor(base: str) -> None:
    for code in snippets(base):
        assert f"{base.rstrip('/')}/classify" in code


@pytest.mark.parametrize(
    "base",
    ["", "javascript:alert(1)", "https://x'; rm -rf ~; '", 'https://x"\nimport os', "https://x`id`", "https://x/$(id)"],
)
def test_code_holds_no_address_that_could_be_code(base: str) -> None:
    for code in snippets(base):
        assert "http://localhost:8000/classify" in code


def test_the_python_code_is_python() -> None:
    compile(snippets("https://host")[1], "snippet", "exec")


def test_examples_cover_each_genre_and_are_small() -> None:
    assert tuple(examples()) == GENRES
    assert sum(path.stat().st_size for path in examples().values()) < 1_000_000
    assert "Synthetic music" in (Path(next(iter(examples().values()))).parents[1] / "README.md").read_text()


def test_answer_tells_what_makes_the_recording_hard_to_judge() -> None:
    plain = classification(0.92, 0.05)
    assert "Hard to judge" not in answer.render(plain)
    warned = plain.model_copy(update={"warnings": [RecordingWarning(code="clipped", detail="<b>3 %")]})
    assert "<li>&lt;b&gt;3 %</li>" in answer.render(warned)


def test_an_unfamiliar_recording_is_not_said_to_have_too_small_a_share() -> None:
    unsure = classification(0.99, 0.01, decision="uncertain")
    assert "99 % for blues, too little to settle on" in answer.render(unsure)
    warned = unsure.model_copy(update={"warnings": [RecordingWarning(code="unfamiliar", detail="It is.")]})
    assert "99 % for blues, from a model that does not know such recordings" in answer.render(warned)
