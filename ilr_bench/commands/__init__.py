"""The commands of `ilr-bench`, a file each; every one imports what it needs when it is run."""
