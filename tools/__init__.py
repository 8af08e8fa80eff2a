"""What `make` calls: the demo, the benchmarks, the evidence and the generated documents."""
