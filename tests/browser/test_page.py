"""The page as its visitors use it."""

import json
import math
import time
from pathlib import Path

import httpx2
import numpy as np
import pytest
from playwright.sync_api import Page, expect

from tests.browser.steps import alert, answer, download, example, panel, player, screenshot, tab, upload, walk_to
from tests.conftest import GENRES
from tests.support.audio_files import encode, sweep


@pytest.fixture(scope="session")
def song(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four minutes."""
    path = tmp_path_factory.mktemp("songs") / "song.wav"
    path.write_bytes(encode(np.tile(sweep(30, 8_000), 8), "wav", 8_000))
    return path


@pytest.mark.parametrize("format", ["mp3", "m4a", "wav", "wma"])
def test_a_file_gets_an_answer(page: Page, tmp_path: Path, format: str) -> None:
    path = tmp_path / f"My song <1>.{format}"
    path.write_bytes(encode(sweep(5), format))
    upload(page, path)
    expect(answer(page)).to_contain_text("Listened to 0:05 of 0:05.")
    for genre in GENRES:
        expect(page.get_by_test_id(f"{genre}-confidence-set").first).to_be_visible()
    expect(alert(page)).to_have_count(0)
    screenshot(page, f"upload-{format}")


def test_a_video_gets_an_answer(page: Page, tmp_path: Path) -> None:
    path = tmp_path / "clip.webm"
    path.write_bytes(encode(sweep(5), "webm"))
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="From a video file").click()
    chooser.value.set_files(path)
    expect(answer(page)).to_contain_text("Listened to 0:05 of 0:05.")


def test_a_recording_of_the_microphone_gets_an_answer(page: Page) -> None:
    page.get_by_role("button", name="Record audio").click()
    page.get_by_role("button", name="Record", exact=True).click()
    page.wait_for_timeout(2_000)
    page.get_by_role("button", name="Stop", exact=True).click()
    expect(answer(page)).to_contain_text("Listened to 0:0")
    screenshot(page, "microphone")


def test_an_example_of_synthetic_music_gets_an_answer(page: Page) -> None:
    expect(page.get_by_text("Examples: synthetic music, composed by a program")).to_be_visible()
    example(page, "jazz")
    expect(answer(page)).to_contain_text("Listened to 0:08 of 0:08.")
    assert player(page)["duration"] == pytest.approx(8, abs=0.1)
    screenshot(page, "example")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"no music at all", "This is not a recording that can be played here."),
        (encode(sweep(3), "m4a")[:5_000], "This recording is damaged or incomplete"),
        (encode(np.zeros(48_000, np.float32), "wav"), "Nothing can be heard in this recording."),
        (encode(sweep(0.1), "wav"), "This recording is too short"),
    ],
    ids=["no audio", "damaged", "silent", "short"],
)
def test_an_error_is_told_in_words(page: Page, tmp_path: Path, data: bytes, words: str) -> None:
    path = tmp_path / "song.mp3"
    path.write_bytes(data)
    upload(page, path)
    expect(alert(page)).to_contain_text(words)
    expect(page.locator("body")).not_to_contain_text("Traceback")
    expect(page.get_by_role("region", name="Answer")).to_have_count(0)
    screenshot(page, f"error-{words.split()[2]}")
    example(page, "rock")
    answer(page)
    expect(alert(page)).to_have_count(0)


def test_without_a_recording_the_button_says_what_to_do(page: Page) -> None:
    page.get_by_role("button", name="Tell the genre").click()
    expect(alert(page)).to_contain_text("Choose a recording first")


def test_the_timeline_of_a_long_file_grows_and_plays_from_where_it_is_clicked(page: Page, url: str, song: Path) -> None:
    upload(page, song)
    expect(page.get_by_role("status").filter(has_text=parts(url))).to_be_visible()
    timeline = page.get_by_role("region", name="Timeline")
    expect(timeline).to_be_visible()
    expect(page.get_by_role("region", name="Answer")).to_contain_text(parts(url))
    screenshot(page, "timeline-grows")
    expect(answer(page)).to_contain_text("Listened to 4:00 of 4:00.")
    slider = timeline.get_by_role("slider", name="Play from this second of the recording")
    box = slider.bounding_box()
    assert box
    slider.click(position={"x": box["width"] * 0.75, "y": box["height"] / 2})
    page.wait_for_function("document.querySelector('#recording audio').currentTime > 179")
    assert player(page)["currentTime"] == pytest.approx(180, abs=5)
    assert player(page)["paused"] is False
    timeline.get_by_role("button").first.click()
    page.wait_for_function("document.querySelector('#recording audio').currentTime < 5")
    # The slider follows the player.
    page.wait_for_function("Number(document.querySelector('.timeline input').value) < 6")
    screenshot(page, "timeline")


def test_a_visitor_who_leaves_stops_the_listening(page: Page, url: str, song: Path) -> None:
    before = metric(url, "genre_predictions_total")
    upload(page, song)
    expect(page.get_by_role("status").filter(has_text=parts(url))).to_be_visible()
    assert metric(url, "genre_queue_audio_seconds") > 0
    page.close()
    deadline = time.monotonic() + 30
    while metric(url, "genre_queue_audio_seconds") > 0:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert metric(url, "genre_predictions_total") == before


def test_the_answer_is_that_of_the_recording_in_the_player(page: Page, url: str, song: Path, tmp_path: Path) -> None:
    short = tmp_path / "short.wav"
    short.write_bytes(encode(sweep(5), "wav"))
    listening = page.get_by_role("status").filter(has_text=parts(url))
    upload(page, song)
    expect(listening).to_be_visible()
    page.locator("#recording").get_by_label("Clear").first.click()
    expect(alert(page)).to_contain_text("Choose a recording first")
    upload(page, short)
    expect(answer(page)).to_contain_text("Listened to 0:05 of 0:05.")
    page.locator("#recording").get_by_label("Clear").first.click()
    upload(page, song)
    expect(listening).to_be_visible()
    example(page, "jazz")
    example(page, "rock")
    expect(answer(page)).to_contain_text("Listened to 0:08 of 0:08.")
    # What was given up adds nothing later.
    expect(listening).to_have_count(0)
    page.wait_for_timeout(3_000)
    expect(answer(page)).to_contain_text("Listened to 0:08 of 0:08.")
    tab(page, "Compare")
    heard = [row["file"] for row in json.loads(download(page, "JSON"))]
    assert heard[0] == "short.wav"
    assert "song.wav" not in heard
    tab(page, "Listen")
    assert str(player(page)["src"]).endswith(heard[-1])


def parts(url: str) -> str:
    """How the page says that the song of four minutes has so many windows of the model."""
    window_s = httpx2.get(f"{url}/model").json()["window_s"]
    return f"of {math.ceil(240 / window_s)} parts"


def metric(url: str, name: str) -> float:
    """Summed over its labels."""
    lines = httpx2.get(f"{url}/metrics").text.splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


def test_spectrogram_and_evidence_are_shown_when_asked(page: Page) -> None:
    example(page, "classical")
    answer(page)
    page.get_by_role("button", name="Look inside").click()
    expect(page.locator("figure.inside")).to_have_count(0)
    page.get_by_role("button", name="Show its sound").click()
    expect(page.get_by_role("img", name="Mel spectrogram from 0:00 to 0:0")).to_be_visible()
    page.get_by_role("button", name="Which seconds mattered?").click()
    expect(page.get_by_role("img", name="Evidence for")).to_be_visible()
    screenshot(page, "inside")
    # It belongs to the recording, and goes with it.
    example(page, "metal")
    answer(page)
    expect(page.locator("figure.inside")).to_have_count(0)


def test_the_code_names_this_host(page: Page, url: str) -> None:
    tab(page, "From code")
    for language in ("JavaScript", "Python", "curl"):
        tab(page, language)
        expect(panel(page)).to_contain_text(f"{url}/classify")
    screenshot(page, "code")


def test_everything_can_be_done_with_the_keyboard(page: Page) -> None:
    walk_to(page, "button", "jazz")
    page.keyboard.press("Enter")
    answer(page)
    walk_to(page, "input", "Play from this second of the recording")
    page.keyboard.press("End")
    page.wait_for_function("document.querySelector('#recording audio').currentTime > 7")
    walk_to(page, "button", "0:00 ")
    screenshot(page, "keyboard")
    page.keyboard.press("Enter")
    page.wait_for_function("document.querySelector('#recording audio').currentTime < 7")
    walk_to(page, "button", "Look inside")
    page.keyboard.press("Enter")
    walk_to(page, "button", "Show its sound")
    page.keyboard.press("Space")
    expect(page.get_by_role("img", name="Mel spectrogram")).to_be_visible()
