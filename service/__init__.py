"""The music genre service: pulls a model repo from the Hugging Face Hub and answers which genre a recording is."""
