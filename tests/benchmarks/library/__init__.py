"""What a whole library costs on Ray Data, beside the same work without it: `make bench-library`."""
