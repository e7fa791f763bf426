"""`python -m ilr_bench.sweep`: see `ilr_bench.study.sweep`."""

from ilr_bench.study.sweep import app

if __name__ == "__main__":
    app()
