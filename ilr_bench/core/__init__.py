"""Configuration, names, errors, seeds and signals: what every other package builds on, without torch."""
