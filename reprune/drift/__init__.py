"""Drift: whether production data still looks like the data the champion was made for."""
