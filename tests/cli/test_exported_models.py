"""What other programs make of an exported folder: lm-eval's own command line, and vLLM."""
