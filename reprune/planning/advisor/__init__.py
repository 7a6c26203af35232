"""Advise what to prune, and what a run would cost, before one is started."""
