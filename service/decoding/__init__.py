"""Untrusted audio files, decoded in processes of their own."""
