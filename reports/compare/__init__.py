"""Two logs of answers side by side, and many studies in one list."""
