"""Records, checkpoints and artifacts on disk: whole or not there at all, whenever the process ends."""
