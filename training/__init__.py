"""The training job: fine-tunes an audio encoder on genres and pushes the model repo that the service pulls."""

# Before any other import: it keeps OpenVINO, and NNCF with it, from reporting its use.
import service  # noqa: F401
