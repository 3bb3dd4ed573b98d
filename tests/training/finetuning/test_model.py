import json
import shutil
from pathlib import Path

import pytest
import torch
from huggingface_hub import HfApi
from transformers import (
    ASTFeatureExtractor,
    HubertConfig,
    HubertForSequenceClassification,
    HubertModel,
    Wav2Vec2FeatureExtractor,
    WhisperFeatureExtractor,
)

from tests.conftest import GENRES
from tests.support.audio_files import sweep
from tests.support.hub_stand_in import HubStandIn
from training.arguments import ModelArguments
from training.errors import TrainingError
from training.finetuning.model import TINY, known_genres, load_extractor, load_model


def push_base_model(hub: HubStandIn, repo_id: str, folder: Path) -> None:
    """A repo of DistilHuBERT's shape: a base HuBERT without a head, and its extractor, which neither normalises nor
    answers masks until the course's settings make it."""
    config = HubertConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        conv_dim=(16,) * 7,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=4,
    )
    HubertModel(config).save_pretrained(folder)
    Wav2Vec2FeatureExtractor(do_normalize=False, return_attention_mask=False).save_pretrained(folder)
    hub.create_repo(repo_id)
    HfApi(token="hf_write").upload_folder(repo_id=repo_id, folder_path=folder)


def test_a_base_model_from_the_hub_gets_a_head_for_our_genres(hub: HubStandIn, tmp_path: Path) -> None:
    push_base_model(hub, "you/base", tmp_path)
    arguments = ModelArguments(model_name_or_path="you/base")
    model = load_model(arguments, list(GENRES))
    assert model.config.id2label == dict(enumerate(GENRES))
    assert model.config.label2id == {genre: index for index, genre in enumerate(GENRES)}
    assert model.config.num_labels == 10


def test_the_extractor_is_stamped_and_keeps_its_stamps(hub: HubStandIn, tmp_path: Path) -> None:
    push_base_model(hub, "you/base-extractor", tmp_path / "base")
    extractor = load_extractor(ModelArguments(model_name_or_path="you/base-extractor"), max_duration_s=3)
    extractor.save_pretrained(tmp_path / "saved")
    saved = Wav2Vec2FeatureExtractor.from_pretrained(tmp_path / "saved").to_dict()
    assert {name: saved[name] for name in ("do_normalize", "return_attention_mask", "max_length", "sampling_rate")} == {
        "do_normalize": True,
        "return_attention_mask": True,
        "max_length": 48_000,
        "sampling_rate": 16_000,
    }


def test_a_model_of_other_genres_gets_a_new_head(model_folder: Path) -> None:
    model = load_model(ModelArguments(model_name_or_path=str(model_folder), new_head=True), ["polka", "samba"])
    assert model.config.id2label == {0: "polka", 1: "samba"}
    assert model.get_parameter("classifier.weight").shape[0] == 2


def test_a_fine_tuned_base_keeps_its_head_unless_a_new_one_is_asked_for(model_folder: Path) -> None:
    other = [f"genre {index}" for index in range(len(GENRES))]
    own = HubertForSequenceClassification.from_pretrained(model_folder)
    kept = load_model(ModelArguments(model_name_or_path=str(model_folder)), list(GENRES))
    renewed = load_model(ModelArguments(model_name_or_path=str(model_folder), new_head=True), other)
    for layer in ("projector.weight", "classifier.weight"):
        assert torch.equal(kept.get_parameter(layer), own.get_parameter(layer))
        assert not torch.equal(renewed.get_parameter(layer), own.get_parameter(layer))
        assert renewed.get_parameter(layer).std().item() == pytest.approx(0.02, rel=0.3)
    encoder = "hubert.feature_projection.projection.weight"
    assert torch.equal(renewed.get_parameter(encoder), own.get_parameter(encoder))


