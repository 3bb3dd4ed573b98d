"""Writes the inference graphs of a model folder, so that serving converts nothing.

Training calls this. After training, `python -m training.export runs/gtzan --int8` adds graphs in 8 bits, if they answer
as those in float32 do.
"""

import argparse
import logging
import shutil
import sys
from pathlib import Path

from transformers import Wav2Vec2FeatureExtractor

from service.audio import WindowSpec
from service.model.layout import INT8_GRAPH_FOLDER
from service.model.serving_file import stamp_graphs
from training.arguments import ModelArguments
from training.data.clips import load_clips
from training.data.splits import split
from training.data.streaming import stream_clips
from training.errors import TrainingError
from training.finetuning import run_folder
from training.finetuning.model import known_genres
from training.publishing import artefact, golden, model_card
from training.publishing.quantise import CALIBRATION_CLIPS, compare, quantise

logger = logging.getLogger(__name__)


def main(arguments: list[str] | None = None) -> int:
    """The exit code: 0 when the graphs were written, 1 when not, or after an error that says what to change."""
    parser = argparse.ArgumentParser(prog="python -m training.export", description=__doc__.splitlines()[0])
    parser.add_argument("output_dir", type=Path, help="the --output_dir of a finished training run")
    parser.add_argument("--int8", action="store_true", help="also write int8 graphs, if they pass their comparison")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", datefmt="%H:%M:%S")
    try:
        if not (options.output_dir / run_folder.MODEL_FOLDER / "README.md").is_file():
            raise TrainingError(f"{options.output_dir} holds no finished model. Run the training to its end first.")
        return export(options.output_dir, int8=options.int8)
    except TrainingError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1


def export(output_dir: Path, *, int8: bool) -> int:
    """Export the model of a finished run anew; in 8 bits too, from the run's own clips. Raises TrainingError."""
    data, seed = run_folder.settings(output_dir)
    folder = output_dir / run_folder.MODEL_FOLDER
    extractor = Wav2Vec2FeatureExtractor.from_pretrained(folder)
    window = WindowSpec(extractor.sampling_rate, data.max_duration_s)
    graphs = artefact.export_graphs(folder)
    passed = True
    if int8:
        known = known_genres(ModelArguments(model_name_or_path=str(folder)))
        if data.streaming:
            _, chosen = stream_clips(data, output_dir / run_folder.HELD_OUT_FOLDER, seed, known)
            assert chosen.stream is not None
            ranged = chosen.stream.sample(CALIBRATION_CLIPS)
        else:
            chosen = split(load_clips(data, known), "random" if data.split == "random" else "artist", seed)
            ranged = chosen.train.shuffle(seed=seed)
            ranged = ranged.select(range(min(CALIBRATION_CLIPS, len(ranged))))
        comparison = compare(graphs, quantise(graphs, folder / INT8_GRAPH_FOLDER, ranged, window), chosen.test, window)
        passed = comparison.passed
        if not passed:
            shutil.rmtree(folder / INT8_GRAPH_FOLDER)
        model_card.add_int8(folder, comparison)
        logger.info(
            "int8 %s: accuracy %.3f, %.3f in float32; %.1f %% of %d held-out clips answered as in float32",
            "passed" if passed else "failed and is not kept",
            comparison.accuracy["int8"],
            comparison.accuracy["float32"],
            100 * comparison.agreement["int8"],
            comparison.clips,
        )
    stamp_graphs(folder)
    golden.write(folder)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
