"""Benchmarks of the client: `python -m benchmarks`."""
