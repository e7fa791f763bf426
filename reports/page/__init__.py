"""The whole study on one HTML page."""
