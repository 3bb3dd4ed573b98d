"""What all tests share: a Hub on loopback, a closed environment, a tiny random-weight model."""

import inspect
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.support.hub_stand_in import HubStandIn, Token
from tests.support.service_process import Service, Start

GENRES = ("blues", "classical", "country", "disco", "hiphop", "jazz", "metal", "pop", "reggae", "rock")

# The longest files, longest first: a worker of pytest-xdist that began one of them last would run on alone.
LONGEST = (
    "service/test_openapi.py",
    "test_end_to_end.py",
    "training/test_main.py",
    "service/inference/test_backends.py",
    "service/reload/test_swap.py",
    "service/reload/test_stale.py",
    "training/publishing/test_quantise.py",
    "training/finetuning/test_trainer.py",
    "service/test_lifecycle.py",
    "service/server/test_slow_clients.py",
    "training/publishing/test_familiarity.py",
    "training/test_crossvalidate.py",
)

# Seconds that a request of a test may wait, unless it says otherwise.
_PATIENCE_S = 120.0

_SHARED = "MUSIC_GENRE_TESTS_GRAPHS"
_HUB = pytest.StashKey[HubStandIn]()
_HOME = pytest.StashKey[tempfile.TemporaryDirectory[str]]()


def pytest_configure(config: pytest.Config) -> None:
    """Start the Hub before any test module is imported: its clients read their environment when they are imported."""
    _be_patient()
    config.stash[_HOME] = home = tempfile.TemporaryDirectory(prefix="music-genre-tests-")
    _share_graphs(Path(home.name))
    config.stash[_HUB] = hub = HubStandIn()
    hub.start()
    hub.tokens |= {"hf_write": Token("you", "write"), "hf_read": Token("you", "read")}
    os.environ.pop("HF_TOKEN", None)
    # Workers of pytest-xdist share the cores: threads for all of them in each would wait for each other.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ |= {
        "HF_ENDPOINT": hub.endpoint,
        "HF_HOME": home.name,
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "GRADIO_TEMP_DIR": str(Path(home.name, "uploads")),
    }


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest files; within a file, and among the others, the order stays."""
    place = {Path(__file__).parent / name: index for index, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path, len(place)))


def pytest_unconfigure(config: pytest.Config) -> None:
    config.stash[_HUB].stop()
    config.stash[_HOME].cleanup()


def _be_patient() -> None:
    """Raise httpx2's default of five seconds, in which a loaded machine may not answer. All its functions share it."""
    default = inspect.signature(httpx2.Client).parameters["timeout"].default
    default.connect = default.read = default.write = default.pool = _PATIENCE_S


def _share_graphs(home: Path) -> None:
    """Let pytest-xdist's workers convert a model once for all: the first process to come here makes the folder."""
    shared = os.environ.setdefault(_SHARED, str(home / "graphs"))
    Path(shared).mkdir(exist_ok=True)
    (home / "music-genre").symlink_to(shared)


@pytest.fixture(scope="session")
def session_hub(request: pytest.FixtureRequest) -> HubStandIn:
    """The Hub, for fixtures that outlive one test."""
    return request.config.stash[_HUB]


@pytest.fixture
def hub(session_hub: HubStandIn) -> Iterator[HubStandIn]:
    """The Hub, which knows the tokens hf_write and hf_read of the user `you`. Name repos after the test."""
    yield session_hub
    session_hub.clear_faults()


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model repo of somebody else: a one-layer HuBERT with random weights and ten genres, window not said."""
    from tests.support.tiny_model import save

    folder = tmp_path_factory.mktemp("models") / "tiny-genre"
    save(folder, GENRES)
    return folder


@pytest.fixture(scope="session")
def golden_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder as training writes it: random weights, windows of 2 s, graphs and golden clips."""
    from tests.support.golden_model import save

    folder = tmp_path_factory.mktemp("models") / "golden-genre"
    save(folder, GENRES)
    return folder


@pytest.fixture
def start() -> Iterator[Start]:
    started: list[Service] = []

    def start_one(**settings: str) -> Service:
        started.append(Service(**settings))
        return started[-1]

    yield start_one
    for service in started:
        if service.process.poll() is None:
            service.process.kill()
            service.wait()
