"""Figures: numbers, drawing, and how to read them."""
