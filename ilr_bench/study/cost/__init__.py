"""What a study will cost before it runs: turns, tokens, seconds, memory, disk, GPU-hours; and whether it fits."""
