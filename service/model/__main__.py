"""Checks a model repo as the service does before it serves it: `python -m service.model FOLDER_OR_ID`."""

import argparse
import logging
import sys
from collections.abc import Iterator

from service.errors import StartupError
from service.model import golden
from service.model.artefact import Artefact, read_artefact
from service.model.graphs.locate import ConversionError, locate
from service.model.hub.repo import fetch, remember
from service.model.layout import SERVING, WholeGraph, graph_candidates
from service.runtime.resources import available_cpus

_DEADLINE_S = 120.0
_SHOWN_LABELS = 12


def main(arguments: list[str] | None = None) -> int:
    """The exit code: 0 when the service would serve the model, 1 when it would refuse it."""
    parser = argparse.ArgumentParser(prog="python -m service.model", description=__doc__)
    parser.add_argument("model_id", help="a local model folder, or a model repo on the Hub, such as you/genre")
    parser.add_argument("--revision", default="main", help="branch, tag or commit (main)")
    options = parser.parse_args(arguments)
    # Bars, and notes of the libraries, would stand between the lines.
    logging.basicConfig(level=logging.ERROR, format="%(message)s")
    try:
        snapshot = fetch(options.model_id, options.revision, deadline_s=_DEADLINE_S)
        artefact = read_artefact(snapshot.folder, model_id=options.model_id, revision=snapshot.commit)
        for name, value in report(artefact):
            sys.stdout.write(f"{name:<16} {value}\n")
            sys.stdout.flush()
        remember(snapshot, options.revision)
    except StartupError as error:
        sys.stdout.write(f"{'refused':<16} {error}\n")
        return 1
    sys.stdout.write(f"{'result':<16} the service can serve this model\n")
    return 0


def report(artefact: Artefact) -> Iterator[tuple[str, str]]:
    """What the repo holds, line by line. Raises StartupError where the service would refuse it."""
    yield "model", artefact.model_id
    yield "revision", artefact.revision
    yield "serving.json", "there" if (artefact.folder / SERVING).is_file() else "missing: defaults are used"
    yield "labels", _labels(artefact)
    yield "sampling rate", f"{artefact.window.sampling_rate} Hz"
    yield "window", _or_default(artefact, f"{artefact.window.length_s:g} s", "window_s")
    yield "temperature", _or_default(artefact, f"{artefact.temperature:.4g}", "temperature")
    yield "uncertain below", _or_default(artefact, f"{artefact.confidence_threshold:.3g}", "uncertain_below")
    yield "trained on", artefact.trained_on.name if artefact.trained_on else "not said"
    yield "reference", _reference(artefact)
    yield "familiarity", _familiarity(artefact)
    yield "graphs", _graphs(artefact)
    yield "golden clips", _check_golden(artefact)


def _labels(artefact: Artefact) -> str:
    shown = ", ".join(artefact.labels[:_SHOWN_LABELS])
    rest = ", ..." if len(artefact.labels) > _SHOWN_LABELS else ""
    kind = "" if artefact.thresholds is None else ", several of a recording"
    return f"{len(artefact.labels)}{kind}: {shown}{rest}"


def _reference(artefact: Artefact) -> str:
    if artefact.reference is None:
        return "not said: answers cannot be compared with those of training"
    return f"answers to {artefact.reference.clips} held-out clips"


def _familiarity(artefact: Artefact) -> str:
    if artefact.familiarity is None:
        return "not said: unfamiliar recordings are answered like all others"
    genres, _ = artefact.familiarity.means.shape
    return f"what {genres} genres look like; unfamiliar beyond a distance of {artefact.familiarity.threshold:.3g}"


def _or_default(artefact: Artefact, value: str, field: str) -> str:
    return f"{value} (default)" if field in artefact.defaulted_fields else value


def _graphs(artefact: Artefact) -> str:
    shipped = [
        f"{precision} ({'whole' if isinstance(graphs, WholeGraph) else 'in tiles'})"
        for precision, candidates in graph_candidates(artefact.folder).items()
        for graphs in candidates
        if graphs.files[0].is_file()
    ]
    if not shipped:
        return "none: the service converts the model once, which takes a minute"
    return f"{', '.join(shipped)}; {'with' if artefact.graphs else 'without'} checksums"


def _check_golden(artefact: Artefact) -> str:
    """Loads the model and computes its golden clips, in this process and on the CPU."""
    backend, infer = _load(artefact)
    precision = golden.precision_of(backend)
    difference = golden.check(artefact, infer, precision)
    if difference is None:
        return f"none: nothing proves that the model answers as in training; it loads in {backend}"
    assert artefact.golden is not None
    tolerance = golden.tolerance_of(artefact, precision)
    count = len(artefact.golden.clips)
    return f"{count} answered as in training by {backend}; largest difference {difference:.5f} of {tolerance:g} allowed"


def _load(artefact: Artefact) -> tuple[str, golden.Infer]:
    """What computes the model, by name, and its probabilities."""
    try:
        located = locate(artefact)
    except ConversionError:
        return "torch-cpu-float32", _torch(artefact)
    from service.model.graphs.compilation import GraphError
    from service.model.graphs.runner import GraphRunner, best_precision

    precision = best_precision()
    try:
        runner = GraphRunner(located.graphs, artefact.window.samples, available_cpus(), precision)
    except GraphError as error:
        raise StartupError(f"The OpenVINO graphs of {artefact.model_id} cannot be used: {error}.") from error
    if runner.labels != len(artefact.labels):
        raise StartupError(f"The graphs know {runner.labels} genres, and config.json {len(artefact.labels)}.")
    name = "openvino-int8" if located.precision == "int8" else f"openvino-{precision}"
    return name, lambda windows: artefact.probabilities(runner.infer(windows)[0])


def _torch(artefact: Artefact) -> golden.Infer:
    import torch

    from service.model.weights import load_model

    model = load_model(artefact)

    @torch.inference_mode()
    def infer(windows: golden.Scores) -> golden.Scores:
        return artefact.probabilities(model(torch.from_numpy(windows)).logits.float().numpy())

    return infer


if __name__ == "__main__":
    sys.exit(main())
