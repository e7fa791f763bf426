"""Two logs of answers compared, and many studies in one list."""
