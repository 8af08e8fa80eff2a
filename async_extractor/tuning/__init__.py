"""Benchmarks of concurrency and chunk size."""
