"""The paper: the loop and its steps, one idea per file."""
