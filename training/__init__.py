"""The training job: fine-tunes an audio encoder on genres and pushes the model repo that the service pulls."""
