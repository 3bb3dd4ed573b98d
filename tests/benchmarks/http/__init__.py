"""Benchmarks over HTTP: the servers that are compared, the load on them, and what is measured of each."""
