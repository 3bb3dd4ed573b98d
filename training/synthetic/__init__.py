"""Synthetic music of ten genres, composed and rendered by a program."""
