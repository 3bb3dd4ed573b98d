"""Parameters of tests that try many variants of one thing."""

from collections.abc import Iterable

import pytest
from _pytest.mark.structures import ParameterSet


def usual(*chosen: str, of: Iterable[str]) -> list[ParameterSet]:
    """All variants `of` a thing; those that are not `chosen` are thorough, and run in `make test-thorough`."""
    variants = list(of)
    assert set(chosen) <= set(variants), f"{chosen} of {variants}"
    return [
        pytest.param(variant, marks=() if variant in chosen else pytest.mark.thorough, id=variant)
        for variant in variants
    ]
