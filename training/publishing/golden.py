"""Writes golden clips into a model folder: synthetic music, the scores that the model gives it, and tolerances."""

import logging
import shutil
from pathlib import Path

import numpy as np
import torch

from service.model import golden
from service.model.artefact import Artefact, read_artefact
from service.model.graphs.runner import GraphRunner, best_precision
from service.model.layout import GOLDEN_FOLDER, SERVING, graph_candidates
from service.model.serving_file import Golden, GoldenClip, Precision, ServingFile, sha256
from service.model.weights import load_model
from training.errors import TrainingError
from training.synthetic.render import encode, render

logger = logging.getLogger(__name__)

# Far apart in sound, so that a model which hears nothing does not pass by chance. Short, as all repos carry them.
_STYLES = ("classical", "hiphop", "metal")
_DURATION_S = 5.0
_SEED = 2_000_000

# Tolerance divided by the difference that was measured on this machine: other machines may differ by more.
_MARGIN = 3.0


def write(folder: Path) -> None:
    """Write the clips, and into serving.json the scores of the saved weights in float32.

    Tolerances of bfloat16 and int8 grow with what the exported graphs are measured to differ by.
    Raises TrainingError when the graphs in float32 do not answer as the weights do.
    """
    shutil.rmtree(folder / GOLDEN_FOLDER, ignore_errors=True)
    (folder / GOLDEN_FOLDER).mkdir()
    artefact = read_artefact(folder, model_id=folder.name, revision=None)
    model = load_model(artefact)

    @torch.inference_mode()
    def infer(windows: golden.Scores) -> golden.Scores:
        return artefact.probabilities(model(torch.from_numpy(windows)).logits.float().numpy())

    clips = [_write_clip(artefact, style, infer) for style in _STYLES]
    tolerances = dict(golden.DEFAULT_TOLERANCES)
    for precision, difference in _differences(artefact, clips).items():
        logger.info("Golden clips: scores in %s differ by at most %.5f", precision, difference)
        if precision == "float32" and difference > tolerances[precision]:
            raise TrainingError(
                "The exported graphs do not answer as the model does. Report this with its config.json."
            )
        tolerances[precision] = round(min(1.0, max(tolerances[precision], _MARGIN * difference)), 3)
    serving = ServingFile.model_validate_json((folder / SERVING).read_bytes())
    serving.model_copy(update={"golden": Golden(clips=clips, tolerances=tolerances)}).write(folder)


def _write_clip(artefact: Artefact, style: str, infer: golden.Infer) -> GoldenClip:
    path = artefact.folder / GOLDEN_FOLDER / f"{style}.flac"
    path.write_bytes(encode(render(style, _SEED, _DURATION_S)))
    with path.open("rb") as file:
        scores = golden.clip_scores(artefact, file, infer)
    return GoldenClip(
        file=golden.clip_name(artefact.folder, path),
        sha256=sha256(path),
        scores={label: round(min(float(score), 1.0), 6) for label, score in zip(artefact.labels, scores, strict=True)},
    )


def _differences(artefact: Artefact, clips: list[GoldenClip]) -> dict[Precision, float]:
    """The largest difference of a score, by the precision that the folder's graphs can be computed in here."""
    found: dict[Precision, float] = {}
    expected = np.array([[clip.scores[label] for label in artefact.labels] for clip in clips])
    for stored, candidates in graph_candidates(artefact.folder).items():
        graphs = next((graphs for graphs in candidates if graphs.files[0].is_file()), None)
        if graphs is None:
            continue
        for computed in ("f32", "bf16") if stored == "float32" and best_precision() == "bf16" else (best_precision(),):
            runner = GraphRunner(graphs, artefact.window.samples, torch.get_num_threads(), computed)

            def infer(windows: golden.Scores, runner: GraphRunner = runner) -> golden.Scores:
                return artefact.probabilities(runner.infer(windows)[0])

            scores = [golden.clip_scores(artefact, golden.read_clip(artefact, clip), infer) for clip in clips]
            precision = golden.precision_of("int8" if stored == "int8" else computed)
            found[precision] = float(np.abs(np.array(scores) - expected).max())
    return found
