"""Engines that sample completions, and what they share."""
