"""ilr_bench: a laboratory for interactive learning of language models."""
