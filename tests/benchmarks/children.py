"""What runs in a process of its own, so that what importing torch costs ends with it."""

from collections.abc import Sequence
from pathlib import Path

from tests.benchmarks.measuring import own_process
from tests.benchmarks.report import Section


def save_model(folder: Path, *, in_int8: bool = True) -> None:
    """Write the model folder, and with `in_int8` one with int8 graphs beside it, which takes minutes."""
    with own_process() as pool:
        pool.submit(_save_model, folder, in_int8).result()


def one_clip(model: Path, clips: Sequence[bytes], rounds: int) -> Section:
    with own_process() as pool:
        return pool.submit(_one_clip, model, clips, rounds).result()


def nodes(model: Path, rounds: int) -> list[Section]:
    with own_process() as pool:
        return pool.submit(_nodes, model, rounds).result()


def decoding(model: Path, rounds: int) -> Section:
    with own_process() as pool:
        return pool.submit(_decoding, model, rounds).result()


def _save_model(folder: Path, in_int8: bool) -> None:
    from tests.benchmarks import model

    model.save(folder)
    if in_int8:
        model.quantised(folder)


def _one_clip(folder: Path, clips: Sequence[bytes], rounds: int) -> Section:
    from tests.benchmarks.one_clip import one_clip

    return one_clip(folder, clips, rounds)


def _nodes(folder: Path, rounds: int) -> list[Section]:
    from tests.benchmarks.nodes import nodes

    return nodes(folder, rounds)


def _decoding(folder: Path, rounds: int) -> Section:
    from tests.benchmarks.decoding import decoding

    return decoding(folder, rounds)
