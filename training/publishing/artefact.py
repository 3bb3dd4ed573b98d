"""Writes the model folder that is pushed: everything that serving must know, and nothing that it must not."""

import shutil
from pathlib import Path

from transformers import PreTrainedModel, Wav2Vec2FeatureExtractor

from service.model.artefact import read_artefact
from service.model.graphs.conversion import convert
from service.model.layout import GRAPH_FOLDER, Graphs
from service.model.serving_file import ServingFile, stamp_graphs
from training.publishing import golden


def save(folder: Path, model: PreTrainedModel, extractor: Wav2Vec2FeatureExtractor, serving: ServingFile) -> None:
    """Write model, extractor, serving.json, the exported graphs and golden clips. Called on one process only.

    Not `Trainer.save_model`, which adds training_args.bin: a pickle with settings of this machine.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    # safetensors files are saved for their owner alone, but served by another user.
    for weights in folder.glob("*.safetensors"):
        weights.chmod(0o644)
    extractor.save_pretrained(folder)
    serving.write(folder)
    export_graphs(folder)
    golden.write(folder)


def export_graphs(folder: Path) -> Graphs:
    """Write the OpenVINO graphs of a saved model, so that serving converts nothing, and their checksums.

    They are made of the saved weights: the trained object still computes in the Trainer's mixed precision. Graphs
    of an earlier model are deleted, those in int8 included.
    """
    shutil.rmtree(folder / GRAPH_FOLDER, ignore_errors=True)
    (folder / GRAPH_FOLDER).mkdir(parents=True)
    graphs = convert(read_artefact(folder, model_id=folder.name, revision=None), folder / GRAPH_FOLDER)
    stamp_graphs(folder)
    return graphs
