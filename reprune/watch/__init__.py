"""Watching a champion in production: prediction logs, confirmed drift, and when a re-prune may start."""
