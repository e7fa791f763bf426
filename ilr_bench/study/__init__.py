"""Trials and the sweeps, searches and forecasts over them."""
