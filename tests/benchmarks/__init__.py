"""How fast the service is, measured on this machine: `python -m tests.benchmarks`. No test asserts any of it."""
