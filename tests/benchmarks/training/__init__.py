"""Benchmarks of training: seconds of an epoch (`make bench-train`), worth of each option (`make bench-recipes`)."""
