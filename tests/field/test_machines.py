"""Machines and surroundings as people have them: other systems, clusters, drivers that do not fit, little memory."""

from pathlib import Path

import pytest
import torch

from service.inference.loading import choose
from service.settings import Settings
from tests.support.service_process import Start
from training.errors import TrainingError, memory_full_as_error

SPELLED: list[tuple[dict[str, str], dict[str, object]]] = [
    ({"LOG_LEVEL": "info"}, {"log_level": "INFO"}),
    ({"LOG_LEVEL": "Warning"}, {"log_level": "WARNING"}),
    ({"LOG_LEVEL": "warn"}, {"log_level": "WARNING"}),
    ({"LOG_LEVEL": "trace"}, {"log_level": "DEBUG"}),
    ({"LOG_LEVEL": "critical"}, {"log_level": "ERROR"}),
    ({"LOG_LEVEL": ""}, {"log_level": "INFO"}),
    ({"LOG_FORMAT": "JSON"}, {"log_format": "json"}),
    ({"BACKEND": "OpenVINO"}, {"backend": "openvino"}),
    ({"PORT": " 9000\n"}, {"port": 9000}),
    ({"MODEL_REVISION": " main "}, {"model_revision": "main"}),
    ({"METRICS_PORT": "tcp://10.0.0.7:9090"}, {"metrics_port": None}),
    ({"METRICS_PORT": "udp://[fd00::7]:9090"}, {"metrics_port": None}),
    ({"METRICS_PORT": "9090"}, {"metrics_port": 9090}),
]


@pytest.mark.parametrize(("environment", "expected"), SPELLED, ids=str)
def test_settings_are_taken_as_people_spell_them(
    environment: dict[str, str], expected: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in ({"MODEL_ID": "you/genre"} | environment).items():
        monkeypatch.setenv(name, value)
    settings = Settings()
    assert {name: getattr(settings, name) for name in expected} == expected


@pytest.mark.thorough
def test_service_runs_without_an_affinity_mask_beside_a_service_called_metrics(
    start: Start, model_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text("import os\nvars(os).pop('sched_getaffinity', None)\n")
    service = start(
        MODEL_ID=str(model_folder),
        METRICS_PORT="tcp://10.0.0.7:9090",
        METRICS_PORT_9090_TCP="tcp://10.0.0.7:9090",
        LOG_LEVEL="info",
        PYTHONPATH=str(tmp_path),
    )
    assert service.wait_for("/metrics").status_code == 200
    service.wait_for("/readyz")
    assert any("enableServiceLinks: false" in line["message"] for line in service.log)


def test_gpu_that_torch_cannot_use_leaves_openvino_and_says_why(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    device = tmp_path / "nvidiactl"
    device.touch()
    assert not torch.cuda.is_available(), "this test is about machines without a usable GPU"
    choice, note = choose("auto", [str(device)])
    assert choice == "auto"
    assert note is not None
    assert note.startswith("The GPU of this machine is not used: ")
    assert [record.getMessage() for record in caplog.records] == [f"{note} OpenVINO computes on the CPU."]


def test_machine_without_a_gpu_says_nothing(tmp_path: Path) -> None:
    assert choose("auto", [str(tmp_path / "nvidiactl")]) == ("auto", None)
    assert choose("torch") == ("torch", None)


def test_lack_of_memory_names_the_options_that_need_less() -> None:
    options = "--per_device_train_batch_size and double --gradient_accumulation_steps"
    with pytest.raises(TrainingError, match=options), memory_full_as_error():
        torch.empty(1 << 60)


@pytest.mark.parametrize(
    "error", [MemoryError(), torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")], ids=str
)
def test_every_kind_of_lack_of_memory_is_told(error: Exception) -> None:
    with pytest.raises(TrainingError, match="memory is too small"), memory_full_as_error():
        raise error


def test_other_errors_stay_what_they_are() -> None:
    with pytest.raises(RuntimeError, match="shape"), memory_full_as_error():
        raise RuntimeError("shape mismatch")
