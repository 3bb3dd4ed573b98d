"""Writes the inference graphs of a model folder, so that serving converts nothing.

Training calls this. After training, `python -m training.export runs/gtzan --int8` adds graphs in 8 bits, if they answer
as those in float32 do.
"""

import argparse
import logging
import shutil
import sys
import tempfile
from pathlib import Path

import datasets
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
    data, _ = run_folder.settings(output_dir)
    folder = output_dir / run_folder.MODEL_FOLDER
    extractor = Wav2Vec2FeatureExtractor.from_pretrained(folder)
    window = WindowSpec(extractor.sampling_rate, data.max_duration_s)
    graphs = artefact.export_graphs(folder)
    model_card.remove_int8(folder)
    passed = True
    if int8:
        with tempfile.TemporaryDirectory(prefix="sample-", dir=output_dir) as scratch:
            ranged, test = _clips_of_run(output_dir, Path(scratch))
            made = quantise(graphs, folder / INT8_GRAPH_FOLDER, ranged, window)
        comparison = compare(graphs, made, test, window)
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


def _clips_of_run(output_dir: Path, scratch: Path) -> tuple[datasets.Dataset, datasets.Dataset]:
    """Some clips that the run trained on, and those that it held out. scratch: a folder for clips of a stream.

    Raises TrainingError where the data is not what it was.
    """
    data, seed = run_folder.settings(output_dir)
    known = known_genres(ModelArguments(model_name_or_path=str(output_dir / run_folder.MODEL_FOLDER)))
    if data.streaming:
        clips, chosen = stream_clips(data, output_dir / run_folder.HELD_OUT_FOLDER, seed, known)
    else:
        clips = load_clips(data, known)
        chosen = split(clips, "random" if data.split == "random" else "artist", seed)
    run_folder.lock_clips(output_dir, clips.digests)
    if chosen.stream is not None:
        return chosen.stream.sample(CALIBRATION_CLIPS, scratch), chosen.test
    train = chosen.train.shuffle(seed=seed)
    return train.select(range(min(CALIBRATION_CLIPS, len(train)))), chosen.test


if __name__ == "__main__":
    sys.exit(main())
