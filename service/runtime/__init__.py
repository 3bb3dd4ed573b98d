"""The process itself: cores, logs, threads, temporary files, periodic work."""
