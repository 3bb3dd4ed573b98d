"""The Hugging Face Hub as serving uses it: pulling a model repo, bounding requests, explaining refusals."""
