"""The music genre service: pulls a model repo from the Hugging Face Hub and answers which genre a recording is."""

import sys

# OpenVINO, and NNCF with it, reports each import to Google Analytics, under an id that it keeps in the home folder,
# unless the package that does so is missing.
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
