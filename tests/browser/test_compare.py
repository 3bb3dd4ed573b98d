"""The tab Compare: a batch of recordings, its table, and the map of what sounds alike."""

import csv
import io
import json
from pathlib import Path

from playwright.sync_api import Page, expect

from service.ui.examples import examples
from tests.browser.steps import answer, download, example, panel, screenshot, tab, walk_to
from tests.conftest import GENRES


def test_a_batch_fills_the_table_that_can_be_downloaded(page: Page, tmp_path: Path) -> None:
    example(page, "blues")
    answer(page)
    files = [tmp_path / f"{genre}.mp3" for genre in ("disco", "pop", "rock")]
    for path in files:
        path.write_bytes(examples()[path.stem].read_bytes())
    formula = tmp_path / "=broken.mp3"
    formula.write_bytes(b"no music")
    large = tmp_path / "large.wav"
    large.write_bytes(bytes(50_000_000))
    tab(page, "Compare")
    panel(page).locator("input[type=file][multiple]").set_input_files([*files, formula, large])
    expect(page.get_by_role("status").filter(has_text="Done: 5 files.")).to_be_visible()
    table = page.get_by_role("grid", name="Results")
    for name in ("blues.1000000.mp3", "disco.mp3", "pop.mp3", "rock.mp3", "broken.mp3"):
        expect(table).to_contain_text(name)
    screenshot(page, "batch")
    results = json.loads(download(page, "JSON"))
    assert [row["file"] for row in results][1:4] == ["disco.mp3", "pop.mp3", "rock.mp3"]
    assert all(row["genre"] in GENRES for row in results[:4])
    assert results[5]["decision"].startswith("This file could not be sent")
    assert results[4]["genre"] == ""
    assert "not a recording" in results[4]["decision"]
    rows = list(csv.DictReader(io.StringIO(download(page, "CSV"))))
    assert [row["genre"] for row in rows] == [row["genre"] for row in results]
    assert not rows[4]["file"].startswith("=")


def test_map_of_alike_recordings_is_reached_with_the_keyboard(page: Page, tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("disco.mp3", "disco again.mp3", "metal.mp3", "classical.mp3")]
    for path in files:
        path.write_bytes(examples()[path.stem.split()[0]].read_bytes())
    tab(page, "Compare")
    section = page.get_by_role("region", name="Find alike")
    expect(section).to_have_count(0)
    panel(page).locator("input[type=file][multiple]").set_input_files(files)
    expect(section.get_by_role("heading")).to_have_text("Most like classical.mp3")
    points = section.get_by_role("group", name="Map of the recordings").get_by_role("button")
    expect(points).to_have_count(4)
    walk_to(page, "button", "disco.mp3: ")
    page.keyboard.press("Enter")
    expect(section.get_by_role("heading")).to_have_text("Most like disco.mp3")
    expect(section.get_by_role("row").nth(1)).to_contain_text("disco again.mp3")
    expect(section.get_by_role("row").nth(1)).to_contain_text("1.00")
    # The keyboard goes on from there.
    expect(section.get_by_role("button", pressed=True)).to_be_focused()
    screenshot(page, "alike")
    tab(page, "Listen")
    example(page, "jazz")
    answer(page)
    tab(page, "Compare")
    expect(section.get_by_role("heading")).to_contain_text("Most like jazz")
