"""Figures of the pages, one file a subject; each function takes numbers and returns a `Figure` block."""
