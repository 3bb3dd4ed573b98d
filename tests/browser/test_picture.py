"""The picture in the README: `MODEL_ID=runs/demo/model make test-browser` takes it anew."""

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
from playwright.sync_api import Page

from service.ui.examples import examples
from tests.browser.steps import answer, upload
from tests.support.audio_files import encode

PICTURE = Path(__file__).with_name("page.png")
MOST_BYTES = 300_000
GENRES = ("hiphop", "hiphop", "reggae", "hiphop", "country", "hiphop")


@pytest.mark.skipif("MODEL_ID" not in os.environ, reason="a model with random weights makes no picture with meaning")
def test_the_picture_of_the_readme_is_taken(page: Page, tmp_path: Path) -> None:
    clips = [soundfile.read(examples()[genre], dtype="float32") for genre in GENRES]
    path = tmp_path / "medley.mp3"
    path.write_bytes(encode(np.concatenate([waveform for waveform, _ in clips]), "mp3", clips[0][1]))
    upload(page, path)
    answer(page)
    page.get_by_role("region", name="Timeline").get_by_role("button").nth(1).click()
    page.wait_for_timeout(500)
    page.screenshot(path=PICTURE, full_page=True)


def test_the_picture_of_the_readme_is_there_and_small() -> None:
    assert PICTURE.stat().st_size < MOST_BYTES
