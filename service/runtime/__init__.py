"""The process itself: cores, logs, times of stages, traces, threads, temporary files, periodic work."""
