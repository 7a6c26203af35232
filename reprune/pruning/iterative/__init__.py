"""Prune in rounds that recover between cuts."""
