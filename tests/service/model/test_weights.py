"""Weights of older releases load, and what does not load as an audio classifier is refused in words."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file, save_file
from transformers import HubertConfig, HubertModel

from service.errors import StartupError
from service.model.artefact import Artefact
from service.model.graphs.locate import locate
from tests.support.tiny_encoders import KINDS, SIZES, WINDOWS, artefact_of, torch_backend


def test_weights_under_the_names_of_older_releases(tmp_path: Path) -> None:
    """Most of the Hub's HuBERTs were saved before torch renamed the weight norm of the positional convolution."""
    model = KINDS["hubert"]().eval()
    artefact = artefact_of(tmp_path, model)
    expected = torch_backend(artefact).infer(WINDOWS).probabilities
    renamed = {
        name.replace("parametrizations.weight.original0", "weight_g").replace(
            "parametrizations.weight.original1", "weight_v"
        ): tensor
        for name, tensor in load_file(tmp_path / "model.safetensors").items()
    }
    assert any(name.endswith("weight_g") for name in renamed)
    save_file(renamed, tmp_path / "model.safetensors", metadata={"format": "pt"})
    np.testing.assert_allclose(torch_backend(artefact).infer(WINDOWS).probabilities, expected, atol=1e-6)


def test_a_missing_mask_embedding_is_no_fault(tmp_path: Path) -> None:
    """It is used in training only, and absent from models that were trained without."""
    artefact = artefact_of(tmp_path, KINDS["hubert"]())
    weights = load_file(tmp_path / "model.safetensors")
    del weights["hubert.masked_spec_embed"]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    assert torch_backend(artefact).infer(WINDOWS).probabilities.shape == (2, 3)


def test_a_base_model_is_refused(tmp_path: Path) -> None:
    artefact = artefact_of(tmp_path, HubertModel(HubertConfig(**SIZES)))
    with pytest.raises(StartupError, match="lacks trained weights for classifier"):
        torch_backend(artefact)


@pytest.mark.parametrize("load", [torch_backend, pytest.param(locate, marks=pytest.mark.thorough)])
@pytest.mark.parametrize("damage", ["cut off", "no tensors", "other shapes"])
def test_weights_that_do_not_load_are_refused(tmp_path: Path, damage: str, load: Callable[[Artefact], object]) -> None:
    artefact = artefact_of(tmp_path, KINDS["hubert"]())
    weights = tmp_path / "model.safetensors"
    if damage == "other shapes":
        config = HubertConfig.from_pretrained(tmp_path)
        config.classifier_proj_size += 1
        config.save_pretrained(tmp_path)
    else:
        weights.write_bytes(weights.read_bytes()[:500] if damage == "cut off" else b"<html>")
    with pytest.raises(StartupError, match="do not load as an audio classification model|is damaged or cut off"):
        load(replace(artefact, revision=damage))


def test_a_text_model_is_refused(tmp_path: Path) -> None:
    artefact = artefact_of(tmp_path, KINDS["hubert"]())
    (tmp_path / "config.json").write_text('{"model_type": "bert", "id2label": {"0": "a", "1": "b"}}')
    with pytest.raises(StartupError, match="do not load as an audio classification model"):
        torch_backend(artefact)
