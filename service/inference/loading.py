"""Loads an engine: pulls the model repo, reads its contract, loads and warms the model."""

import logging
from collections.abc import Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from huggingface_hub import constants
from huggingface_hub.utils.tqdm import disable_progress_bars

from service.errors import StartupError
from service.inference.backend import Backend
from service.inference.engine import Engine
from service.model.artefact import Artefact, read_artefact
from service.model.graphs.locate import ConversionError, locate
from service.model.hub import repo
from service.model.hub.repo import Snapshot
from service.runtime.resources import available_cpus, lower_priority
from service.settings import Settings

logger = logging.getLogger(__name__)

# Device files of the drivers of NVIDIA, AMD and WSL.
_GPU_DEVICES = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")
_GPU_BYTES = 1 << 30

Choice = Literal["auto", "openvino", "torch"]


class ModelLoader:
    """Pulls and loads commits of the model repo that the settings name. All its methods block."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        # Progress bars and the lines of the client's own log handler would break a log in JSON.
        disable_progress_bars()
        logging.getLogger("huggingface_hub").handlers.clear()

    @property
    def can_change(self) -> bool:
        """Whether another commit can come: not where one is pinned, or the Hub is not to be asked."""
        settings = self._settings
        is_local = Path(settings.model_id).is_dir()
        return is_local or not (repo.is_commit(settings.model_revision) or constants.HF_HUB_OFFLINE)

    def head(self) -> str:
        """What names the present state of the repo, by one request. Raises HubUnreachable."""
        return repo.head(self._settings.model_id, self._settings.model_revision)

    def pull(self, commit: str | None = None) -> Snapshot:
        """The files of a commit, or of the revision that the settings name. Raises StartupError."""
        settings = self._settings
        return repo.fetch(settings.model_id, commit or settings.model_revision, deadline_s=settings.startup_deadline_s)

    def load(self, snapshot: Snapshot) -> Engine:
        """Load the model until it can answer. Raises StartupError, which says what to change."""
        # Health checks must not wait for loading.
        lower_priority()
        settings = self._settings
        name = settings.model_id if snapshot.commit else _name(snapshot.folder)
        artefact = read_artefact(snapshot.folder, model_id=name, revision=snapshot.commit)
        choice, note = choose(settings.backend)
        backend = load_backend(choice, artefact, settings.cpu_threads or available_cpus())
        max_wait_s = settings.max_batch_wait_ms / 1_000
        notes = " ".join(filter(None, (note, backend.note))) or None
        return Engine(artefact, backend, max_batch=settings.max_batch or None, max_wait_s=max_wait_s, note=notes)

    def keep(self, snapshot: Snapshot) -> None:
        """Make this the commit that a start without the Hub serves."""
        repo.remember(snapshot, self._settings.model_revision)


def load_engine(settings: Settings) -> Engine:
    """Pull and load the model that the settings name; blocks. Raises StartupError, which says what to change."""
    loader = ModelLoader(settings)
    return loader.load(loader.pull())


def _name(folder: Path) -> str:
    """The name of a local model: training writes runs/demo/model, which is called demo; /model is called model."""
    return (folder.name == "model" and folder.parent.name) or folder.name


def load_backend(choice: Choice, artefact: Artefact, threads: int) -> Backend:
    """Load the model into the backend. Blocks for seconds. Raises StartupError, and ConversionError for "openvino".

    choice: "auto" is OpenVINO, or torch for a model that OpenVINO cannot run.
    Each backend is imported only here: torch and transformers cost seconds and hundreds of megabytes.
    """
    if choice == "torch":
        return _torch(artefact, threads)
    try:
        located = locate(artefact)
    except ConversionError as error:
        if choice == "openvino":
            raise
        logger.warning("OpenVINO cannot run this model; torch runs it, slower.", extra={"reason": str(error)})
        return _torch(artefact, threads)
    from service.inference.openvino_backend import OpenVINOBackend
    from service.model.graphs.runner import best_precision

    return OpenVINOBackend(located, artefact, threads, best_precision())


def _torch(artefact: Artefact, threads: int) -> Backend:
    if find_spec("torch") is None:
        raise StartupError(
            "BACKEND=torch needs torch, which is not installed. Install music-genre-service[torch], or set "
            "BACKEND=auto."
        )
    from service.inference.torch_backend import TorchBackend

    return TorchBackend(artefact, threads)


def choose(choice: Choice, devices: Sequence[str] = _GPU_DEVICES) -> tuple[Choice, str | None]:
    """torch for "auto" on a machine with a GPU that torch can use; and why not, where it has one that torch cannot.

    devices: files of GPU drivers. They are looked for first, as asking torch means importing it.
    """
    if choice != "auto" or not any(Path(device).exists() for device in devices):
        return choice, None
    problem = _gpu_problem()
    if problem is None:
        return "torch", None
    note = f"The GPU of this machine is not used: {problem}."
    logger.warning("%s OpenVINO computes on the CPU.", note)
    return choice, note


def _gpu_problem() -> str | None:
    """Why torch cannot compute on the GPU; None when it can."""
    if find_spec("torch") is None:
        return "torch is not installed"
    if "+cpu" in version("torch"):
        return "torch is a build for CPUs"
    import torch

    if not torch.backends.cuda.is_built():  # type: ignore[no-untyped-call]
        return "torch is a build for CPUs"
    try:
        # Memory that a model needs at least, so that a GPU that others have filled is found out here.
        torch.empty(_GPU_BYTES, dtype=torch.uint8, device="cuda")
    except (RuntimeError, AssertionError) as error:
        return str(error).splitlines()[0].rstrip(". ")
    return None
