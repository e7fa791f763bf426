"""Model weights and tokenizers: which there are, where they come from, and how they are loaded."""
