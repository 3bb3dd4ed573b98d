"""Clips: where they come from, how they are split, and how they become inputs."""
