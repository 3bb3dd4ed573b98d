"""The page at `/ui`."""
