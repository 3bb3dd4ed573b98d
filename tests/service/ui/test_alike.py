"""Recordings of a visit by how much alike they sound: the order, the map, and what is left out."""

import html
import re

import numpy as np
import pytest

from service.schemas import Classification, ModelReference, Score
from service.ui.views.alike import Recording, classified, failed, project, render

HOSTILE = '<img src=x onerror="alert(1)">'


def recording(number: int, name: str, embedding: list[float] | None, revision: str = "a" * 12) -> Recording:
    answer = Classification(
        genre="jazz",
        confidence=0.9,
        decision="accepted",
        scores=[Score(label="jazz", score=0.9), Score(label="rock", score=0.1)],
        duration_s=3.0,
        analysed_s=3.0,
        embedding=embedding,
        model=ModelReference(id="you/genre", revision=revision, backend="fixed"),
    )
    return classified(number, name, answer)


def table(page: str) -> list[tuple[str, str]]:
    """The recordings of the table and their similarities."""
    found = re.findall(r'<tr><th scope="row">(.*?)</th><td>jazz</td><td>(.*?)</td></tr>', page)
    return [(html.unescape(name), similarity) for name, similarity in found]


VISIT = [
    recording(1, "east", [2.0, 0.0, 0.0]),
    recording(2, "north", [0.0, 3.0, 0.0]),
    failed(3, "broken", "It is no music."),
    recording(4, "north-east", [1.0, 1.0, 0.0]),
    recording(5, "west", [-1.0, 0.0, 0.0]),
]


def test_the_latest_is_compared_and_the_most_alike_comes_first() -> None:
    page = render(VISIT)
    assert "Most like west" in page
    assert table(page) == [("north", "0.00"), ("north-east", "-0.71"), ("east", "-1.00")]


def test_another_can_be_chosen() -> None:
    page = render(VISIT, 1)
    assert "Most like east" in page
    assert table(page) == [("north-east", "0.71"), ("north", "0.00"), ("west", "-1.00")]
    assert re.findall(r'data-number="(\d)" aria-pressed="true"', page) == ["1"]


@pytest.mark.parametrize("number", [3, 99, -1])
def test_one_that_cannot_be_compared_is_not_chosen(number: int) -> None:
    assert render(VISIT, number) == render(VISIT)


def test_embeddings_of_different_models_are_not_compared() -> None:
    page = render([*VISIT, recording(6, "new", [1.0, 0.0], "b" * 12), recording(7, "newer", [1.0, 0.1], "b" * 12)])
    assert table(page) == [("new", "1.00")]


def test_there_is_nothing_to_see_of_fewer_than_two() -> None:
    assert render([]) == render(VISIT[2:4]) == render([recording(1, "a", None), recording(2, "b", None)]) == ""


def test_file_names_are_text() -> None:
    page = render([recording(1, HOSTILE, [1.0, 0.0]), recording(2, HOSTILE, [0.0, 1.0])])
    assert "<img" not in page
    assert html.escape(HOSTILE) in page


def test_a_map_of_many_shows_the_most_alike_inside_its_bounds() -> None:
    draws = np.random.default_rng(0).standard_normal((200, 16))
    page = render([recording(number, f"song {number}", draw.tolist()) for number, draw in enumerate(draws, 1)])
    places = [(float(x), float(y)) for x, y in re.findall(r"left:(.*?)%;top:(.*?)%", page)]
    assert len(places) == 50
    assert all(0 < place < 100 for pair in places for place in pair)
    assert "150 less alike are left out" in page
    similarities = [float(similarity) for _, similarity in table(page)]
    assert similarities == sorted(similarities, reverse=True)


def test_the_same_sound_twice_lies_in_one_place() -> None:
    page = render([recording(1, "a", [1.0, 2.0]), recording(2, "b", [1.0, 2.0])])
    assert re.findall(r"left:(.*?)%;top:(.*?)%", page) == [("50.0", "50.0")] * 2
    assert table(page) == [("a", "1.00")]
    # Their names would lie over each other: that of the chosen one stands there.
    assert page.count("named") == 1
    assert re.search(r'named"[^>]*aria-label="b: ', page)


def test_two_components_keep_the_distances_of_a_plane() -> None:
    draw = np.random.default_rng(0)
    plane = draw.standard_normal((30, 2)) @ np.linalg.qr(draw.standard_normal((8, 8)))[0][:2]
    points, share = project(plane.astype(np.float32))
    assert share == pytest.approx(1.0, abs=1e-5)
    between = np.linalg.norm(points[:, None] - points[None], axis=-1)
    expected = np.linalg.norm(plane[:, None] - plane[None], axis=-1)
    np.testing.assert_allclose(between, expected, atol=1e-4)
    assert points[:, 0].var() > points[:, 1].var()


def test_a_genre_has_the_colour_of_the_timeline_and_what_failed_no_place() -> None:
    assert VISIT[0].colour == VISIT[1].colour != ""
    assert VISIT[2].embedding is None
    assert VISIT[3].embedding is not None
    np.testing.assert_allclose(np.linalg.norm(VISIT[3].embedding), 1.0, rtol=1e-6)
