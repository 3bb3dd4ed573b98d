"""Int8 graphs with this and that left in floats: `python -m tests.benchmarks.int8 MODEL [--only ROW ...]`.

MODEL is a folder that was trained on synthetic music, such as runs/demo/model, or `random` for DistilHuBERT's full size
with random weights, whose accuracy says nothing. Ranges come from clips of its training, figures from unseen ones.
"""

import argparse
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import datasets
import numpy as np

from service.model.artefact import Artefact, read_artefact
from service.model.graphs.locate import locate
from service.model.graphs.runner import Array, GraphRunner, best_precision
from service.model.layout import Graphs
from service.runtime.resources import available_cpus
from tests.benchmarks import model
from tests.benchmarks.measuring import interleaved, median
from tests.benchmarks.report import Row, Section
from training.publishing.quantise import CALIBRATION_CLIPS, KEPT, quantise, windows_of
from training.synthetic.render import GENRES, encode, render

_UNSEEN_SEED = 3_000_000
_CLIP_S = 7.0

_FIRST, _HEAD = KEPT
_NORMS = r".*layer_norm.*"
_PROJECTION = r".*feature_projection\.projection.*"
_POSITIONS = r".*pos_conv_embed.*"
_LAYERS = r".*encoder\.layers.*"

Variant = tuple[bool, tuple[str, ...]]
"""Whether NNCF's rules for transformers apply, and regular expressions of the names of further operations."""

VARIANTS: dict[str, Variant] = {
    "plain: nothing": (False, ()),
    "plain: norms, first convolution, head": (False, (_NORMS, _FIRST, _HEAD)),
    "nothing more": (True, ()),
    "first convolution": (True, (_FIRST,)),
    "first convolution, head": (True, KEPT),
    "first convolution, head, feature projection": (True, (*KEPT, _PROJECTION)),
    "first convolution, head, positional convolution": (True, (*KEPT, _POSITIONS)),
    "first convolution, head, transformer's layers": (True, (*KEPT, _LAYERS)),
    "all behind the feature encoder, first convolution": (True, (*KEPT, _PROJECTION, _POSITIONS, _LAYERS)),
}
"""What stays in floats, by name."""


def main() -> None:
    """Print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="a model folder, such as runs/demo/model, or `random`")
    parser.add_argument("--clips-per-genre", type=int, default=20, help="unseen synthetic clips (20)")
    parser.add_argument("--rounds", type=int, default=9, help="of the timing (9)")
    parser.add_argument("--only", nargs="+", choices=VARIANTS, default=list(VARIANTS), help="some rows; all by default")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="music-genre-int8-") as scratch:
        folder = Path(options.model)
        if options.model == "random":
            folder = Path(scratch, "model")
            model.save(folder)
        artefact = read_artefact(folder, model_id=folder.name, revision=None)
        wanted = {name: VARIANTS[name] for name in options.only}
        section = _measure(artefact, Path(scratch), wanted, options.clips_per_genre, options.rounds)
    print(section.markdown())  # noqa: T201


def _measure(
    artefact: Artefact, scratch: Path, variants: Mapping[str, Variant], clips_per_genre: int, rounds: int
) -> Section:
    graphs = locate(artefact).graphs
    ranged = _clips(0, -(-CALIBRATION_CLIPS // len(GENRES)))
    runners = {"everything (float32)": _runner(artefact, graphs, "f32")}
    for number, (name, (as_transformer, kept)) in enumerate(variants.items()):
        folder = scratch / f"int8-{number}"
        made = quantise(graphs, folder, ranged, artefact.window, kept=kept, as_transformer=as_transformer)
        runners[name] = _runner(artefact, made, best_precision())
    unseen = _clips(_UNSEEN_SEED, clips_per_genre)
    windows = list(windows_of(unseen, artefact.window, 1, "Comparing"))
    answers = {name: [runner.infer(window) for window in windows] for name, runner in runners.items()}
    seconds = interleaved({name: _infer(runner, windows[0]) for name, runner in runners.items()}, rounds)
    labels = [artefact.labels.index(genre) if genre in artefact.labels else -1 for genre in GENRES]
    references = np.repeat(labels, clips_per_genre)
    exact = answers["everything (float32)"]
    rows = [
        _row(artefact, name, found, exact, references) | {"ms a window": 1_000 * (median(seconds[name]) or 0.0)}
        for name, found in answers.items()
    ]
    return Section(
        f"int8 with parts in floats: {artefact.model_id}",
        rows,
        [f"{len(windows)} unseen synthetic clips, a window of {artefact.window.length_s:g} s of each."],
    )


def _row(
    artefact: Artefact,
    name: str,
    found: list[tuple[Array, Array | None]],
    exact: list[tuple[Array, Array | None]],
    references: np.ndarray,
) -> Row:
    scores, expected = (artefact.probabilities(np.concatenate([logits for logits, _ in of])) for of in (found, exact))
    embeddings, right = (np.concatenate([vector for _, vector in of if vector is not None]) for of in (found, exact))
    best = scores.argmax(axis=1)
    return {
        "in floats": name,
        "accuracy": float(np.mean(best == references)),
        "same genre": float(np.mean(best == expected.argmax(axis=1))),
        "scores off by, mean": float(np.abs(scores - expected).mean()),
        "at most": float(np.abs(scores - expected).max()),
        "embedding off by": float(np.linalg.norm(embeddings - right) / np.linalg.norm(right)),
    }


def _runner(artefact: Artefact, graphs: Graphs, precision: str) -> GraphRunner:
    return GraphRunner(graphs, artefact.window.samples, available_cpus(), precision)


def _infer(runner: GraphRunner, windows: Array) -> Callable[[int], object]:
    return lambda _: runner.infer(windows)


def _clips(first_seed: int, count: int) -> datasets.Dataset:
    return datasets.Dataset.from_list(list(_rendered(first_seed, count)))


def _rendered(first_seed: int, count: int) -> Iterator[dict[str, object]]:
    for genre in GENRES:
        for seed in range(first_seed, first_seed + count):
            yield {"audio": {"bytes": encode(render(genre, seed, _CLIP_S)), "path": None}, "genre": genre}


if __name__ == "__main__":
    main()
