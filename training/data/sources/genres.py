"""Genres as data sets write them: text, class labels, numbers, or a list of one of these."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

import datasets

from training.errors import TrainingError

_COLUMNS = ("genre", "label", "genres", "labels")


def find_genre_column(columns: Sequence[str], wanted: str | None) -> str | None:
    """The column of the genres: the one that is wanted, or one of the usual names; None when there is none."""
    if wanted is not None:
        return wanted if wanted in columns else None
    spelt = {column.casefold(): column for column in reversed(columns)}
    return next((spelt[name] for name in _COLUMNS if name in spelt), None)


def class_names(feature: object) -> list[str] | None:
    """The names behind the numbers of a column of class labels, or of lists of them; None for other columns."""
    inner = feature.feature if isinstance(feature, (datasets.List, datasets.LargeList)) else feature
    return list(inner.names) if isinstance(inner, datasets.ClassLabel) else None


def genre_name(value: Any, names: Sequence[str] | None) -> str | None:
    """The genre of one cell; None when it tells none. names: of a class label's numbers.

    Raises TrainingError, whose message goes on after the name of the row, for several genres and for what is none.
    """
    if isinstance(value, (list, tuple)):
        distinct = list(dict.fromkeys(genre for cell in value if (genre := genre_name(cell, names))))
        if len(distinct) > 1:
            raise TrainingError(
                f"has the genres {', '.join(distinct)}. A clip has one genre here: keep one of them, or name another "
                "column with --genre_column."
            )
        return distinct[0] if distinct else None
    # The label -1 means unknown; a float is a whole number in a column that has gaps.
    if value is None or value == -1 or value != value:
        return None
    if not isinstance(value, (str, int, float)):
        raise TrainingError(f"has a genre that is no text and no number ({type(value).__name__}).")
    if names is not None:
        return names[int(value)]
    return (str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)).strip() or None


def in_order(genres: Iterable[str]) -> list[str]:
    """The genres in the order of a model's outputs: by alphabet, numbers by size."""
    return sorted(genres, key=lambda genre: (len(genre), genre) if genre.isdecimal() else (1_000, genre))


def require_distinct(genres: Sequence[str]) -> None:
    """Raise TrainingError when two genres are spellings of one, such as `hip-hop` and `Hiphop`."""
    spelt: dict[str, str] = {}
    for genre in genres:
        other = spelt.setdefault(re.sub(r"[\W_]+", "", genre.casefold()) or genre, genre)
        if other != genre:
            raise TrainingError(f"{other!r} and {genre!r} look like one genre. Give its clips one spelling.")
