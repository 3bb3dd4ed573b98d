"""The contract with Gradio: every private or patched name that is used exists, and is documented."""

import gradio as gr
import pytest
from gradio import queueing, route_utils, routes

from service.ui import hardening
from service.ui.hardening.patches import replace

with gr.Blocks() as _BLOCKS:
    _AUDIO = gr.Audio()

NAMES: list[tuple[object, str, str]] = [
    *((_BLOCKS, "Blocks", name) for name in ("has_launched", "state_session_capacity", "_queue")),
    *((_BLOCKS, "Blocks", name) for name in ("run_startup_events", "run_extra_startup_events")),
    *((_BLOCKS._queue, "Queue", name) for name in ("push", "compute_analytics_summary", "clean_events")),
    *((_BLOCKS._queue, "Queue", name) for name in ("pending_messages_per_session", "pending_event_ids_session")),
    (_BLOCKS._queue, "Queue", "event_ids_to_events"),
    (route_utils, "route_utils", "GradioMultiPartParser"),
    (routes, "routes", "file_upload_statuses"),
    *((route_utils.FileUploadProgress(), "FileUploadProgress", name) for name in ("_statuses", "_signals")),
    *((module, module.__name__.split(".")[1], "traceback") for module in (queueing, route_utils, routes)),
    (_AUDIO, "Block", "async_move_resource_to_block_cache"),
]


@pytest.mark.parametrize(("owner", "of", "name"), NAMES, ids=lambda value: value if isinstance(value, str) else "")
def test_gradio_has_the_name_and_the_docstring_lists_it(owner: object, of: str, name: str) -> None:
    assert hasattr(owner, name)
    assert f"{of}.{name}`" in str(hardening.__doc__)


def test_name_that_gradio_lacks_is_an_error() -> None:
    with pytest.raises(AttributeError):
        replace(_BLOCKS, "has_lunched", True)
