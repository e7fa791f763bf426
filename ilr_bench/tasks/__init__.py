"""Questions to learn from and benchmarks to be scored on, with the data they are read from."""
