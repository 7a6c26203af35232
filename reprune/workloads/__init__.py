"""Workloads that ship with reprune: real data that is on every machine, and a small model for each."""
