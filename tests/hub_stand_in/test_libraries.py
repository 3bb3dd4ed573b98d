"""The stand-in for the Hub: datasets and transformers against it, and its command."""

import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import textwrap
from pathlib import Path

import pytest
from huggingface_hub import snapshot_download

from tests.hub_stand_in.clients import FILES, read_files, write_files
from tests.support.hub_stand_in import HubStandIn

pytestmark = pytest.mark.thorough

LIBRARIES = textwrap.dedent(
    """
    import io, json, sys

    import datasets, numpy, pyarrow, pyarrow.parquet, soundfile, torch, transformers
    from huggingface_hub import HfApi

    wav = io.BytesIO()
    soundfile.write(wav, numpy.zeros(1600, dtype="float32"), 16000, format="WAV")
    rows = [{"audio": {"bytes": wav.getvalue(), "path": f"{n}.wav"}, "genre": n % 2} for n in range(4)]
    audio = pyarrow.struct({"bytes": pyarrow.binary(), "path": pyarrow.string()})
    schema = pyarrow.schema({"audio": audio, "genre": pyarrow.int64()})
    genre = datasets.ClassLabel(names=["a", "b"])
    features = datasets.Features(audio=datasets.Audio(decode=False), genre=genre)
    described = schema.with_metadata({"huggingface": json.dumps({"info": {"features": features.to_dict()}})})
    parquet = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows, described), parquet)
    api = HfApi()
    api.create_repo("you/songs", repo_type="dataset")
    api.upload_file(
        path_or_fileobj=parquet.getvalue(), path_in_repo="data/train-00000-of-00001.parquet",
        repo_id="you/songs", repo_type="dataset",
    )
    songs = datasets.load_dataset("you/songs", split="train")

    try:
        datasets.load_dataset("you/gtzan", split="train")
        script = "was run"
    except RuntimeError as error:
        script = str(error)

    config = transformers.HubertConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, conv_dim=(8, 8),
        conv_stride=(5, 2), conv_kernel=(10, 3), num_feat_extract_layers=2, num_conv_pos_embeddings=4,
        num_conv_pos_embedding_groups=2, classifier_proj_size=8, num_labels=2,
    )
    model = transformers.HubertForSequenceClassification(config)
    model.save_pretrained("pushed")
    api.create_repo("you/genres", private=True)
    api.upload_folder(repo_id="you/genres", folder_path="pushed")
    pulled_config = transformers.AutoConfig.from_pretrained("you/genres")
    pulled = transformers.AutoModelForAudioClassification.from_pretrained("you/genres").state_dict()

    json.dump({
        "rows": len(songs),
        "names": songs.features["genre"].names,
        "same_audio": songs[0]["audio"]["bytes"] == wav.getvalue(),
        "script": script,
        "model_type": pulled_config.model_type,
        "same_weights": all(torch.equal(pulled[name], value) for name, value in model.state_dict().items()),
    }, open(sys.argv[1], "w"))
    """
)


def tar_of(files: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for path, data in files.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return packed.getvalue()


def test_datasets_and_transformers_pull_from_it(hub: HubStandIn, tmp_path: Path) -> None:
    hub.create_repo("you/gtzan", repo_type="dataset")
    archive = tar_of({"genres/blues/blues.00000.wav": b"RIFF"})
    script = {"gtzan.py": b"import datasets", "data/genres.tar.gz": archive, "README.md": b"# GTZAN"}
    hub.commit("you/gtzan", script, repo_type="dataset")
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("HF_")},
        "HF_ENDPOINT": hub.endpoint,
        "HF_HOME": str(tmp_path / "home"),
        "HF_TOKEN": "hf_write",
        "HF_HUB_DISABLE_XET": "1",
        "HF_UPDATE_DOWNLOAD_COUNTS": "0",
    }
    done = subprocess.run(
        [sys.executable, "-c", LIBRARIES, "found.json"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "found.json").read_text())
    assert found.pop("script").startswith("Dataset scripts are no longer supported, but found gtzan.py")
    assert found == {
        "rows": 4,
        "names": ["a", "b"],
        "same_audio": True,
        "model_type": "hubert",
        "same_weights": True,
    }


def test_the_command_serves_a_folder(tmp_path: Path) -> None:
    write_files(tmp_path / "model", FILES)
    command = [sys.executable, "-m", "tests.support.hub_stand_in", "--folder", f"you/model={tmp_path / 'model'}"]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        endpoint = process.stdout.readline().strip()
        pulled = snapshot_download("you/model", endpoint=endpoint, cache_dir=tmp_path / "hub", token=False)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0

    assert {path: data for path, data in read_files(pulled).items() if path != ".gitattributes"} == FILES
