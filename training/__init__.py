"""The training job: fine-tunes an audio encoder on genres and pushes the model repo that the service pulls."""

import sys

# OpenVINO, and NNCF with it, reports each import to Google Analytics, under an id that it keeps in the home folder,
# unless the package that does so is missing.
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
