"""Measurements: each a command, resumable, with its figures in docs/benchmarks.md."""
