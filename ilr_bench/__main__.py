"""`python -m ilr_bench` is `ilr-bench`."""

from ilr_bench.cli import main

main()