def test_genres_of_a_base_are_known_where_it_names_them(model_folder: Path, hub: HubStandIn, tmp_path: Path) -> None:
    assert known_genres(ModelArguments(model_name_or_path=str(model_folder))) == list(GENRES)
    assert known_genres(ModelArguments(model_name_or_path=str(model_folder), new_head=True)) is None
    assert known_genres(ModelArguments(model_name_or_path=TINY)) is None
    push_base_model(hub, "you/headless", tmp_path)
    assert known_genres(ModelArguments(model_name_or_path="you/headless")) is None
    HubertForSequenceClassification(HubertConfig.from_pretrained(tmp_path)).save_pretrained(tmp_path / "unnamed")
    assert known_genres(ModelArguments(model_name_or_path=str(tmp_path / "unnamed"))) is None


def test_tiny_has_one_to_two_million_parameters() -> None:
    model = load_model(ModelArguments(model_name_or_path=TINY), list(GENRES))
    assert 1_000_000 < model.num_parameters() < 2_000_000


def test_tiny_computes_the_same_in_bf16_and_float32() -> None:
    """The demo trains in bf16 and the service answers in float32. It failed with another number of groups."""
    model = load_model(ModelArguments(model_name_or_path=TINY), list(GENRES)).eval()
    waveform = torch.from_numpy(sweep(3, 16_000))[None]
    with torch.inference_mode():
        exact = model(waveform, output_hidden_states=True).hidden_states[-1]
        with torch.autocast("cpu", torch.bfloat16):
            rounded = model(waveform, output_hidden_states=True).hidden_states[-1]
    assert float((exact - rounded).norm() / exact.norm()) < 0.05


def test_missing_base_is_refused() -> None:
    with pytest.raises(TrainingError, match="you/no-such-base does not exist on the Hub"):
        load_extractor(ModelArguments(model_name_or_path="you/no-such-base"), max_duration_s=3)


def test_base_without_audio_input_is_refused(hub: HubStandIn) -> None:
    hub.create_repo("you/bert")
    hub.commit("you/bert", {"config.json": b'{"model_type": "bert"}'})
    with pytest.raises(TrainingError, match="you/bert"):
        load_extractor(ModelArguments(model_name_or_path="you/bert"), max_duration_s=3)
    with pytest.raises(TrainingError, match="you/bert is no audio encoder .* Use a HuBERT"):
        known_genres(ModelArguments(model_name_or_path="you/bert"))
    with pytest.raises(TrainingError, match="you/bert is no audio encoder"):
        load_model(ModelArguments(model_name_or_path="you/bert"), ["a", "b"])


@pytest.mark.parametrize("config", ['{"model_type": "vit"}', '{"model_type": "unheard-of"}', "{}"])
def test_base_that_is_no_audio_encoder_is_refused(tmp_path: Path, config: str) -> None:
    (tmp_path / "config.json").write_text(config)
    with pytest.raises(TrainingError, match="no audio encoder"):
        known_genres(ModelArguments(model_name_or_path=str(tmp_path)))


@pytest.mark.filterwarnings("ignore:At least one mel filter")
@pytest.mark.parametrize("extractor", [ASTFeatureExtractor, WhisperFeatureExtractor])
def test_base_that_takes_spectrograms_is_refused(
    tmp_path: Path, extractor: type[ASTFeatureExtractor | WhisperFeatureExtractor]
) -> None:
    extractor().save_pretrained(tmp_path)
    with pytest.raises(TrainingError, match="no audio encoder that hears a waveform. Use a HuBERT"):
        load_extractor(ModelArguments(model_name_or_path=str(tmp_path)), max_duration_s=3)


def test_a_base_of_several_labels_becomes_one_of_a_single_label(model_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(model_folder, tmp_path / "base")
    config = json.loads((tmp_path / "base" / "config.json").read_text())
    (tmp_path / "base" / "config.json").write_text(json.dumps(config | {"problem_type": "multi_label_classification"}))
    base = ModelArguments(model_name_or_path=str(tmp_path / "base"))
    assert load_model(base, list(config["label2id"])).config.problem_type == "single_label_classification"
